//! The command line.
//!
//! `agent` runs the daemon; everything else asks a running one over its admin socket, or works on
//! files alone. Rendering is pure (report in, text out) and tested against golden text; colours are
//! always rendered and stripped where the output is no terminal.

mod bpf;
mod check;
mod cleanup;
mod client;
mod crds;
mod drain;
mod exit;
mod format;
mod generate;
mod keygen;
mod render;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use exit::Exit;
use format::Output;

use crate::config::{self, Flag, Inputs};

/// LoadBalancer IPs on your own LAN.
///
/// Landfall gives LoadBalancer Services addresses from your pools, answers ARP and neighbour
/// discovery for them, and forwards their traffic in the kernel.
#[derive(Debug, Parser)]
#[command(name = "landfall", version)]
#[command(after_long_help = exit::HELP)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags every command takes.
#[derive(Clone, Debug, Args)]
struct Global {
    /// Settings file [default: /etc/landfall/landfall.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE", env = "LANDFALL_CONFIG")]
    config: Option<PathBuf>,
    /// Admin socket of the agent to ask or run, as `--set api.socket=PATH`
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Set any setting; repeatable
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent on this node
    #[command(
        long_about = "Run the agent on this node.\n\nIt loads the kernel programs, holds \
        leases and answers for the addresses they give it until SIGTERM or SIGINT, which hand the \
        leases over in order; a second signal ends it at once. The kernel programs stay in place \
        and go on forwarding."
    )]
    #[command(
        after_help = "Examples:\n  landfall agent\n  landfall agent --node-name node1 \
        --manifests-dir /srv/manifests\n  LANDFALL_LOG__LEVEL=debug landfall agent"
    )]
    Agent(AgentFlags),
    /// Show the agent at a glance
    #[command(
        after_help = "Examples:\n  landfall status\n  landfall status -o json | jq \
        .complaints\n\nExits with 4 when something needs a person."
    )]
    Status(Output),
    /// Print the settings in effect and where each comes from
    #[command(after_help = "Examples:\n  landfall config\n  landfall config --set \
        l2.lease_duration=10s\n  landfall config -o json")]
    Config(Output),
    /// Services and their frontends
    #[command(subcommand)]
    Service(Service),
    /// Address pools
    #[command(subcommand)]
    Pool(List),
    /// Leases of nodes and services
    #[command(subcommand)]
    Lease(List),
    /// Who announces which address, where, since when
    #[command(subcommand)]
    L2(L2),
    /// Hand over the addresses that other nodes can announce, and take no more, also after a restart
    #[command(
        after_help = "Its endpoints go on serving. Examples:\n  landfall drain --wait\n  landfall \
        undrain\n\nWith --wait, exits with 4 when something is still held at the end of the time."
    )]
    Drain(drain::DrainFlags),
    /// Let this node announce again
    Undrain,
    /// Validate manifests without applying them
    #[command(
        after_help = "Examples:\n  landfall check pool.yaml service.yaml\n  landfall check \
        /etc/landfall/manifests\n\nExits with 4 when an object is wrong."
    )]
    Check(check::CheckFlags),
    /// Print the definitions of Landfall's kinds, for Kubernetes
    #[command(
        after_help = "Examples:\n  landfall crds | kubectl apply -f -\n  landfall crds \
        --compat cilium"
    )]
    Crds(crds::CrdsFlags),
    /// What the kernel's maps hold; works without an agent
    #[command(subcommand)]
    Bpf(bpf::Bpf),
    /// Remove the pinned programs and maps, which ends forwarding on this node
    #[command(
        after_help = "Refuses while an agent runs. Example:\n  systemctl stop landfall && \
        landfall cleanup"
    )]
    Cleanup,
    /// Make the key that all agents of a cluster share, for `l2.key_file`
    #[command(
        after_help = "Example:\n  landfall keygen >/etc/landfall/l2.key && chmod 600 \
        /etc/landfall/l2.key\n\nThen copy the file to every node."
    )]
    Keygen,
    /// Generate what packages ship
    #[command(subcommand, hide = true)]
    Generate(generate::Generate),
}

/// Flags of `landfall agent`, short for `--set`.
#[derive(Clone, Debug, Default, Args)]
struct AgentFlags {
    /// This node's name, as `--set node.name=NAME`
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// The directory of manifests, as `--set source.manifests_dir=DIR`
    #[arg(long, value_name = "DIR")]
    manifests_dir: Option<PathBuf>,
    /// Where state is kept, as `--set state.dir=DIR`
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// What is logged, as `--set log.level=LEVEL`
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum List {
    /// List them
    #[command(visible_alias = "ls")]
    List(Output),
}

#[derive(Debug, Subcommand)]
enum Service {
    /// List them
    #[command(visible_alias = "ls")]
    List(Output),
    /// Show one: its addresses, who announces them, its conditions, and what this node saw happen to it
    #[command(
        after_help = "Examples:\n  landfall service describe svc1\n  landfall service describe \
        kube-system/dns -o json | jq .conditions"
    )]
    Describe(DescribeFlags),
}

