//! Self-proof on a virtual clock, with witnesses that hear or do not.

use super::*;

const OWN: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
const PEER: MacAddr = MacAddr(2, 0, 0, 0, 0, 2);
const OTHER_PEER: MacAddr = MacAddr(2, 0, 0, 0, 0, 3);
const STRANGER: MacAddr = MacAddr(2, 0, 0, 0, 0, 0xee);
const LAN: InterfaceIndex = InterfaceIndex(3);

fn at(last: u8) -> InterfaceAddress {
    InterfaceAddress {
        interface: LAN,
        ip: [192, 0, 2, last].into(),
    }
}

/// The interface's own address, and two VIPs.
fn own() -> InterfaceAddress {
    at(11)
}

fn ms(milliseconds: u64) -> BootInstant {
    BootInstant::from_nanos(milliseconds * 1_000_000)
}

/// A machine and what its peers tell it.
struct Lan {
    proof: SelfProof,
    now: u64,
    asked: Vec<(u64, InterfaceAddress, MacAddr)>,
}

impl Lan {
    fn with(witnesses: &[MacAddr]) -> Self {
        let mut lan = Self {
            proof: SelfProof::new(ProofTiming::default(), 0),
            now: 0,
            asked: Vec::new(),
        };
        lan.set_ground(witnesses, false);
        lan
    }

    fn set_ground(&mut self, witnesses: &[MacAddr], examined: bool) {
        let ground = Ground {
            own: Some(OWN),
            peers: BTreeSet::from([PEER, OTHER_PEER]),
            witnesses: witnesses.iter().copied().collect(),
            addresses: vec![own().ip],
            examined,
        };
        self.proof
            .set_grounds(BTreeMap::from([(LAN, ground)]), ms(self.now));
    }

    /// Goes on to `until`, at `hears` telling whom each peer hears for an address; nothing where a peer tells nothing.
    fn run(
        &mut self,
        until: u64,
        hears: impl Fn(MacAddr, InterfaceAddress) -> Option<Vec<MacAddr>>,
    ) -> Vec<(u64, Proving)> {
        let mut findings = Vec::new();
        while let Some(next) = self.proof.poll_deadline().filter(|next| *next <= ms(until)) {
            self.now = next.as_nanos() / 1_000_000;
            for finding in self.proof.poll(next) {
                let Proving::Ask(vip, peer, nonce) = finding else {
                    findings.push((self.now, finding));
                    continue;
                };
                self.asked.push((self.now, vip, peer));
                if let Some(stations) = hears(peer, vip) {
                    let testimony = Testimony {
                        nonce,
                        ip: vip.ip,
                        stations,
                    };
                    let told = self.proof.told(LAN, &testimony, next);
                    findings.extend(told.into_iter().map(|finding| (self.now, finding)));
                }
            }
        }
        self.now = until;
        findings
    }
}

fn everybody(_: MacAddr, _: InterfaceAddress) -> Option<Vec<MacAddr>> {
    Some(vec![OWN])
}

fn nobody(_: MacAddr, _: InterfaceAddress) -> Option<Vec<MacAddr>> {
    Some(Vec::new())
}

#[test]
fn a_vip_that_a_peer_hears_is_proved_once_and_asked_for_now_and_then() {
    let mut lan = Lan::with(&[PEER, OTHER_PEER]);
    lan.proof.start(at(80), ms(0));
    assert_eq!(lan.run(10_000, everybody), [(50, Proving::Proved(at(80)))]);
    let rounds: BTreeSet<u64> = lan.asked.iter().map(|(at, ..)| *at).collect();
    assert_eq!(rounds.len(), 5, "{rounds:?}");
}

#[test]
fn a_wire_that_eats_all_answers_is_found_within_two_seconds() {
    let mut lan = Lan::with(&[PEER, OTHER_PEER]);
    lan.proof.start(at(80), ms(0));
    let findings = lan.run(1_999, nobody);
    let expected = Proving::Denied(at(80), Reach::Wire);
    assert_eq!(findings.first().map(|(_, found)| found), Some(&expected));
}

#[test]
fn a_vip_that_alone_is_not_heard_concerns_nothing_else() {
    let mut lan = Lan::with(&[PEER, OTHER_PEER]);
    lan.proof.start(at(80), ms(0));
    lan.proof.start(at(81), ms(0));
    let findings = lan.run(2_000, |_, vip| {
        Some(if vip == at(80) { vec![] } else { vec![OWN] })
    });
    let found: Vec<_> = findings.iter().map(|(_, finding)| finding).collect();
    assert_eq!(
        found,
        [
            &Proving::Proved(at(81)),
            &Proving::Denied(at(80), Reach::Vip)
        ]
    );
}

