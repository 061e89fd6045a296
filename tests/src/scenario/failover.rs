//! The node that announces an address goes, in one way or another, and another takes over.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Stage;
use crate::lab::host::Mac;
use crate::lab::node::Node;
use crate::lab::switch::Lan;
use crate::lab::{Lab, wait};
use crate::probe::herd::Herd;
use crate::probe::neighbour::{Duplicate, LanCapture, NeighbourProber, NeighbourRecord, Sighting};
use crate::probe::udp::{Since, SourcePort, UdpProber, UdpRecord};

/// How often a host without a neighbour entry asks, where the bound is short.
const CLOSELY: Duration = Duration::from_millis(5);

/// How long things are watched before the fault.
const BEFORE: Duration = Duration::from_millis(300);

/// A time below a second, another at each call, which together are spread over it evenly (a golden
/// ratio sequence): what is done once a second or more often meets the fault at all its phases.
fn phase() -> Duration {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = f64::from(CALLS.fetch_add(1, Ordering::Relaxed));
    Duration::from_secs_f64((call * 0.618_033_988_75).fract())
}

/// A control that is silent for longer than this marks a repeat in which the machine stood still.
pub(super) const DISTURBED: Duration = Duration::from_millis(25);

/// What was seen of an address while its holder went.
#[derive(Debug)]
pub struct Takeover {
    /// The longest time without an answer to a UDP request, one each 5 ms, a new flow each.
    pub gap: Duration,
    /// The longest time without an answer to an ARP request.
    pub arp_gap: Duration,
    /// Answers that were one too many.
    pub duplicates: Vec<Duplicate>,
    /// Who answered in the end.
    pub successor: Mac,
    /// Requests after the longest silence, and those of them that failed.
    pub after: Since,
    /// What the machine itself added by not running the instruments or the switch in time: the longest silence by ARP of
    /// an address that nothing happened to, or the most by which a request went out late.
    pub noise: Duration,
}

impl Takeover {
    /// Whether the machine stood still for so long that the gaps say more of it than of Landfall.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.noise > DISTURBED
    }
}

/// The records of an address's instruments while something happened.
#[derive(Debug)]
pub struct Watched {
    /// The address.
    pub vip: IpAddr,
    /// Right before the fault.
    pub fault: Instant,
    /// Requests from the client.
    pub udp: UdpRecord,
    /// Questions from the watcher.
    pub arp: NeighbourRecord,
    /// See [`Takeover::noise`].
    pub noise: Duration,
}

/// As [`watch_lab`], judged.
///
/// # Errors
/// When the fault cannot be made, or nobody answers in the end.
pub fn watch(
    stage: &Stage,
    vip: IpAddr,
    ask: Duration,
    after: Duration,
    fault: impl FnOnce() -> Result<()>,
) -> Result<Takeover> {
    watch_lab(&stage.lab, vip, ask, after, fault)?.judge()
}

/// Watches `vip` from the client (requests) and the watcher (ARP, every `ask`), lets `fault`
/// happen, and watches on for `after`.
///
/// # Errors
/// When the fault cannot be made.
pub fn watch_lab(
    lab: &Lab,
    vip: IpAddr,
    ask: Duration,
    after: Duration,
    fault: impl FnOnce() -> Result<()>,
) -> Result<Watched> {
    let udp = UdpProber::start(
        lab.client(),
        (vip, 5000).into(),
        Duration::from_millis(5),
        SourcePort::Fresh,
    )?;
    let arp = NeighbourProber::start(lab.watcher(), &[vip], ask)?;
    // The client's own kernel answers for its own address whatever happens to the nodes.
    let control = lab.client().ipv4().into();
    let quiet = NeighbourProber::start(lab.watcher(), &[control], Duration::from_millis(5))?;
    std::thread::sleep(BEFORE + phase());
    let begun = Instant::now();
    fault()?;
    std::thread::sleep(after);
    let (udp, arp) = (udp.stop(), arp.stop());
    let noise = quiet
        .stop()
        .longest_gap(control)
        .length
        .max(udp.worst_delay);
    Ok(Watched {
        vip,
        fault: begun,
        udp,
        arp,
        noise,
    })
}

