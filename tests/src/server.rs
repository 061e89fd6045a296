//! What runs in a pod: a web server, a TCP echo and a UDP echo, each of which tells the pod's
//! name and the client's address as the pod sees it. Bound to all addresses, v4 and v6.

pub mod content;
mod http;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use clap::Args;

/// The stack of a connection's thread, in bytes: a thousand connections are usual.
const STACK: usize = 256 * 1024;

/// The ports a pod serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Ports {
    /// The web server's port.
    #[arg(long, default_value_t = 80)]
    pub http: u16,
    /// The TCP echo's port: a line of greeting, then everything back.
    #[arg(long, default_value_t = 7000)]
    pub tcp: u16,
    /// The UDP echo's port: `NAME CLIENT\n` and the datagram back.
    #[arg(long, default_value_t = 5000)]
    pub udp: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            http: 80,
            tcp: 7000,
            udp: 5000,
        }
    }
}

impl Ports {
    /// These ports as the pod server's arguments.
    #[must_use]
    pub fn arguments(self) -> [String; 3] {
        let Self { http, tcp, udp } = self;
        [
            format!("--http={http}"),
            format!("--tcp={tcp}"),
            format!("--udp={udp}"),
        ]
    }
}

/// Serves at one address, or at all of them, until the process ends.
///
/// # Errors
/// When a port cannot be bound.
pub fn serve(pod: &str, ports: Ports, address: Option<IpAddr>) -> Result<()> {
    let pod: Arc<str> = pod.into();
    let address = address.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
    let udp = UdpSocket::bind((address, ports.udp)).context("bind the UDP echo")?;
    let tcp = TcpListener::bind((address, ports.tcp)).context("bind the TCP echo")?;
    let web = TcpListener::bind((address, ports.http)).context("bind the web server")?;
    let (name, other) = (Arc::clone(&pod), Arc::clone(&pod));
    thread::spawn(move || udp_echo(&name, &udp));
    thread::spawn(move || accept(&tcp, &other, tcp_echo));
    accept(&web, &pod, http::answer);
    Ok(())
}

/// Gives every connection a thread of its own.
fn accept(
    listener: &TcpListener,
    pod: &Arc<str>,
    talk: fn(&str, SocketAddr, TcpStream) -> std::io::Result<()>,
) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let Ok(client) = stream.peer_addr() else {
            continue;
        };
        let pod = Arc::clone(pod);
        let thread = thread::Builder::new().stack_size(STACK);
        // A connection that breaks is the client's to notice; one without a thread is closed.
        let _ = thread.spawn(move || talk(&pod, canonical(client), stream));
    }
}

fn tcp_echo(pod: &str, client: SocketAddr, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(format!("{pod} {client}\n").as_bytes())?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

fn udp_echo(pod: &str, socket: &UdpSocket) {
    let mut buffer = vec![0; 65536];
    loop {
        // Errors here are ICMP errors about earlier answers: nothing to do about them.
        let Ok((n, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let mut answer = format!("{pod} {}\n", canonical(client)).into_bytes();
        answer.extend_from_slice(&buffer[..n]);
        let _ = socket.send_to(&answer, client);
    }
}

/// An IPv4 client of a dual-stack socket, as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
