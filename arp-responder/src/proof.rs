//! Whether this node's answers get through.
//!
//! Sans-IO: VIPs, testimonies and `now` go in; questions to peers and findings come out. A node does not hear its own
//! broadcasts, so peers are asked to bear witness: soon after a VIP was announced, and from then on now and then. A round
//! of questions ends with
//!
//! - a *proof*: a peer heard this node answer;
//! - a *denial*: peers were asked, at least one reported, and none had heard this node;
//! - or nothing: nobody reported, or another node of ours answered, as during a hand-over. Nothing is proved and nothing
//!   refuted; alone on a LAN a node goes on as it is.
//!
//! Some denials in a row are a finding. The interface's own address is then asked for as well, as a control: if that is
//! denied too, the wire eats whatever this node answers, and all that is announced there is concerned; else it is the one
//! VIP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use pnet::util::MacAddr;

use crate::address::{InterfaceAddress, InterfaceIndex};
use crate::clock::BootInstant;
use crate::codec::Testimony;
use crate::schedule::Schedule;

/// When peers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofTiming {
    /// From an announcement to the first question: the kernel's table is written meanwhile.
    pub first: Duration,
    /// How long testimonies are waited for. A witness takes up to 120 ms to say that nobody answers.
    pub wait: Duration,
    /// From a round without a proof to the next.
    pub again: Duration,
    /// Between proofs of one VIP.
    pub background: Duration,
    /// Between background questions of one interface, so that many VIPs make no more noise than few.
    pub pace: Duration,
    /// Denials in a row that are a finding.
    pub denials: u32,
    /// Peers asked in a round.
    pub witnesses: usize,
}

impl Default for ProofTiming {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            wait: Duration::from_millis(250),
            again: Duration::from_millis(100),
            background: Duration::from_secs(2),
            pace: Duration::from_millis(500),
            denials: 3,
            witnesses: 2,
        }
    }
}

/// What the machine wants done or has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proving {
    /// Ask this peer about the address.
    Ask(InterfaceAddress, MacAddr, u64),
    /// A peer has heard this node answer for the VIP: the first time since it was won, or after denials.
    Proved(InterfaceAddress),
    /// Peers do not hear this node answer for the VIP; with whether they hear it answer for nothing there.
    Denied(InterfaceAddress, Reach),
    /// Peers hear this node answer for its own address, where nothing is announced because they did not.
    WireWorks(InterfaceIndex),
    /// A station answers for the VIP that is none of ours.
    Stranger(InterfaceAddress, MacAddr),
}

/// What a denial concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The one VIP; the interface's own address is answered for.
    Vip,
    /// The interface: nothing that this node answers gets through.
    Wire,
}

/// An interface as far as proofs go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// This node's address there.
    pub own: Option<MacAddr>,
    /// All peers, which are no strangers.
    pub peers: BTreeSet<MacAddr>,
    /// Those to ask.
    pub witnesses: BTreeSet<MacAddr>,
    /// The interface's own IP addresses, for controls.
    pub addresses: Vec<IpAddr>,
    /// Nothing is announced there until the control is proved.
    pub examined: bool,
}

/// Something asked for.
#[derive(Debug, Default)]
struct Case {
    /// The round under way, by its nonce.
    round: Option<Round>,
    denials: u32,
    proved: bool,
    /// For a control: proofs in a row.
    proofs: u32,
}

#[derive(Debug)]
struct Round {
    nonce: u64,
    denied: bool,
    unclear: bool,
}

/// The machine.
#[derive(Debug)]
pub struct SelfProof {
    timing: ProofTiming,
    grounds: BTreeMap<InterfaceIndex, Ground>,
    /// VIPs, and controls, which are the interfaces' own addresses.
    cases: BTreeMap<InterfaceAddress, Case>,
    controls: BTreeSet<InterfaceAddress>,
    schedule: Schedule<InterfaceAddress>,
    nonce: u64,
}

impl SelfProof {
    /// A machine that has nothing to prove. `seed` makes its nonces differ from an earlier process's.
    pub fn new(timing: ProofTiming, seed: u64) -> Self {
        Self {
            timing,
            grounds: BTreeMap::new(),
            cases: BTreeMap::new(),
            controls: BTreeSet::new(),
            schedule: Schedule::default(),
            nonce: seed,
        }
    }