impl Watched {
    /// What the records say of the address's takeover.
    ///
    /// # Errors
    /// When nobody ever answered.
    pub fn judge(&self) -> Result<Takeover> {
        let Self {
            vip,
            udp,
            arp,
            noise,
            ..
        } = self;
        let last = arp.answers(*vip).last();
        let gap = udp.longest_gap();
        let takeover = Takeover {
            gap: gap.length,
            after: udp.since(gap.end()),
            arp_gap: arp.longest_gap(*vip).length,
            duplicates: arp.duplicates(Duration::MAX),
            successor: last.context("nobody ever answered")?.mac,
            noise: *noise,
        };
        let Since { requests, lost } = takeover.after;
        println!(
            "{vip}: silent for {:?}, by ARP for {:?}, a bystander for {noise:?}; {} of {} requests lost, \
             {lost} of {requests} after the silence, worst delay {:?}",
            takeover.gap,
            takeover.arp_gap,
            udp.lost(),
            udp.requests.len(),
            udp.worst_delay
        );
        Ok(takeover)
    }
}

/// The node that announces the first service dies: carrier and processes are gone at once.
///
/// # Errors
/// When no other node takes over.
pub fn node_death(stage: &Stage, after: Duration) -> Result<Takeover> {
    let victim = stage.holder(stage.vip())?;
    let ask = Duration::from_millis(100);
    let takeover = watch(stage, stage.vip(), ask, after, || victim.die())?;
    ensure!(
        takeover.successor != victim.host().mac(),
        "nobody took over from {}",
        victim.name()
    );
    Ok(takeover)
}

/// The agent that announces the first service is stopped in order, and started again afterwards.
///
/// # Errors
/// When no other node takes over.
pub fn drain(stage: &Stage) -> Result<Takeover> {
    let leaver = stage.holder(stage.vip())?;
    let after = Duration::from_millis(1500);
    let takeover = watch(stage, stage.vip(), CLOSELY, after, || {
        leaver.stop_agent().map(drop)
    })?;
    ensure!(
        takeover.successor != leaver.host().mac(),
        "nobody took over from {}",
        leaver.name()
    );
    leaver.start_agent()?;
    Ok(takeover)
}

/// The node that announces the first service is drained by command, and undrained afterwards.
///
/// # Errors
/// When no other node takes over.
pub fn drain_by_command(stage: &Stage) -> Result<Takeover> {
    let leaver = stage.holder(stage.vip())?;
    let after = Duration::from_millis(1500);
    let takeover = watch(stage, stage.vip(), CLOSELY, after, || {
        leaver.landfall("drain --wait").map(drop)
    })?;
    ensure!(
        takeover.successor != leaver.host().mac(),
        "nobody took over from {}",
        leaver.name()
    );
    leaver.landfall("undrain")?;
    Ok(takeover)
}

/// The node that announces the first service loses its carrier on that LAN, and on no other.
///
/// # Errors
/// When no other node takes over.
pub fn carrier_lost(stage: &Stage, after: Duration) -> Result<Takeover> {
    let cut_off = stage.holder(stage.vip())?;
    let takeover = watch(stage, stage.vip(), CLOSELY, after, || {
        cut_off.set_carrier(Lan::First, false)
    })?;
    ensure!(
        takeover.successor != cut_off.host().mac(),
        "nobody took over from {}",
        cut_off.name()
    );
    Ok(takeover)
}

/// Connections through the first service while its announcing node dies.
#[derive(Debug)]
pub struct Survival {
    /// Connections whose pod lives on another node.
    pub elsewhere: usize,
    /// Those of them that died.
    pub lost: usize,
}

/// Opens `connections` connections, lets the announcing node die, and waits until those to pods
/// elsewhere have gone on.
///
/// # Errors
/// When one of them does not go on within 20 s although it has not died.
pub fn connections_through_node_death(stage: &Stage, connections: usize) -> Result<Survival> {
    let victim = stage.holder(stage.vip())?;
    let doomed = stage.pods_on(victim);
    let pause = Duration::from_millis(200);
    let herd = Herd::open(stage.lab.client(), stage.echo(), connections, pause)?;
    let begun = Instant::now();
    wait::until(Duration::from_secs(5), "every connection to talk", || {
        Ok(herd.alive_since(begun, |_| true) == connections)
    })?;
    victim.die()?;
    // An echo that was on its way in that instant may still arrive.
    let died = Instant::now() + Duration::from_millis(50);
    let lives_elsewhere = |pod: &str| !doomed.iter().any(|name| name == pod);
    let elsewhere = herd
        .members()
        .iter()
        .filter(|m| lives_elsewhere(&m.pod))
        .count();
    ensure!(elsewhere > 0, "no connection has its pod on another node");
    wait::until(
        Duration::from_secs(20),
        "the connections to go on or die",
        || {
            let members = herd.members();
            let mut elsewhere = members.iter().filter(|m| lives_elsewhere(&m.pod));
            Ok(elsewhere.all(|m| m.died.is_some() || m.last_echo > died))
        },
    )?;
    let members = herd.close();
    let of_interest = members.iter().filter(|m| lives_elsewhere(&m.pod));
    let lost: Vec<_> = of_interest.filter_map(|m| m.died.as_ref()).collect();
    if let Some(reason) = lost.first() {
        println!(
            "{} of {elsewhere} connections died, the first: {reason}",
            lost.len()
        );
    }
    Ok(Survival {
        elsewhere,
        lost: lost.len(),
    })
}

