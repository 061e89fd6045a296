//! The web server of a pod: HTTP/1.1, one request per connection.
//!
//! * `GET /` tells the pod's name and the client's address,
//! * `GET /bytes?n=N` gives N bytes of the content,
//! * `POST /bytes` takes the content and tells how much came and whether it was intact.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::content::{self, Verifier};

/// How much is read or written at once.
const CHUNK: usize = 256 * 1024;

pub(super) fn answer(pod: &str, client: SocketAddr, stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0u64;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let head = Head { pod, client };
    let mut words = request.split_whitespace();
    match (words.next(), words.next()) {
        (Some("GET"), Some("/")) => {
            head.send(&stream, "200 OK", &format!("{pod} saw {}\n", client.ip()))
        }
        (Some("GET"), Some(path)) if path.starts_with("/bytes?n=") => {
            match path["/bytes?n=".len()..].parse() {
                Ok(n) => head.stream(&stream, n),
                Err(_) => head.send(&stream, "400 Bad Request", "n is not a number\n"),
            }
        }
        (Some("POST"), Some("/bytes")) => {
            let mut verifier = Verifier::default();
            let mut body = reader.take(length);
            let mut chunk = vec![0; CHUNK];
            loop {
                match body.read(&mut chunk)? {
                    0 => break,
                    n => verifier.take(&chunk[..n]),
                }
            }
            let text = match verifier.differs_at() {
                None => format!("intact {}\n", verifier.received()),
                Some(at) => format!("differs at {at}\n"),
            };
            head.send(&stream, "200 OK", &text)
        }
        _ => head.send(&stream, "404 Not Found", "no such page\n"),
    }
}

/// What every answer says.
struct Head<'a> {
    pod: &'a str,
    client: SocketAddr,
}

impl Head<'_> {
    fn write(&self, mut stream: &TcpStream, status: &str, length: u64) -> io::Result<()> {
        let Self { pod, client } = self;
        let head = format!(
            "HTTP/1.1 {status}\r\nX-Pod: {pod}\r\nX-Client: {client}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())
    }

    fn send(&self, mut stream: &TcpStream, status: &str, body: &str) -> io::Result<()> {
        self.write(stream, status, body.len() as u64)?;
        stream.write_all(body.as_bytes())
    }

    fn stream(&self, mut stream: &TcpStream, length: u64) -> io::Result<()> {
        self.write(stream, "200 OK", length)?;
        let mut chunk = vec![0; CHUNK];
        let mut sent = 0;
        while sent < length {
            let n = (length - sent).min(CHUNK as u64);
            let now = &mut chunk[..n as usize];
            content::fill(now, sent);
            stream.write_all(now)?;
            sent += n;
        }
        Ok(())
    }
}