    /// Sets the interfaces there are.
    pub fn set_grounds(&mut self, grounds: BTreeMap<InterfaceIndex, Ground>, now: BootInstant) {
        self.grounds = grounds;
        let examined = self.grounds.iter().filter(|(_, ground)| ground.examined);
        let wanted: BTreeSet<InterfaceAddress> = examined
            .flat_map(|(index, ground)| controls(*index, ground))
            .collect();
        let suspect: BTreeSet<InterfaceAddress> = self
            .suspects()
            .flat_map(|vip| self.control_of(vip))
            .collect();
        let held: Vec<_> = self.controls.iter().copied().collect();
        for control in held {
            if !wanted.contains(&control) && !suspect.contains(&control) {
                self.drop_control(control);
            }
        }
        for control in wanted {
            self.start_control(control, now);
        }
        // What could not be asked for want of a witness can be now.
        let first = now + self.timing.first;
        for vip in self.cases.keys() {
            let witnessed = has_witness(&self.grounds, vip.interface);
            if witnessed && !self.schedule.contains(*vip) {
                self.schedule.set(*vip, first);
            }
        }
    }

    /// Proves `vip` from now on.
    pub fn start(&mut self, vip: InterfaceAddress, now: BootInstant) {
        self.cases.insert(vip, Case::default());
        if has_witness(&self.grounds, vip.interface) {
            self.schedule.set(vip, now + self.timing.first);
        }
    }

    /// Forgets `vip`.
    pub fn cancel(&mut self, vip: InterfaceAddress) {
        if !self.controls.contains(&vip) {
            self.cases.remove(&vip);
            self.schedule.cancel(vip);
        }
    }

    /// A peer bears witness.
    pub fn told(
        &mut self,
        interface: InterfaceIndex,
        testimony: &Testimony,
        now: BootInstant,
    ) -> Vec<Proving> {
        let ip = testimony.ip;
        let vip = InterfaceAddress { interface, ip };
        let (Some(case), Some(ground)) = (self.cases.get_mut(&vip), self.grounds.get(&interface))
        else {
            return Vec::new();
        };
        let Some(round) = case
            .round
            .as_mut()
            .filter(|round| round.nonce == testimony.nonce)
        else {
            return Vec::new();
        };
        let stations = &testimony.stations;
        let heard = ground.own.is_some_and(|own| stations.contains(&own));
        if !heard {
            round.denied |= stations.is_empty();
            round.unclear |= !stations.is_empty();
        }
        let is_known = |mac: &MacAddr| ground.own == Some(*mac) || ground.peers.contains(mac);
        let strangers = stations.iter().filter(|mac| !is_known(mac));
        let strangers = strangers.filter(|_| !self.controls.contains(&vip));
        let mut findings: Vec<Proving> =
            strangers.map(|mac| Proving::Stranger(vip, *mac)).collect();
        if heard {
            findings.extend(self.prove(vip, now));
        }
        findings
    }

    /// This node has no right to answer at present: nothing is asked, and what was is void.
    pub fn pause(&mut self, now: BootInstant) {
        while let Some(vip) = self.schedule.pop_due(now) {
            if let Some(case) = self.cases.get_mut(&vip) {
                case.round = None;
                self.schedule.set(vip, now + self.timing.again);
            }
        }
    }

    /// What is due.
    pub fn poll(&mut self, now: BootInstant) -> Vec<Proving> {
        let mut findings = Vec::new();
        while let Some(vip) = self.schedule.pop_due(now) {
            let Some(case) = self.cases.get_mut(&vip) else {
                continue;
            };
            let Some(round) = case.round.take() else {
                self.ask(vip, now, &mut findings);
                continue;
            };
            if !round.denied || round.unclear {
                let wait = self.background(vip);
                self.schedule.set(vip, now + wait);
                continue;
            }
            case.denials += 1;
            case.proofs = 0;
            self.denied(vip, now, &mut findings);
        }
        findings
    }

    /// When [`poll`](Self::poll) has to be called next, if nothing else happens.
    pub fn poll_deadline(&self) -> Option<BootInstant> {
        self.schedule.next()
    }

    /// Begins a round: asks some peers, others each time.
    fn ask(&mut self, vip: InterfaceAddress, now: BootInstant, findings: &mut Vec<Proving>) {
        self.nonce = self.nonce.wrapping_add(1);
        let peers = self
            .grounds
            .get(&vip.interface)
            .map(|ground| &ground.witnesses);
        let peers: Vec<MacAddr> = peers.into_iter().flatten().copied().collect();
        // Without a witness it is asked for again when there is one.
        let Some(case) = self.cases.get_mut(&vip).filter(|_| !peers.is_empty()) else {
            return;
        };
        case.round = Some(Round {
            nonce: self.nonce,
            denied: false,
            unclear: false,
        });
        let count = u64::try_from(peers.len()).expect("a LAN has fewer");
        let first = usize::try_from(self.nonce % count).expect("less than their number");
        let asked = peers.iter().cycle().skip(first);
        let asked = asked.take(self.timing.witnesses.min(peers.len()));
        findings.extend(asked.map(|peer| Proving::Ask(vip, *peer, self.nonce)));
        self.schedule.set(vip, now + self.timing.wait);
    }

