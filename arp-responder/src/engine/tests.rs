//! The machines together, on a virtual clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::*;
use crate::codec::Testimony;

const LAN: InterfaceIndex = InterfaceIndex(3);
const OWN: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
const STRANGER: MacAddr = MacAddr(2, 0, 0, 0, 0, 0xee);
const VIP4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 80));
const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80));
const FOREVER: BootInstant = BootInstant::from_nanos(u64::MAX);

fn ms(milliseconds: u64) -> BootInstant {
    BootInstant::from_nanos(milliseconds * 1_000_000)
}

fn desired(role: Role, acquisition: u64) -> Desired {
    let vips = [VIP4, VIP6]
        .map(|ip| (ip, DesiredVip { role, acquisition }))
        .into();
    let interface = DesiredInterface {
        name: "ens3".into(),
        mac: OWN,
        answering: Answering::Socket,
        peers: BTreeSet::new(),
        witnesses: BTreeSet::new(),
        addresses: Vec::new(),
        examined: false,
        vips,
    };
    Desired {
        interfaces: [(LAN, interface)].into(),
    }
}

fn engine(desired: Desired) -> Engine {
    let mut engine = Engine::new(AnnounceTiming::default(), ProbeTiming::default());
    engine.apply(desired, ms(0));
    engine.interface_up(LAN, ms(0));
    engine
}

fn frames(actions: Vec<Action>) -> Vec<Frame> {
    let sent = |action| match action {
        Action::Send { frame, .. } => Some(frame),
        Action::Report(_) => None,
    };
    actions.into_iter().filter_map(sent).collect()
}

fn announcements(mac: MacAddr) -> Vec<Frame> {
    [VIP4, VIP6]
        .into_iter()
        .flat_map(|ip| Frame::announcements(mac, ip))
        .collect()
}

fn asks() -> Frame {
    Frame::arp_request(
        STRANGER,
        Ipv4Addr::new(192, 0, 2, 9),
        Ipv4Addr::new(192, 0, 2, 80),
    )
}

#[test]
fn a_takeover_announces_and_answers_at_once() {
    let mut engine = engine(desired(Role::Takeover, 1));
    assert_eq!(frames(engine.poll(ms(0), FOREVER)), announcements(OWN));
    assert_eq!(frames(engine.heard(LAN, &asks(), ms(1), FOREVER)).len(), 1);
    let mut sent = Vec::new();
    while let Some(next) = engine.poll_deadline().filter(|next| *next < ms(1_100)) {
        sent.extend(frames(engine.poll(next, FOREVER)));
    }
    // Then it asks once whether a stranger has it, and announces again after locktime.
    let probes = [VIP4, VIP6].map(|ip| Frame::probe(OWN, ip));
    assert!(
        sent.len() == 2 && probes.iter().all(|probe| sent.contains(probe)),
        "{sent:?}"
    );
    assert_eq!(engine.poll_deadline(), Some(ms(1_100)));
}

#[test]
fn a_first_announcement_probes_and_is_silent_until_it_clears() {
    let mut engine = engine(desired(Role::First, 1));
    let probes = [VIP4, VIP6].map(|ip| Frame::probe(OWN, ip));
    assert_eq!(frames(engine.poll(ms(0), FOREVER)), probes);
    assert!(frames(engine.heard(LAN, &asks(), ms(10), FOREVER)).is_empty());

    let cleared = engine.poll(ms(30), FOREVER);
    let told = cleared
        .iter()
        .filter(|a| matches!(a, Action::Report(Event::ProbeCleared { .. })));
    assert_eq!(told.count(), 2);
    assert_eq!(frames(cleared), announcements(OWN));
    assert_eq!(frames(engine.heard(LAN, &asks(), ms(31), FOREVER)).len(), 1);
}

