//! Conflict detection on a virtual clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

const OWN: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
const PEER: MacAddr = MacAddr(2, 0, 0, 0, 0, 2);
const STRANGER: MacAddr = MacAddr(2, 0, 0, 0, 0, 0xee);
const LAN: InterfaceIndex = InterfaceIndex(3);
const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 80));
const VIP: InterfaceAddress = InterfaceAddress {
    interface: LAN,
    ip: IP,
};

fn ms(milliseconds: u64) -> BootInstant {
    BootInstant::from_nanos(milliseconds * 1_000_000)
}

fn detection() -> ConflictDetection {
    let mut detection = ConflictDetection::new(ProbeTiming::default());
    detection.set_own(BTreeSet::from([OWN]));
    detection.set_peers(BTreeMap::from([(LAN, BTreeSet::from([PEER]))]));
    detection
}

/// A machine whose first probe went out at 0 ms.
fn probing() -> ConflictDetection {
    let mut detection = detection();
    detection.probe(VIP, ms(0));
    assert_eq!(detection.poll(ms(0)), [Finding::SendProbe(VIP)]);
    detection
}

/// A machine that took the VIP over at 0 ms.
fn held() -> ConflictDetection {
    let mut detection = detection();
    detection.watch(VIP, ms(0));
    detection
}

fn claim(mac: MacAddr) -> Claim {
    Claim {
        ip: IP,
        mac,
        probe: false,
    }
}

#[test]
fn a_probe_without_an_answer_clears_after_thirty_milliseconds() {
    let mut detection = probing();
    assert_eq!(detection.poll_deadline(), Some(ms(30)));
    assert_eq!(detection.poll(ms(29)), []);
    assert_eq!(detection.poll(ms(30)), [Finding::Clear(VIP)]);
}

#[test]
fn an_answer_to_the_probe_is_a_conflict_even_from_a_peer() {
    for mac in [STRANGER, PEER] {
        let mut detection = probing();
        let finding = detection.heard(LAN, claim(mac), ms(20));
        assert_eq!(finding, Some(Finding::Conflict(VIP, mac)));
        assert_eq!(detection.poll(ms(30)), [], "a refused VIP does not clear");
    }
}

#[test]
fn two_who_probe_at_the_same_time_are_in_conflict() {
    let mut detection = probing();
    let asks = Claim {
        probe: true,
        ..claim(STRANGER)
    };
    assert_eq!(
        detection.heard(LAN, asks, ms(5)),
        Some(Finding::Conflict(VIP, STRANGER))
    );
}

#[test]
fn the_own_voice_is_no_conflict() {
    let mut detection = probing();
    assert_eq!(
        detection.heard(
            LAN,
            Claim {
                probe: true,
                ..claim(OWN)
            },
            ms(1)
        ),
        None
    );
    assert_eq!(detection.heard(LAN, claim(OWN), ms(2)), None);
    assert_eq!(detection.poll(ms(30)), [Finding::Clear(VIP)]);
    assert_eq!(detection.heard(LAN, claim(OWN), ms(40)), None);
}

#[test]
fn a_refused_vip_is_tried_again_ever_more_slowly_and_told_once() {
    let mut detection = probing();
    let mut now = ms(1);
    assert!(detection.heard(LAN, claim(STRANGER), now).is_some());
    let mut waits = Vec::new();
    for _ in 0..12 {
        let retry = detection.poll_deadline().unwrap();
        waits.push(retry.saturating_duration_since(now).as_millis());
        assert_eq!(detection.poll(retry), [Finding::SendProbe(VIP)]);
        now = retry + Duration::from_millis(1);
        assert_eq!(
            detection.heard(LAN, claim(STRANGER), now),
            None,
            "told already"
        );
    }
    assert_eq!(waits[..4], [100, 200, 400, 800]);
    assert_eq!(waits[11], 5_000);
}

#[test]
fn a_vip_that_becomes_free_clears_and_another_owner_is_told() {
    let mut detection = probing();
    detection.heard(LAN, claim(STRANGER), ms(1));
    assert_eq!(detection.poll(ms(101)), [Finding::SendProbe(VIP)]);
    let finding = detection.heard(LAN, claim(PEER), ms(102));
    assert_eq!(finding, Some(Finding::Conflict(VIP, PEER)));
    assert_eq!(detection.poll(ms(302)), [Finding::SendProbe(VIP)]);
    assert_eq!(detection.poll(ms(332)), [Finding::Clear(VIP)]);
}

#[test]
fn a_takeover_does_not_wait_for_a_probe_but_asks_soon_and_then_in_the_background() {
    let mut detection = held();
    let first = detection.poll_deadline().unwrap();
    assert!((ms(500)..=ms(1_000)).contains(&first));
    assert_eq!(detection.poll(first), [Finding::SendProbe(VIP)]);
    assert_eq!(
        detection.poll_deadline(),
        Some(first + Duration::from_secs(30))
    );
}