/// What was seen while an agent was frozen and after it was thawed.
#[derive(Debug, Default)]
pub struct Freeze {
    /// Answers that were one too many.
    pub duplicates: Vec<Duplicate>,
    /// How long after the freezing the frozen agent's node still answered.
    pub silent_after: Duration,
    /// Whether the thawed agent answered at once, before it could have won the lease again.
    pub answered_thawed: bool,
}

/// The agent that announces the first service is frozen and later thawed, watched by ARP from
/// both the client and the watcher, and at the switch.
///
/// # Errors
/// When nobody takes over.
pub fn freeze(stage: &Stage, lease: Duration) -> Result<Freeze> {
    let vip = stage.vip();
    let frozen = stage.holder(vip)?;
    let mac = frozen.host().mac();
    let ask = Duration::from_millis(10);
    let capture = LanCapture::start(stage.lab.switch())?;
    let probers = [stage.lab.client(), stage.lab.watcher()]
        .map(|host| NeighbourProber::start(host, &[vip], ask));
    std::thread::sleep(BEFORE);
    frozen.freeze_agent()?;
    let stopped = Instant::now();
    std::thread::sleep(lease * 2);
    frozen.thaw_agent()?;
    let thawed = Instant::now();
    // Shorter than the pause after which the nodes even out their shares: nothing comes back in order.
    std::thread::sleep(lease * 2 / 3);
    let mut seen = Freeze::default();
    for prober in probers {
        let record = prober?.stop();
        let taken_over = record.answers(vip).any(|s| s.at < thawed && s.mac != mac);
        ensure!(taken_over, "nobody took {vip} over from {}", frozen.name());
        // It may get the address back by and by, but only by way of the lease.
        let grace = thawed + Duration::from_millis(200);
        let own = record
            .answers(vip)
            .filter(|s| s.mac == mac && s.at < thawed);
        let last = own.map(|s| s.at.saturating_duration_since(stopped)).max();
        seen.silent_after = seen.silent_after.max(last.unwrap_or_default());
        let at_once = |s: &Sighting| s.mac == mac && s.at > thawed && s.at < grace;
        seen.answered_thawed |= record.answers(vip).any(at_once);
        seen.duplicates.extend(record.duplicates(Duration::MAX));
    }
    let captured = capture.stop().duplicates(Duration::MAX);
    seen.duplicates
        .extend(captured.into_iter().filter(|d| d.ip == vip));
    Ok(seen)
}

/// The agent that announces the first service is killed for good.
///
/// # Errors
/// When nobody takes over, when anything of the dead agent answers in the end, or when an address
/// of a service is left on one of its node's interfaces.
pub fn kill_for_good(stage: &Stage, after: Duration) -> Result<(&Node, Takeover)> {
    let victim = stage.holder(stage.vip())?;
    let takeover = watch(stage, stage.vip(), CLOSELY, after, || victim.kill_agent())?;
    for vip in stage.vips() {
        let holder = stage.holder(vip)?;
        ensure!(
            holder.name() != victim.name(),
            "{vip} is still answered by {}",
            victim.name()
        );
    }
    let addresses = victim.host().output("ip -oneline addr")?;
    for vip in stage.vips() {
        let left = addresses.split_whitespace().any(|word| {
            word.split('/')
                .next()
                .is_some_and(|address| address == vip.to_string())
        });
        ensure!(!left, "{vip} is left on {}:\n{addresses}", victim.name());
    }
    Ok((victim, takeover))
}
