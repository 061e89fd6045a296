//! A web client that opens a new connection for every request.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::lab::host::Host;
use crate::lab::programs;
use crate::server::content::{self, Verifier};

/// How long a request may take. More than the first retransmission of a lost SYN (1 s), so that
/// loss shows as slowness and not as an error.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How much is read or written at once.
const CHUNK: usize = 256 * 1024;

/// A web server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The pod that answered.
    pub pod: String,
    /// The client's address and port as the pod saw them.
    pub client: SocketAddr,
    /// What the client's own end of the connection was.
    pub local: SocketAddr,
    /// The text of the page.
    pub body: String,
    /// The time from the call to the last byte.
    pub took: Duration,
}

/// Asks for the front page, from the calling thread's network namespace.
///
/// # Errors
/// When the connection or the answer fails or takes too long.
pub fn get(target: SocketAddr, patience: Duration) -> Result<Answer> {
    let begun = Instant::now();
    let mut stream = connect(target, patience)?;
    let local = stream.local_addr()?;
    stream.write_all(request("GET", "/", target, 0).as_bytes())?;
    let head = Head::read(&mut stream)?;
    let mut body = head.rest.clone();
    stream.read_to_end(&mut body).context("the answer's body")?;
    let text = String::from_utf8(body)?;
    let (status, pod, client) = (head.status, head.pod, head.client);
    Ok(Answer {
        status,
        pod,
        client,
        local,
        body: text,
        took: begun.elapsed(),
    })
}

impl Host {
    /// Asks for the front page from this host.
    ///
    /// # Errors
    /// When the connection or the answer fails or takes too long.
    pub fn http_get(&self, target: impl ToSocketAddrs + Send) -> Result<Answer> {
        self.run(|| get(resolve(target)?, PATIENCE))
    }

    /// Asks for the front page by a process in this host's control group, as a pod's or a node's
    /// own programs would.
    ///
    /// # Errors
    /// As [`Self::http_get`].
    pub fn http_get_by_process(&self, target: SocketAddr) -> Result<String> {
        let program = programs::landfall_lab()?;
        self.output(&format!("{} get {target}", program.display()))
    }

    /// Downloads `bytes` bytes and checks each.
    ///
    /// # Errors
    /// When the connection fails, or a byte is missing or wrong.
    pub fn download(&self, target: SocketAddr, bytes: u64) -> Result<Duration> {
        self.run(|| {
            let begun = Instant::now();
            let mut stream = connect(target, PATIENCE)?;
            let path = format!("/bytes?n={bytes}");
            stream.write_all(request("GET", &path, target, 0).as_bytes())?;
            let head = Head::read(&mut stream)?;
            ensure!(head.status == 200, "status {}", head.status);
            let mut verifier = Verifier::default();
            verifier.take(&head.rest);
            let mut chunk = vec![0; CHUNK];
            loop {
                match stream.read(&mut chunk).context("the download")? {
                    0 => break,
                    n => verifier.take(&chunk[..n]),
                }
            }
            if let Some(at) = verifier.differs_at() {
                bail!("the download differs at byte {at}");
            }
            ensure!(
                verifier.received() == bytes,
                "{} of {bytes} came",
                verifier.received()
            );
            Ok(begun.elapsed())
        })
    }

    /// Uploads `bytes` bytes, each of which the pod checks.
    ///
    /// # Errors
    /// When the connection fails, or the pod misses a byte.
    pub fn upload(&self, target: SocketAddr, bytes: u64) -> Result<Duration> {
        self.run(|| {
            let begun = Instant::now();
            let mut stream = connect(target, PATIENCE)?;
            stream.write_all(request("POST", "/bytes", target, bytes).as_bytes())?;
            let mut chunk = vec![0; CHUNK];
            let mut sent = 0;
            while sent < bytes {
                let n = (bytes - sent).min(CHUNK as u64);
                let now = &mut chunk[..n as usize];
                content::fill(now, sent);
                stream
                    .write_all(now)
                    .with_context(|| format!("the upload after {sent} bytes"))?;
                sent += n;
            }
            let head = Head::read(&mut stream)?;
            let mut body = head.rest;
            stream.read_to_end(&mut body)?;
            let text = String::from_utf8(body)?;
            ensure!(
                text.trim_end() == format!("intact {bytes}"),
                "the pod says: {text}"
            );
            Ok(begun.elapsed())
        })
    }
}

/// The first address of a target.
pub(crate) fn resolve(target: impl ToSocketAddrs) -> Result<SocketAddr> {
    target
        .to_socket_addrs()?
        .next()
        .context("a target without an address")
}

fn connect(target: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn request(method: &str, path: &str, target: SocketAddr, length: u64) -> String {
    let length = if method == "POST" {
        format!("Content-Length: {length}\r\n")
    } else {
        String::new()
    };
    format!("{method} {path} HTTP/1.1\r\nHost: {target}\r\n{length}Connection: close\r\n\r\n")
}

/// The head of an answer, and what came with it.
struct Head {
    status: u16,
    pod: String,
    client: SocketAddr,
    rest: Vec<u8>,
}

impl Head {
    fn read(stream: &mut TcpStream) -> Result<Self> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            match stream.read(&mut buffer).context("the answer's head")? {
                0 => bail!("the connection ended in the answer's head"),
                n => bytes.extend_from_slice(&buffer[..n]),
            }
        };
        let rest = bytes.split_off(end + 4);
        let text = String::from_utf8(bytes)?;
        let mut lines = text.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status
            .and_then(|code| code.parse().ok())
            .context("no status code")?;
        let header = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .with_context(|| format!("no header {name}"))
        };
        let (pod, client) = (header("X-Pod")?.to_owned(), header("X-Client")?.parse()?);
        Ok(Self {
            status,
            pod,
            client,
            rest,
        })
    }
}
