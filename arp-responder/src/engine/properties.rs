//! What holds for every run of the engine, whatever is desired, heard and granted in whatever order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::codec::Message;

const LAN: InterfaceIndex = InterfaceIndex(3);
const OWN: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
const STRANGER: MacAddr = MacAddr(2, 0, 0, 0, 0, 0xee);
const VIPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 80)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80)),
];

#[derive(Clone, Debug)]
enum Step {
    /// Time passes, with polls in between or asleep.
    Wait {
        milliseconds: u64,
        asleep: bool,
    },
    /// The right lasts so much longer, or ends.
    Grant(u64),
    Hear(Frame),
    Desire(Vec<Option<DesiredVip>>),
    Up,
    Down,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let v4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
    let heard: Vec<Frame> = VIPS
        .into_iter()
        .flat_map(|ip| Frame::announcements(STRANGER, ip))
        .chain(VIPS.map(|ip| Frame::probe(STRANGER, ip)))
        .chain([Frame::arp_request(
            STRANGER,
            Ipv4Addr::new(192, 0, 2, 9),
            v4,
        )])
        .collect();
    let role = prop_oneof![Just(Role::First), Just(Role::Takeover)];
    let vip = (role, 1..3_u64).prop_map(|(role, acquisition)| DesiredVip { role, acquisition });
    let desired = proptest::collection::vec(proptest::option::of(vip), 2);
    let step = prop_oneof![
        4 => (0..2_000_u64, any::<bool>())
            .prop_map(|(milliseconds, asleep)| Step::Wait { milliseconds, asleep }),
        2 => (0..3_000_u64).prop_map(Step::Grant),
        4 => proptest::sample::select(heard).prop_map(Step::Hear),
        2 => desired.prop_map(Step::Desire),
        2 => Just(Step::Up),
        1 => Just(Step::Down),
    ];
    proptest::collection::vec(step, 0..60)
}

fn desired(vips: &[Option<DesiredVip>]) -> Desired {
    let vips = VIPS
        .into_iter()
        .zip(vips)
        .filter_map(|(ip, vip)| vip.map(|vip| (ip, vip)));
    let interface = DesiredInterface {
        name: "ens3".into(),
        mac: OWN,
        answering: Answering::Socket,
        peers: BTreeSet::new(),
        witnesses: BTreeSet::new(),
        addresses: Vec::new(),
        examined: false,
        vips: vips.collect(),
    };
    Desired {
        interfaces: [(LAN, interface)].into(),
    }
}

/// What an observer knows, by which actions are judged.
#[derive(Default)]
struct Observer {
    now: BootInstant,
    deadline: BootInstant,
    up: bool,
    wanted: BTreeMap<IpAddr, DesiredVip>,
    /// VIPs told clear since they were last won.
    cleared: BTreeMap<IpAddr, u64>,
}

impl Observer {
    fn judge(&mut self, actions: &[Action]) -> Result<(), TestCaseError> {
        for action in actions {
            match action {
                Action::Send { frame, claims, .. } => self.judge_frame(frame, *claims)?,
                Action::Report(Event::ProbeCleared { ip, .. }) => {
                    prop_assert!(self.wanted.contains_key(ip), "cleared what nobody wants");
                    self.cleared.insert(*ip, self.wanted[ip].acquisition);
                }
                Action::Report(_) => {}
            }
        }
        Ok(())
    }

    fn judge_frame(&self, frame: &Frame, claims: bool) -> Result<(), TestCaseError> {
        let claim = Claim::of(frame).expect("whatever is sent names an address");
        prop_assert_eq!(claim.mac, OWN);
        prop_assert_eq!(claims, !claim.probe);
        prop_assert!(self.up, "sent on an interface that is down");
        let wanted = self.wanted.get(&claim.ip);
        prop_assert!(wanted.is_some(), "spoke of a VIP that is not wanted");
        if claims {
            prop_assert!(self.now < self.deadline, "claimed a VIP without the right");
            let takeover = wanted.is_some_and(|vip| vip.role == Role::Takeover);
            let cleared = self.cleared.get(&claim.ip) == wanted.map(|vip| &vip.acquisition);
            prop_assert!(
                takeover || cleared,
                "claimed a VIP before its probe cleared"
            );
        }
        let to_one = !frame.destination.is_multicast();
        let unasked = matches!(&frame.message, Message::Arp(arp) if arp.is_gratuitous());
        prop_assert!(!(to_one && unasked), "an announcement goes to all");
        Ok(())
    }

    fn want(&mut self, vips: BTreeMap<IpAddr, DesiredVip>) {
        self.cleared
            .retain(|ip, won| vips.get(ip).is_some_and(|vip| vip.acquisition == *won));
        // A VIP that goes on is what it was, whatever role it is given now.
        let before = std::mem::replace(&mut self.wanted, vips);
        for (ip, vip) in &mut self.wanted {
            if let Some(old) = before
                .get(ip)
                .filter(|old| old.acquisition == vip.acquisition)
            {
                vip.role = match (old.role, vip.role) {
                    (Role::First, Role::First) => Role::First,
                    _ => Role::Takeover,
                };
            }
        }
    }
}

proptest! {
    #[test]
    fn a_vip_is_claimed_only_with_the_right_while_wanted_and_after_its_probe(steps in steps()) {
        let mut engine = Engine::new(AnnounceTiming::default(), ProbeTiming::default());
        let mut observer = Observer::default();
        for step in steps {
            match step {
                Step::Wait { milliseconds, asleep } => {
                    let until = observer.now + Duration::from_millis(milliseconds);
                    while let Some(at) = engine.poll_deadline().filter(|&at| !asleep && at < until) {
                        observer.now = observer.now.max(at);
                        let actions = engine.poll(observer.now, observer.deadline);
                        observer.judge(&actions)?;
                    }
                    observer.now = until;
                }
                Step::Grant(milliseconds) => {
                    observer.deadline = observer.now + Duration::from_millis(milliseconds);
                }
                Step::Hear(frame) => {
                    let actions = engine.heard(LAN, &frame, observer.now, observer.deadline);
                    observer.judge(&actions)?;
                }
                Step::Desire(vips) => {
                    let desired = desired(&vips);
                    observer.want(desired.interfaces[&LAN].vips.clone());
                    engine.apply(desired, observer.now);
                }
                Step::Up => {
                    engine.interface_up(LAN, observer.now);
                    observer.up |= !engine.desired.interfaces.is_empty();
                }
                Step::Down => {
                    engine.interface_down(LAN);
                    observer.up = false;
                }
            }
            let actions = engine.poll(observer.now, observer.deadline);
            observer.judge(&actions)?;
        }
    }
}