/// The stranger claims the VIP at `at`, is doubted and asked again, and answers.
fn claims_and_answers(detection: &mut ConflictDetection, at: BootInstant) -> Option<Finding> {
    assert_eq!(detection.heard(LAN, claim(STRANGER), at), None, "doubted");
    let again = at + Duration::from_millis(300);
    assert_eq!(detection.poll_deadline(), Some(again));
    assert_eq!(detection.poll(again), [Finding::SendProbe(VIP)]);
    detection.heard(LAN, claim(STRANGER), again + Duration::from_millis(1))
}

#[test]
fn a_stranger_who_claims_a_held_vip_twice_is_told_and_not_more_than_every_ten_seconds() {
    let mut detection = held();
    assert_eq!(
        claims_and_answers(&mut detection, ms(5)),
        Some(Finding::LateConflict(VIP, STRANGER))
    );
    assert_eq!(claims_and_answers(&mut detection, ms(5_000)), None);
    assert_eq!(
        claims_and_answers(&mut detection, ms(20_000)),
        Some(Finding::LateConflict(VIP, STRANGER))
    );
}

#[test]
fn a_stranger_that_only_answers_is_found_by_the_background_probe() {
    let mut detection = held();
    let first = detection.poll_deadline().unwrap();
    assert_eq!(detection.poll(first), [Finding::SendProbe(VIP)]);
    assert_eq!(
        claims_and_answers(&mut detection, first + Duration::from_millis(1)),
        Some(Finding::LateConflict(VIP, STRANGER))
    );
}

#[test]
fn a_peer_whose_address_was_not_known_yet_is_no_stranger() {
    let mut detection = held();
    detection.set_peers(BTreeMap::new());
    assert_eq!(detection.heard(LAN, claim(PEER), ms(5)), None);
    // Its word on itself arrives.
    detection.set_peers(BTreeMap::from([(LAN, BTreeSet::from([PEER]))]));
    assert_eq!(detection.poll(ms(305)), [Finding::SendProbe(VIP)]);
    assert_eq!(detection.heard(LAN, claim(PEER), ms(306)), None);
}

#[test]
fn a_station_that_claims_once_and_is_gone_is_no_conflict() {
    let mut detection = held();
    assert_eq!(detection.heard(LAN, claim(STRANGER), ms(5)), None);
    assert_eq!(detection.poll(ms(305)), [Finding::SendProbe(VIP)]);
    // A minute later it claims once more, which is a new story.
    assert_eq!(detection.heard(LAN, claim(STRANGER), ms(60_000)), None);
}

#[test]
fn a_station_that_makes_up_addresses_is_not_told_and_hides_no_other_for_long() {
    let mut detection = held();
    let mut told = 0;
    for n in 0..3_000_u16 {
        let [high, low] = n.to_be_bytes();
        let forged = MacAddr(2, 1, 1, 1, high, low);
        told += usize::from(detection.heard(LAN, claim(forged), ms(n.into())).is_some());
    }
    assert_eq!(told, 0);
    assert!(claims_and_answers(&mut detection, ms(4_100)).is_some());
}

#[test]
fn peers_and_those_who_only_ask_do_not_contest_a_held_vip() {
    let mut detection = held();
    let asks = Claim {
        probe: true,
        ..claim(STRANGER)
    };
    for at in [1, 400, 800] {
        assert_eq!(detection.heard(LAN, claim(PEER), ms(at)), None);
        assert_eq!(detection.heard(LAN, asks, ms(at)), None);
    }
}

#[test]
fn other_addresses_other_interfaces_and_cancelled_vips_do_not_matter() {
    let mut detection = held();
    let other = Claim {
        ip: [192, 0, 2, 81].into(),
        ..claim(STRANGER)
    };
    assert_eq!(detection.heard(LAN, other, ms(1)), None);
    assert_eq!(
        detection.heard(InterfaceIndex(4), claim(STRANGER), ms(1)),
        None
    );
    detection.cancel(VIP);
    assert_eq!(detection.heard(LAN, claim(STRANGER), ms(1)), None);
    assert_eq!(detection.poll_deadline(), None);
}

#[test]
fn frames_claim_what_their_sender_says_it_has() {
    let six = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
    for ip in [IP, six.into()] {
        for frame in Frame::announcements(STRANGER, ip) {
            let expected = Claim {
                ip,
                mac: STRANGER,
                probe: false,
            };
            assert_eq!(Claim::of(&frame), Some(expected));
        }
        let expected = Claim {
            ip,
            mac: STRANGER,
            probe: true,
        };
        assert_eq!(Claim::of(&Frame::probe(STRANGER, ip)), Some(expected));
    }
    let asker = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
    let asks = Claim::of(&Frame::solicitation(STRANGER, asker, six));
    assert_eq!(
        asks,
        Some(Claim {
            ip: asker.into(),
            mac: STRANGER,
            probe: false
        })
    );
}
