//! Many TCP connections that stay open and keep talking, and what becomes of each.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::task::{StopFlag, Task, readable};
use crate::lab::host::Host;

/// How long a new connection may take to greet.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the herd waits for an echo before it looks for what to send next.
const TICK: Duration = Duration::from_millis(5);

/// The length of every message: its number, in decimal.
const MESSAGE: usize = 16;

/// What is known of a connection.
#[derive(Debug, Clone)]
pub struct Member {
    /// The pod it reached.
    pub pod: String,
    /// The client's address and port as the pod saw them.
    pub client: SocketAddr,
    /// The client's own end.
    pub local: SocketAddr,
    /// How many messages came back.
    pub echoes: u64,
    /// When the last one came back.
    pub last_echo: Instant,
    /// The longest time from a message to its echo.
    pub longest_wait: Duration,
    /// Why the connection ended, if it did.
    pub died: Option<String>,
}

/// Connections to a TCP echo, each sending a message a while after the last one came back.
#[derive(Debug)]
pub struct Herd {
    members: Arc<Mutex<Vec<Member>>>,
    task: Task<()>,
}

impl Herd {
    /// Opens `connections` connections to `target` and keeps them talking, `pause` between an
    /// echo and the next message.
    ///
    /// # Errors
    /// When one of them cannot be opened or does not greet.
    pub fn open(
        host: &Host,
        target: SocketAddr,
        connections: usize,
        pause: Duration,
    ) -> Result<Self> {
        let opened: Result<Vec<(TcpStream, Member)>> = host.run(|| {
            (0..connections)
                .map(|i| open(target).with_context(|| format!("connection {i} to {target}")))
                .collect()
        });
        let (streams, members): (Vec<TcpStream>, Vec<Member>) = opened?.into_iter().unzip();
        let members = Arc::new(Mutex::new(members));
        let theirs = Arc::clone(&members);
        let task = Task::start(host, "herd", move |stop| {
            talk(streams, &theirs, pause, &stop)
        });
        Ok(Self { members, task })
    }

    /// What is known of every connection now.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many of the connections that `choose` picks are alive and had an echo after `since`.
    #[must_use]
    pub fn alive_since(&self, since: Instant, choose: impl Fn(&Member) -> bool) -> usize {
        let alive = |m: &&Member| choose(m) && m.died.is_none() && m.last_echo > since;
        self.members().iter().filter(alive).count()
    }

    /// Closes all connections and gives what became of them.
    #[must_use]
    pub fn close(self) -> Vec<Member> {
        let Self { members, task } = self;
        task.stop();
        let members = members.lock().unwrap_or_else(PoisonError::into_inner);
        members.clone()
    }
}

fn open(target: SocketAddr) -> Result<(TcpStream, Member)> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut greeting = String::new();
    // Nothing follows the greeting unasked, so the reader keeps nothing back.
    BufReader::new(&stream)
        .read_line(&mut greeting)
        .context("the greeting")?;
    let (pod, client) = greeting
        .trim_end()
        .split_once(' ')
        .context("an odd greeting")?;
    let member = Member {
        pod: pod.to_owned(),
        client: client.parse()?,
        local: stream.local_addr()?,
        echoes: 0,
        last_echo: Instant::now(),
        longest_wait: Duration::ZERO,
        died: None,
    };
    stream.set_nonblocking(true)?;
    Ok((stream, member))
}

/// A connection's place in its conversation.
enum Turn {
    /// The next message is to go out at this time.
    Send(Instant),
    /// This much of the message sent at this time has come back.
    Wait(Instant, Vec<u8>),
}

fn talk(streams: Vec<TcpStream>, members: &Mutex<Vec<Member>>, pause: Duration, stop: &StopFlag) {
    let begun = Instant::now();
    let spacing = pause / u32::try_from(streams.len().max(1)).unwrap_or(u32::MAX);
    let mut herd: Vec<(TcpStream, Turn, usize)> = streams
        .into_iter()
        .enumerate()
        .map(|(i, stream)| (stream, Turn::Send(begun + spacing * i as u32), i))
        .collect();
    while !stop.is_raised() {
        let sockets: Vec<&TcpStream> = herd.iter().map(|(stream, ..)| stream).collect();
        let ready = readable(&sockets, Instant::now() + TICK);
        let mut members = members.lock().unwrap_or_else(PoisonError::into_inner);
        for index in ready {
            let (stream, turn, i) = &mut herd[index];
            hear(stream, turn, &mut members[*i], pause);
        }
        let now = Instant::now();
        for (stream, turn, i) in &mut herd {
            if let Turn::Send(at) = turn
                && *at <= now
                && members[*i].died.is_none()
            {
                match stream.write_all(&message(members[*i].echoes)) {
                    Ok(()) => *turn = Turn::Wait(now, Vec::new()),
                    Err(e) => members[*i].died = Some(e.to_string()),
                }
            }
        }
        herd.retain(|(.., i)| members[*i].died.is_none());
        drop(members);
        if herd.is_empty() {
            std::thread::sleep(TICK);
        }
    }
}

fn hear(stream: &mut TcpStream, turn: &mut Turn, member: &mut Member, pause: Duration) {
    let mut buffer = [0; MESSAGE];
    let n = match stream.read(&mut buffer) {
        Ok(0) => {
            member.died = Some("closed by the pod".to_owned());
            return;
        }
        Ok(n) => n,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
        Err(e) => {
            member.died = Some(e.to_string());
            return;
        }
    };
    let Turn::Wait(sent, echo) = turn else {
        member.died = Some("bytes came that nobody sent".to_owned());
        return;
    };
    echo.extend_from_slice(&buffer[..n]);
    if echo.len() < MESSAGE {
        return;
    }
    if *echo != message(member.echoes) {
        member.died = Some("an echo is not what was sent".to_owned());
        return;
    }
    let now = Instant::now();
    member.longest_wait = member.longest_wait.max(now - *sent);
    member.last_echo = now;
    member.echoes += 1;
    *turn = Turn::Send(now + pause);
}

fn message(number: u64) -> [u8; MESSAGE] {
    let mut message = [b'\n'; MESSAGE];
    let text = format!("{number:015}");
    message[..15].copy_from_slice(text.as_bytes());
    message
}