/// Flags of `landfall service describe`.
#[derive(Clone, Debug, Args)]
struct DescribeFlags {
    /// The Service; without a namespace one of `default`
    #[arg(value_name = "[NAMESPACE/]NAME")]
    name: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum L2 {
    /// List them
    #[command(visible_alias = "ls")]
    List(Output),
    /// The last VIPs that came to this node, the latest first: when, from whom, why, and for how long at most nobody answered
    History(Output),
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` has no `=`; write it as l2.lease_duration=3s"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Parses the command line, does what it says, and tells how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = run(cli).unwrap_or_else(|error| {
        // `{:#}` prints the causes after the error, on one line.
        anstream::eprintln!(
            "{}error:{} {error:#}",
            format::BAD.render(),
            format::BAD.render_reset()
        );
        exit::of(&error)
    });
    exit.into()
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let inputs = inputs(&cli);
    match cli.command {
        Command::Agent(_) => {
            let loaded = config::load(&inputs)?;
            crate::app::main(loaded)?;
            Ok(Exit::Done)
        }
        Command::Config(output) => settings::show(&config::load(&inputs)?, &output),
        Command::Status(output) => client::status(&socket(&cli.global, &inputs)?, &output),
        Command::Service(Service::List(output)) => {
            client::services(&socket(&cli.global, &inputs)?, &output)
        }
        Command::Service(Service::Describe(flags)) => {
            let socket = socket(&cli.global, &inputs)?;
            client::service(&socket, &flags.name, &flags.output)
        }
        Command::Pool(List::List(output)) => client::pools(&socket(&cli.global, &inputs)?, &output),
        Command::Lease(List::List(output)) => {
            client::leases(&socket(&cli.global, &inputs)?, &output)
        }
        Command::L2(L2::List(output)) => {
            client::announcements(&socket(&cli.global, &inputs)?, &output)
        }
        Command::L2(L2::History(output)) => {
            client::history(&socket(&cli.global, &inputs)?, &output)
        }
        Command::Drain(flags) => drain::drain(&socket(&cli.global, &inputs)?, &flags),
        Command::Undrain => drain::undrain(&socket(&cli.global, &inputs)?),
        Command::Check(flags) => check::run(&flags, &config::load(&inputs)?.settings.services),
        Command::Crds(flags) => crds::run(&flags),
        Command::Bpf(bpf) => bpf::run(&bpf, &config::load(&inputs)?.settings),
        Command::Cleanup => cleanup::run(&config::load(&inputs)?.settings),
        Command::Keygen => keygen::run(),
        Command::Generate(what) => generate::run(&what),
    }
}

/// The socket to ask. One that is named is taken as it is, so that a faulty settings file keeps
/// nobody from looking.
fn socket(global: &Global, inputs: &Inputs) -> anyhow::Result<PathBuf> {
    match &global.socket {
        Some(path) => Ok(path.clone()),
        None => Ok(config::load(inputs)?.settings.api.socket),
    }
}

/// What settings are read from: file, environment, and the flags as keys.
fn inputs(cli: &Cli) -> Inputs {
    let mut flags = Vec::new();
    for (key, value) in &cli.global.set {
        flags.push(Flag {
            key: key.clone(),
            value: value.clone(),
            flag: "--set".to_owned(),
        });
    }
    let mut named = vec![("api.socket", "--socket", text(&cli.global.socket))];
    if let Command::Agent(agent) = &cli.command {
        named.extend([
            ("node.name", "--node-name", agent.node_name.clone()),
            (
                "source.manifests_dir",
                "--manifests-dir",
                text(&agent.manifests_dir),
            ),
            ("state.dir", "--state-dir", text(&agent.state_dir)),
            ("log.level", "--log-level", agent.log_level.clone()),
        ]);
    }
    for (key, flag, value) in named {
        if let Some(value) = value {
            flags.push(Flag {
                key: key.to_owned(),
                value,
                flag: flag.to_owned(),
            });
        }
    }
    let environment = std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect();
    Inputs {
        file: cli.global.config.clone(),
        environment,
        flags,
    }
}

fn text(path: &Option<PathBuf>) -> Option<String> {
    path.as_ref()
        .map(|path| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