#[test]
fn a_vip_in_use_is_told_and_neither_announced_nor_answered_for() {
    let mut engine = engine(desired(Role::First, 1));
    engine.poll(ms(0), FOREVER);
    let told = engine.heard(
        LAN,
        &Frame::announcements(STRANGER, VIP4)[1],
        ms(5),
        FOREVER,
    );
    assert!(
        matches!(
            told[..],
            [Action::Report(Event::Conflict {
                ip: VIP4,
                mac: STRANGER,
                ..
            })]
        ),
        "{told:?}"
    );
    assert_eq!(
        frames(engine.poll(ms(30), FOREVER)),
        Frame::announcements(OWN, VIP6)
    );
    assert!(frames(engine.heard(LAN, &asks(), ms(31), FOREVER)).is_empty());
}

#[test]
fn a_late_conflict_is_told() {
    let mut engine = engine(desired(Role::Takeover, 1));
    engine.poll(ms(0), FOREVER);
    let claim = &Frame::announcements(STRANGER, VIP6)[0];
    assert!(
        engine.heard(LAN, claim, ms(5), FOREVER).is_empty(),
        "doubted"
    );
    assert_eq!(
        frames(engine.poll(ms(305), FOREVER)),
        [Frame::probe(OWN, VIP6)]
    );
    let told = engine.heard(LAN, claim, ms(306), FOREVER);
    let expected = matches!(
        told[..],
        [Action::Report(Event::LateConflict {
            interface: LAN,
            ip: VIP6,
            mac: STRANGER
        })]
    );
    assert!(expected, "{told:?}");
}

const PEER: MacAddr = MacAddr(2, 0, 0, 0, 0, 2);

/// As `desired`, with a peer that can bear witness.
fn witnessed(vips: Desired) -> Desired {
    let mut desired = vips;
    for interface in desired.interfaces.values_mut() {
        interface.peers = BTreeSet::from([PEER]);
        interface.witnesses = BTreeSet::from([PEER]);
        interface.addresses = vec![[192, 0, 2, 1].into()];
    }
    desired
}

#[test]
fn a_peer_is_asked_whether_it_hears_and_its_word_is_told() {
    let mut engine = engine(witnessed(desired(Role::Takeover, 1)));
    engine.poll(ms(0), FOREVER);
    let asked = frames(engine.poll(ms(50), FOREVER));
    let Some(Message::Question(question)) = asked.first().map(|frame| frame.message.clone()) else {
        panic!("{asked:?}");
    };
    let testimony = Testimony {
        nonce: question.nonce,
        ip: question.ip,
        stations: vec![OWN],
    };
    let frame = Frame::testimony(STRANGER, OWN, testimony.clone());
    assert!(
        engine.heard(LAN, &frame, ms(55), FOREVER).is_empty(),
        "no peer"
    );
    let told = engine.heard(
        LAN,
        &Frame::testimony(PEER, OWN, testimony),
        ms(60),
        FOREVER,
    );
    assert!(
        matches!(told[..], [Action::Report(Event::Proved { ip: VIP4, .. })]),
        "{told:?}"
    );
}

#[test]
fn a_peers_question_is_asked_on_the_lan_and_a_strangers_is_not() {
    let mut engine = engine(witnessed(Desired {
        interfaces: desired(Role::First, 1).interfaces,
    }));
    let mut bare = witnessed(desired(Role::First, 1));
    bare.interfaces.get_mut(&LAN).unwrap().vips.clear();
    engine.apply(bare, ms(0));
    let question = Question { nonce: 9, ip: VIP4 };
    engine.heard(
        LAN,
        &Frame::question(STRANGER, OWN, question),
        ms(1),
        FOREVER,
    );
    assert_eq!(engine.poll_deadline(), None);
    engine.heard(LAN, &Frame::question(PEER, OWN, question), ms(1), FOREVER);
    let sender = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(
        frames(engine.poll(ms(1), FOREVER)),
        [Frame::arp_request(
            OWN,
            sender,
            Ipv4Addr::new(192, 0, 2, 80)
        )]
    );
}