#[test]
fn alone_or_among_silent_peers_nothing_is_refuted() {
    for witnesses in [&[][..], &[PEER]] {
        let mut lan = Lan::with(witnesses);
        lan.proof.start(at(80), ms(0));
        assert_eq!(lan.run(60_000, |_, _| None), []);
    }
}

#[test]
fn one_peer_that_hears_outweighs_one_that_does_not() {
    let mut lan = Lan::with(&[PEER, OTHER_PEER]);
    lan.proof.start(at(80), ms(0));
    let findings = lan.run(60_000, |peer, _| {
        Some(if peer == PEER { vec![] } else { vec![OWN] })
    });
    assert!(
        findings
            .iter()
            .all(|(_, finding)| *finding == Proving::Proved(at(80))),
        "{findings:?}"
    );
}

#[test]
fn a_peer_that_answers_during_a_hand_over_refutes_nothing() {
    let mut lan = Lan::with(&[PEER, OTHER_PEER]);
    lan.proof.start(at(80), ms(0));
    assert_eq!(lan.run(60_000, |_, _| Some(vec![OTHER_PEER])), []);
}

#[test]
fn a_stranger_that_answers_is_told_whether_this_node_is_heard_or_not() {
    for heard in [vec![OWN, STRANGER], vec![STRANGER]] {
        let mut lan = Lan::with(&[PEER]);
        lan.proof.start(at(80), ms(0));
        let findings = lan.run(100, |_, _| Some(heard.clone()));
        let stranger = (50, Proving::Stranger(at(80), STRANGER));
        assert!(findings.contains(&stranger), "{findings:?}");
    }
}

#[test]
fn a_lost_round_or_two_refute_nothing() {
    let mut lan = Lan::with(&[PEER]);
    lan.proof.start(at(80), ms(0));
    assert_eq!(lan.run(700, nobody), []);
    let findings = lan.run(10_000, everybody);
    assert!(
        findings
            .iter()
            .all(|(_, finding)| *finding == Proving::Proved(at(80))),
        "{findings:?}"
    );
}

#[test]
fn an_examined_interface_is_told_to_work_when_its_own_address_is_heard() {
    let mut lan = Lan::with(&[PEER]);
    lan.set_ground(&[PEER], true);
    assert_eq!(lan.run(10_000, nobody), []);
    let findings = lan.run(20_000, everybody);
    assert_eq!(
        findings.first().map(|(_, finding)| finding),
        Some(&Proving::WireWorks(LAN))
    );
    // No longer examined, nothing is asked.
    lan.set_ground(&[PEER], false);
    lan.asked.clear();
    lan.run(60_000, everybody);
    assert_eq!(lan.asked, []);
}

#[test]
fn without_the_right_to_answer_nothing_is_asked_and_nothing_refuted() {
    let mut lan = Lan::with(&[PEER]);
    lan.proof.start(at(80), ms(0));
    for _ in 0..100 {
        let due = lan.proof.poll_deadline().unwrap();
        lan.proof.pause(due);
        assert!(lan.proof.poll_deadline().unwrap() > due, "no busy loop");
    }
}

#[test]
fn many_vips_make_no_more_noise_than_few() {
    let mut lan = Lan::with(&[PEER]);
    for last in 0..=200 {
        lan.proof.start(at(last), ms(0));
    }
    lan.run(1_000, everybody);
    lan.asked.clear();
    lan.run(101_000, everybody);
    assert!(lan.asked.len() <= 220, "{}", lan.asked.len());
}

#[test]
fn testimonies_of_earlier_rounds_and_other_places_count_for_nothing() {
    let mut lan = Lan::with(&[PEER]);
    lan.proof.start(at(80), ms(0));
    let [Proving::Ask(_, _, nonce)] = lan.proof.poll(ms(50))[..] else {
        panic!("one peer is asked");
    };
    for (interface, nonce, last) in [
        (LAN, nonce - 1, 80),
        (LAN, nonce, 81),
        (InterfaceIndex(4), nonce, 80),
    ] {
        let testimony = Testimony {
            nonce,
            ip: at(last).ip,
            stations: vec![OWN],
        };
        assert_eq!(lan.proof.told(interface, &testimony, ms(60)), []);
    }
}
