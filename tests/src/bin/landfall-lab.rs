//! `landfall-lab`: the lab to play in, the demonstration, and what runs in a lab's pods.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use landfall_tests::bench::{self, Part};
use landfall_tests::probe::web;
use landfall_tests::server::{self, Ports};
use landfall_tests::story;

/// Landfall's lab: nodes, clients and a switch on one machine. Needs root.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell the story: three services, three nodes, and the death of one.
    Demo,
    /// Bring a lab up and open a shell in it; the lab ends with the shell.
    Up {
        /// The number of nodes.
        #[arg(long, default_value_t = 3)]
        nodes: u8,
        /// Start no agents.
        #[arg(long)]
        bare: bool,
    },
    /// A real Kubernetes cluster in a lab.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Measure in the lab, print a table, and record the figures.
    Bench {
        /// What to measure; everything but the cluster unless named.
        parts: Vec<Part>,
        /// How often each failover is repeated.
        #[arg(long, default_value_t = 20)]
        repeats: usize,
        /// Of the failovers, only this one; an unknown name lists them. May be given more than once.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
    },
    /// Let a node die under Landfall and under keepalived, and draw who answered when.
    Picture {
        /// The SVG file to write.
        file: PathBuf,
    },
    /// Run a scenario of the tests by its name, or list them.
    Scenario {
        /// The name of a file in `tests/tests`, such as `failover`.
        name: Option<String>,
    },
    /// Serve as a pod does (run by labs).
    #[command(hide = true)]
    Pod {
        /// The pod's name.
        #[arg(long)]
        name: String,
        /// Serve at this address alone.
        #[arg(long)]
        address: Option<IpAddr>,
        #[command(flatten)]
        ports: Ports,
    },
    /// Ask a web server for its front page and print it (run by labs).
    #[command(hide = true)]
    Get {
        /// The server's address and port.
        target: SocketAddr,
    },
    /// Keep a core busy (run by labs).
    #[command(hide = true)]
    Spin,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Build the programs that the machine does not have.
    Build,
    /// Leave a cluster standing, with Landfall on it as its manifest deploys it.
    Up {
        /// The number of nodes.
        #[arg(long, default_value_t = 3)]
        nodes: u8,
        /// Without Landfall.
        #[arg(long)]
        bare: bool,
    },
    /// Take down what `up` left standing.
    Down {
        /// The id of the lab; all of this work tree unless named.
        id: Option<String>,
    },
    /// Hold a cluster until this process ends (run by `up`).
    #[command(hide = true)]
    Hold {
        /// The number of nodes.
        #[arg(long)]
        nodes: u8,
        /// Without Landfall.
        #[arg(long)]
        bare: bool,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Demo => story::demo::tell(),
        Command::Up { nodes, bare } => story::shell::open(nodes, !bare),
        Command::Cluster(ClusterCommand::Build) => story::cluster::build(),
        Command::Cluster(ClusterCommand::Up { nodes, bare }) => story::cluster::up(nodes, bare),
        Command::Cluster(ClusterCommand::Down { id }) => story::cluster::down(id.as_deref()),
        Command::Cluster(ClusterCommand::Hold { nodes, bare }) => story::cluster::hold(nodes, bare),
        Command::Bench {
            parts,
            repeats,
            only,
        } => bench::run(&parts, repeats, &only),
        Command::Picture { file } => bench::draw(&file),
        Command::Scenario { name } => story::scenario::run(name.as_deref()),
        Command::Pod {
            name,
            address,
            ports,
        } => server::serve(&name, ports, address),
        Command::Get { target } => {
            print!("{}", web::get(target, web::PATIENCE)?.body);
            Ok(())
        }
        Command::Spin => loop {
            std::hint::spin_loop();
        },
    }
}