#[test]
fn what_stays_desired_goes_on_undisturbed() {
    let mut engine = engine(desired(Role::First, 1));
    engine.poll(ms(0), FOREVER);
    engine.poll(ms(30), FOREVER);
    engine.apply(desired(Role::Takeover, 1), ms(40));
    assert!(engine.poll(ms(40), FOREVER).is_empty());
    assert_eq!(engine.poll_deadline(), Some(ms(1_130)));
}

#[test]
fn a_vip_won_again_is_announced_anew() {
    let mut engine = engine(desired(Role::Takeover, 1));
    engine.poll(ms(0), FOREVER);
    engine.apply(desired(Role::Takeover, 2), ms(40));
    assert_eq!(frames(engine.poll(ms(40), FOREVER)), announcements(OWN));
}

#[test]
fn a_changed_mac_is_announced_anew() {
    let mut engine = engine(desired(Role::Takeover, 1));
    engine.poll(ms(0), FOREVER);
    let mut changed = desired(Role::Takeover, 1);
    changed.interfaces.get_mut(&LAN).unwrap().mac = STRANGER;
    engine.apply(changed, ms(40));
    assert_eq!(
        frames(engine.poll(ms(40), FOREVER)),
        announcements(STRANGER)
    );
}

#[test]
fn an_interface_that_was_down_announces_anew_without_a_second_probe() {
    let mut engine = engine(desired(Role::First, 1));
    engine.poll(ms(0), FOREVER);
    engine.poll(ms(30), FOREVER);
    engine.interface_down(LAN);
    assert_eq!(engine.poll_deadline(), None);
    assert!(engine.heard(LAN, &asks(), ms(40), FOREVER).is_empty());
    engine.interface_up(LAN, ms(50));
    assert_eq!(frames(engine.poll(ms(50), FOREVER)), announcements(OWN));
}

#[test]
fn a_probe_cut_short_by_the_interface_is_made_again() {
    let mut engine = engine(desired(Role::First, 1));
    engine.poll(ms(0), FOREVER);
    engine.interface_down(LAN);
    assert!(engine.poll(ms(30), FOREVER).is_empty());
    engine.interface_up(LAN, ms(50));
    assert_eq!(
        frames(engine.poll(ms(50), FOREVER)),
        [VIP4, VIP6].map(|ip| Frame::probe(OWN, ip))
    );
}

#[test]
fn a_withdrawn_interface_is_forgotten() {
    let mut engine = engine(desired(Role::Takeover, 1));
    engine.poll(ms(0), FOREVER);
    engine.apply(Desired::default(), ms(10));
    assert_eq!(engine.poll_deadline(), None);
    assert!(engine.heard(LAN, &asks(), ms(11), FOREVER).is_empty());
    assert!(engine.answers().is_empty());
}

#[test]
fn nothing_claims_a_vip_from_the_deadline_on() {
    let deadline = ms(500);
    let mut engine = engine(desired(Role::Takeover, 1));
    let mut now = ms(0);
    while now < ms(120_000) {
        let claims = |actions: &[Action]| {
            actions
                .iter()
                .any(|action| matches!(action, Action::Send { claims: true, .. }))
        };
        let due = engine.poll(now, deadline);
        let heard = engine.heard(LAN, &asks(), now, deadline);
        assert!(now < deadline || !claims(&due) && !claims(&heard), "{now}");
        now = now + Duration::from_millis(7);
    }
}

#[test]
fn where_the_kernel_answers_the_socket_does_not() {
    let mut kernel = desired(Role::Takeover, 1);
    kernel.interfaces.get_mut(&LAN).unwrap().answering = Answering::Kernel;
    let mut engine = engine(kernel);
    assert_eq!(frames(engine.poll(ms(0), FOREVER)), announcements(OWN));
    assert!(engine.heard(LAN, &asks(), ms(1), FOREVER).is_empty());
}