    fn prove(&mut self, vip: InterfaceAddress, now: BootInstant) -> Option<Proving> {
        let wait = self.background(vip);
        let case = self.cases.get_mut(&vip)?;
        let is_news = !case.proved || case.denials > 0;
        (case.round, case.denials, case.proved) = (None, 0, true);
        case.proofs = case.proofs.saturating_add(1);
        let proofs = case.proofs;
        self.schedule.set(vip, now + wait);
        if !self.controls.contains(&vip) {
            return is_news.then_some(Proving::Proved(vip));
        }
        let examined = self
            .grounds
            .get(&vip.interface)
            .is_some_and(|ground| ground.examined);
        if !examined
            && !self
                .suspects()
                .any(|suspect| suspect.interface == vip.interface)
        {
            self.drop_control(vip);
        }
        (examined && proofs >= 2).then_some(Proving::WireWorks(vip.interface))
    }

    fn denied(&mut self, vip: InterfaceAddress, now: BootInstant, findings: &mut Vec<Proving>) {
        let is_control = self.controls.contains(&vip);
        let wait = if is_control && self.cases[&vip].denials >= self.timing.denials {
            self.background(vip)
        } else {
            self.timing.again
        };
        self.schedule.set(vip, now + wait);
        if is_control {
            return;
        }
        if let Some(control) = self.control_of(vip) {
            self.start_control(control, now);
        }
        if self.cases[&vip].denials < self.timing.denials {
            return;
        }
        // The control was begun with the first denial, and so has been denied about as often.
        let mut controls = self
            .control_of(vip)
            .into_iter()
            .filter_map(|c| self.cases.get(&c));
        let wire = controls.any(|control| control.denials > 0 && control.proofs == 0);
        let reach = if wire { Reach::Wire } else { Reach::Vip };
        findings.push(Proving::Denied(vip, reach));
        let wait = self.background(vip);
        self.schedule.set(vip, now + wait);
    }

    /// VIPs that are being denied.
    fn suspects(&self) -> impl Iterator<Item = InterfaceAddress> {
        let cases = self.cases.iter();
        let vips = cases.filter(|(vip, case)| case.denials > 0 && !self.controls.contains(vip));
        vips.map(|(vip, _)| *vip)
    }

    /// The interface's own address of the VIP's family.
    fn control_of(&self, vip: InterfaceAddress) -> Option<InterfaceAddress> {
        let ground = self.grounds.get(&vip.interface)?;
        controls(vip.interface, ground).find(|control| control.ip.is_ipv4() == vip.ip.is_ipv4())
    }

    fn start_control(&mut self, control: InterfaceAddress, now: BootInstant) {
        if self.controls.insert(control) {
            self.cases.insert(control, Case::default());
            self.schedule.set(control, now);
        }
    }

    fn drop_control(&mut self, control: InterfaceAddress) {
        self.controls.remove(&control);
        self.cases.remove(&control);
        self.schedule.cancel(control);
    }

    /// Until something is asked for again when nothing is wrong.
    fn background(&self, vip: InterfaceAddress) -> Duration {
        let beside = self
            .cases
            .keys()
            .filter(|case| case.interface == vip.interface);
        let count = u32::try_from(beside.count()).unwrap_or(u32::MAX);
        self.timing
            .background
            .max(self.timing.pace.saturating_mul(count))
    }
}

fn has_witness(grounds: &BTreeMap<InterfaceIndex, Ground>, interface: InterfaceIndex) -> bool {
    let ground = grounds.get(&interface);
    ground.is_some_and(|ground| !ground.witnesses.is_empty())
}

/// An address of each family that is the interface's own; link-local ones, which filters let through, prove little.
fn controls(interface: InterfaceIndex, ground: &Ground) -> impl Iterator<Item = InterfaceAddress> {
    let own = |v4: bool| {
        let mut of_family = ground.addresses.iter().filter(move |ip| match ip {
            IpAddr::V4(_) => v4,
            IpAddr::V6(ip) => !v4 && !ip.is_unicast_link_local(),
        });
        of_family.next().copied()
    };
    let own = [own(true), own(false)];
    own.into_iter()
        .flatten()
        .map(move |ip| InterfaceAddress { interface, ip })
}

#[cfg(test)]
mod tests;
