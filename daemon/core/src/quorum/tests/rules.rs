//! Each rule by itself.

use super::cluster::name_of;
use super::rig::*;
use crate::election::{Revision, Term};
use crate::quorum::message::{Body, Message, Verdict};
use crate::quorum::record::{Epoch, MAX_GRANTERS, granters_of};
use crate::quorum::*;

#[test]
fn a_grant_needs_proof_that_the_asker_hears() {
    let mut rig = Rig::member(3);
    let actions = rig.receive(1, Body::Heartbeat { heard: None });
    let Some((id, granted)) = answer(&actions) else {
        panic!("{actions:?}")
    };
    assert_eq!(
        granted, None,
        "an answer it cannot have heard of proves nothing"
    );
    let actions = rig.receive(1, Body::Heartbeat { heard: Some(id) });
    assert_eq!(
        answer(&actions).and_then(|(_, granted)| granted),
        Some(ms(300))
    );
    rig.pass(ms(200));
    let actions = rig.receive(1, Body::Heartbeat { heard: Some(id) });
    assert_eq!(
        answer(&actions).map(|(_, granted)| granted),
        Some(None),
        "too old"
    );
}

#[test]
fn a_heartbeat_recorded_and_sent_again_is_not_answered() {
    let mut rig = Rig::member(3);
    let heartbeat = rig.message(1, Body::Heartbeat { heard: None });
    assert!(answer(&rig.event(Event::Received(heartbeat.clone()))).is_some());
    assert_eq!(answer(&rig.event(Event::Received(heartbeat))), None);
}

#[test]
fn a_granter_that_has_just_started_neither_grants_nor_calls_anyone_silent() {
    let durable = Durable {
        record: Some(settled(EPOCH, 3)),
        ..Durable::default()
    };
    let mut rig = Rig::new(Some(durable));
    rig.pass(ms(200));
    assert_eq!(rig.contact(1), None);
    assert_eq!(rig.said(), []);
    rig.pass(ms(100));
    assert_eq!(rig.contact(1), Some(ms(300)));
    assert_eq!(rig.said(), [(name_of(2), Verdict::Silent)]);
}

/// Renewals in a row that each took `millis`.
fn renew(rig: &mut Rig, millis: &[u64]) {
    for took in millis {
        rig.pass(ms(1000));
        let started = rig.now;
        rig.pass(ms(*took));
        rig.event(Event::Renewed {
            term: TERM,
            started,
        });
    }
}

#[test]
fn while_the_store_is_slow_less_is_granted_and_no_more_is_promised() {
    for (took, span) in [(50, 300), (125, 300), (200, 225), (2000, 200)] {
        let mut rig = Rig::member(3);
        renew(&mut rig, &[took; 3]);
        assert_eq!(rig.contact(1), Some(ms(span)), "{took}");
        // The promise: what was granted, and the slack.
        rig.pass(ms(span + 19));
        let silent = (name_of(1), Verdict::Silent);
        let says = |rig: &Rig| rig.quorum.verdicts.contains(&silent);
        assert!(!says(&rig), "{took}");
        rig.pass(ms(1));
        assert!(says(&rig), "{took}");
    }
}

#[test]
fn a_shorter_grant_is_good_for_as_long_as_it_says() {
    let mut rig = Rig::member(3);
    let asked = rig.pass(ms(50));
    let to = heartbeat(&asked, 1);
    let body = Body::Answer {
        to,
        granted: Some(ms(225)),
    };
    rig.receive(1, body);
    assert_eq!(rig.deadline(), Some(rig.now + ms(225)));
    assert_eq!(rig.quorum.view(rig.now).granted_for, ms(225));
    rig.be_granted(&[2], EPOCH);
    let view = rig.quorum.view(rig.now);
    assert_eq!(
        (view.deadline(), view.granted_for),
        (Some(rig.now + ms(300)), ms(300))
    );
}

#[test]
fn what_was_promised_while_the_store_was_quick_is_kept() {
    let mut rig = Rig::member(3);
    renew(&mut rig, &[200; 2]);
    let started = rig.now;
    rig.pass(ms(200));
    assert_eq!(rig.contact(1), Some(ms(300)));
    rig.event(Event::Renewed {
        term: TERM,
        started,
    });
    assert_eq!(rig.contact(2), Some(ms(225)));
    let silent = |rig: &Rig, node| {
        let verdict = (name_of(node), Verdict::Silent);
        rig.quorum.verdicts.contains(&verdict)
    };
    rig.pass(ms(245));
    assert!(!silent(&rig, 1) && silent(&rig, 2));
    rig.pass(ms(74));
    assert!(!silent(&rig, 1));
    rig.pass(ms(1));
    assert!(silent(&rig, 1));
}

#[test]
fn a_store_that_was_quick_of_late_or_is_away_shortens_no_grant() {
    let mut rig = Rig::member(3);
    renew(&mut rig, &[200, 10, 200]);
    assert_eq!(rig.contact(1), Some(ms(300)), "one of three was quick");
    renew(&mut rig, &[200, 200]);
    assert_eq!(rig.contact(1), Some(ms(225)));
    rig.pass(ms(3000));
    assert_eq!(rig.contact(1), Some(ms(300)), "nobody can be fenced");
}

#[test]
fn nobody_is_granted_whom_the_record_does_not_name() {
    let mut rig = Rig::member(3);
    assert_eq!(rig.contact(3), None);
    assert_eq!(rig.contact(2), Some(ms(300)));
}

#[test]
fn the_deadline_is_what_a_majority_supports_counted_from_the_question() {
    let mut rig = Rig::member(5);
    rig.be_granted(&[1], EPOCH);
    let first = rig.now;
    assert_eq!(rig.deadline(), None, "two of five");
    let actions = rig.be_granted(&[2], EPOCH);
    let second = rig.now;
    let until = Some(first + ms(300));
    assert_eq!(
        rig.deadline(),
        until,
        "three, but no longer than the first of them"
    );
    assert!(actions.contains(&Action::SetDeadline { term: TERM, until }));
    rig.be_granted(&[3], EPOCH);
    assert_eq!(rig.deadline(), Some(second + ms(300)));
    rig.pass(ms(250));
    assert_eq!(rig.deadline(), None);
}

#[test]
fn an_answer_counts_once_it_is_of_the_epoch_and_for_the_term_it_was_asked_in() {
    let mut rig = Rig::member(3);
    rig.be_granted(&[1, 2], Epoch(6));
    assert_eq!(rig.deadline(), None);
    let asked = rig.pass(ms(50));
    rig.event(Event::Tenure(Some(TERM.next())));
    rig.event(Event::Tenure(Some(TERM)));
    let to = heartbeat(&asked, 1);
    rig.receive(
        1,
        Body::Answer {
            to,
            granted: Some(ms(300)),
        },
    );
    assert_eq!(rig.deadline(), None);
    rig.be_granted(&[1], EPOCH);
    assert!(rig.deadline().is_some());
}

#[test]
fn a_silent_member_is_refused_once_a_majority_calls_it_silent_and_that_is_said_once_on_disk() {
    let mut rig = Rig::member(3);
    rig.contact(1);
    rig.contact(2);
    rig.pass(ms(319));
    assert_eq!(
        rig.said(),
        [(name_of(1), Verdict::Silent), (name_of(2), Verdict::Silent)]
    );
    rig.contact(2);
    let silent = vec![(name_of(1), Verdict::Silent)];
    let actions = rig.hear_verdicts(2, silent);
    let refused = stored(&actions).map(|durable| durable.refused);
    assert_eq!(refused, Some([(name_of(1), TERM)].into()));
    let refusal = (name_of(1), Verdict::Refused(TERM));
    assert!(!rig.said().contains(&refusal), "not on disk");
    assert_eq!(rig.contact(1), None, "but never granted again");
    rig.on_disk();
    assert!(rig.said().contains(&refusal));
    let message = Message {
        term: Some(TERM.next()),
        ..rig.message(1, Body::Heartbeat { heard: None })
    };
    let actions = rig.event(Event::Received(message));
    let Some((id, _)) = answer(&actions) else {
        panic!("{actions:?}")
    };
    let body = Body::Heartbeat { heard: Some(id) };
    let message = Message {
        term: Some(TERM.next()),
        ..rig.message(1, body)
    };
    let actions = rig.event(Event::Received(message));
    assert_eq!(
        answer(&actions).and_then(|(_, granted)| granted),
        Some(ms(300)),
        "the next term is"
    );
}

#[test]
fn a_term_is_over_when_a_majority_refuses_it_and_only_who_has_a_right_may_say_so() {
    let mut rig = Rig::member(5);
    let refused = |term| vec![(name_of(1), Verdict::Refused(term))];
    for granter in [2, 3, 4] {
        rig.hear_verdicts(granter, refused(TERM));
    }
    assert_eq!(rig.lapse(1), Lapse::Unknown, "no right of its own");
    rig.be_granted(&[2, 3], EPOCH);
    assert_eq!(rig.lapse(1), Lapse::Over);
    assert_eq!(rig.lapse(2), Lapse::Unknown);
}

#[test]
fn a_refusal_of_an_earlier_term_says_nothing_of_this_one() {
    let mut rig = Rig::member(3);
    rig.be_granted(&[1, 2], EPOCH);
    for granter in [1, 2] {
        rig.hear_verdicts(granter, vec![(name_of(1), Verdict::Refused(Term(2)))]);
    }
    assert_eq!(rig.lapse(1), Lapse::Unknown);
}

#[test]
fn a_term_that_one_refuses_is_given_up_where_that_one_is_missed() {
    let mut rig = Rig::member(5);
    rig.be_granted(&[1, 2], EPOCH);
    rig.hear_verdicts(4, vec![(name_of(0), Verdict::Refused(TERM))]);
    for _ in 0..40 {
        rig.be_granted(&[1, 2], EPOCH);
    }
    assert!(!rig.quorum.view(rig.now).is_refused(), "three others grant");
    // Two die; with the one that refuses there would be a majority.
    for _ in 0..6 {
        rig.be_granted(&[1], EPOCH);
    }
    assert_eq!(rig.deadline(), None);
    assert!(!rig.quorum.view(rig.now).is_refused(), "they may be late");
    for _ in 0..7 {
        rig.be_granted(&[1], EPOCH);
    }
    assert!(rig.quorum.view(rig.now).is_refused());
}

#[test]
fn a_peer_that_missed_three_heartbeats_is_not_fresh_though_it_has_not_lapsed() {
    let mut rig = Rig::member(3);
    rig.be_granted(&[1, 2], EPOCH);
    let fresh = |rig: &Rig, node| rig.quorum.view(rig.now).is_fresh(&name_of(node), rig.now);
    assert!(fresh(&rig, 1) && fresh(&rig, 2));
    rig.pass(ms(100));
    rig.be_granted(&[2], EPOCH);
    rig.pass(ms(50));
    assert!(!fresh(&rig, 1) && fresh(&rig, 2) && fresh(&rig, 0));
    assert_eq!(rig.quorum.view(rig.now).peers[&name_of(1)].lapsed, None);
}

#[test]
fn two_members_stand_on_their_leases() {
    let mut rig = Rig::member(2);
    assert_eq!(rig.deadline(), None);
    let started = rig.now;
    rig.event(Event::Renewed {
        term: TERM,
        started,
    });
    assert_eq!(rig.deadline(), Some(started + ms(2850)));
    assert_eq!(rig.lapse(1), Lapse::At(rig.now + ms(3000)));
    rig.event(Event::Tenure(None));
    assert_eq!(rig.deadline(), None);
}

#[test]
fn a_new_term_has_no_right_before_the_record_was_read_within_it() {
    let mut rig = Rig::member(3);
    let actions = rig.event(Event::Tenure(Some(TERM.next())));
    let Some(number) = survey(&actions) else {
        panic!("{actions:?}")
    };
    rig.be_granted(&[1, 2], EPOCH);
    assert_eq!(rig.deadline(), None);
    let (revision, record) = (Some(Revision(1)), Some(settled(EPOCH, 3)));
    rig.event(Event::Surveyed {
        number,
        revision,
        record,
        leases: Leases::new(),
    });
    rig.on_disk();
    rig.be_granted(&[1, 2], EPOCH);
    assert!(rig.deadline().is_some());
}

#[test]
fn the_first_node_founds_the_record_and_another_joins_it() {
    let mut rig = Rig::new(None);
    rig.event(Event::Tenure(Some(TERM)));
    let actions = rig.event(Event::Record {
        revision: None,
        record: None,
    });
    assert_eq!(written(&actions), Some((None, settled(Epoch(1), 1))));
    let mut rig = Rig::new(None);
    rig.event(Event::Tenure(Some(TERM)));
    let mut there = settled(EPOCH, 4);
    there.members.remove(&name_of(0));
    let previous = Some(there.members.clone());
    let actions = rig.see(5, there);
    let joint = MemberRecord {
        previous,
        ..settled(EPOCH.next(), 4)
    };
    assert_eq!(written(&actions), Some((Some(Revision(5)), joint)));
}

#[test]
fn a_joint_record_is_adopted_without_a_gap_and_settled_once_all_have_adopted_it() {
    let mut rig = Rig::member(3);
    rig.be_granted(&[1, 2], EPOCH);
    let actions = rig.see(9, joint(EPOCH.next(), 3, 4));
    assert_eq!(
        stored(&actions).and_then(|durable| durable.record),
        Some(joint(EPOCH.next(), 3, 4))
    );
    assert!(rig.deadline().is_some(), "three of four grant too");
    rig.on_disk();
    assert_eq!(rig.quorum.view(rig.now).epoch, Some(EPOCH.next()));
    for node in [1, 2, 3] {
        assert_eq!(
            written(&rig.pass(ms(1000))),
            None,
            "{node} has not adopted it"
        );
        let message = Message {
            epoch: EPOCH.next(),
            ..rig.message(node, Body::News)
        };
        rig.event(Event::Received(message));
    }
    // Others are let go first, by rank.
    let settles = (0..10).find_map(|_| written(&rig.pass(ms(100))));
    assert_eq!(settles, Some((Some(Revision(9)), settled(Epoch(9), 4))));
}

#[test]
fn a_joint_record_does_not_wait_for_a_node_whose_lease_a_fresh_reading_finds_fenced() {
    let mut rig = Rig::member(3);
    rig.be_granted(&[1, 2], EPOCH);
    let record = joint(EPOCH.next(), 3, 4);
    rig.see(9, record.clone());
    rig.on_disk();
    for node in [1, 2] {
        let message = Message {
            epoch: EPOCH.next(),
            ..rig.message(node, Body::News)
        };
        rig.event(Event::Received(message));
    }
    let leases = |fenced| {
        (0..4)
            .map(|node| (name_of(node), lease(fenced && node == 3)))
            .collect()
    };
    rig.event(Event::Leases(leases(true)));
    let asked = survey(&rig.pass(ms(50))).or_else(|| survey(&rig.pass(ms(1000))));
    assert!(
        (0..10).all(|_| written(&rig.pass(ms(20))).is_none()),
        "the watch may be late"
    );
    let Some(number) = asked else {
        panic!("no reading was asked for")
    };
    let revision = Some(Revision(9));
    rig.event(Event::Surveyed {
        number,
        revision,
        record: Some(record),
        leases: leases(true),
    });
    let settles = (0..10).find_map(|_| written(&rig.pass(ms(100))));
    assert_eq!(settles, Some((revision, settled(Epoch(9), 4))));
}

#[test]
fn a_member_whose_lease_stays_fenced_is_taken_out() {
    let mut rig = Rig::member(3);
    rig.see(9, settled(EPOCH, 3));
    rig.event(Event::Leases(
        (0..3)
            .map(|node| (name_of(node), lease(node == 2)))
            .collect(),
    ));
    rig.be_granted(&[1], EPOCH);
    assert_eq!(written(&rig.pass(ms(50))), None);
    rig.pass(ms(60_000));
    let written = (0..20).find_map(|_| written(&rig.be_granted(&[1], EPOCH)));
    let taken_out = joint(EPOCH.next(), 3, 2);
    assert_eq!(written, Some((Some(Revision(9)), taken_out)));
}

#[test]
fn a_node_that_exchanges_no_heartbeats_with_a_peer_goes_by_the_granters() {
    let names: Vec<_> = (0..9).map(name_of).collect();
    let granters = granters_of(&names.iter().cloned().collect());
    let others: Vec<usize> = (0..9)
        .filter(|node| !granters.contains(&names[*node]))
        .collect();
    let [me, peer] = others[..] else {
        panic!("{others:?}")
    };
    let durable = Durable {
        record: Some(settled(EPOCH, 9)),
        ..Durable::default()
    };
    let mut rig = Rig::named(me, Some(durable));
    for node in (0..9).filter(|node| granters.contains(&names[*node])) {
        rig.receive(node, Body::News);
    }
    let now = rig.now;
    assert!(
        rig.quorum
            .view(now)
            .is_live(&names[peer], &lease(false), now)
    );
    let silent: Vec<_> = vec![(names[peer].clone(), Verdict::Silent)];
    for node in (0..9)
        .filter(|node| granters.contains(&names[*node]))
        .take(4)
    {
        rig.hear_verdicts(node, silent.clone());
    }
    assert!(
        !rig.quorum
            .view(now)
            .is_live(&names[peer], &lease(false), now)
    );
}

#[test]
fn a_term_is_given_up_where_a_rule_is_dropped_that_gave_no_right() {
    let durable = Durable {
        record: Some(joint(EPOCH, 3, 4)),
        verified: Some(TERM),
        ..Durable::default()
    };
    let mut rig = Rig::new(Some(durable));
    rig.event(Event::Tenure(Some(TERM)));
    rig.see(9, settled(EPOCH.next(), 4));
    let actions = rig.pass(ms(1000));
    let refused = stored(&actions).map(|durable| durable.refused);
    assert_eq!(refused, Some([(name_of(0), TERM)].into()));
    assert!(rig.quorum.view(rig.now).is_refused());
    rig.on_disk();
    rig.be_granted(&[1, 2, 3], EPOCH.next());
    assert_eq!(rig.deadline(), None);
}

#[test]
fn a_node_that_leaves_takes_itself_out_and_is_told_when_that_is_settled() {
    let mut rig = Rig::member(2);
    rig.see(9, settled(EPOCH, 2));
    rig.event(Event::Tenure(None));
    let actions = rig.event(Event::Leave);
    let Some((_, record)) = written(&actions) else {
        panic!("{actions:?}")
    };
    assert_eq!(record.members, [name_of(1)].into());
    assert_eq!(record.previous, Some(settled(EPOCH, 2).members));
    let after = MemberRecord {
        epoch: record.epoch.next(),
        previous: None,
        ..record
    };
    rig.event(Event::Written(Revision(10)));
    rig.pass(ms(1000));
    rig.on_disk();
    rig.see(11, after);
    rig.pass(ms(1000));
    assert!(rig.on_disk().contains(&Action::Left));
}

#[test]
fn whoever_is_behind_is_sent_the_record() {
    let mut rig = Rig::member(3);
    let message = Message {
        epoch: Epoch(6),
        ..rig.message(1, Body::Heartbeat { heard: None })
    };
    let actions = rig.event(Event::Received(message));
    let sent = messages(&actions)
        .next()
        .and_then(|message| message.record.clone());
    assert_eq!(sent, Some(settled(EPOCH, 3)));
}

#[test]
fn of_more_than_seven_members_seven_grant() {
    let record = settled(EPOCH, 9);
    let granters = granters_of(&record.members);
    assert_eq!(granters.len(), MAX_GRANTERS);
    let grants = Rig::member(9).contact(1).is_some();
    assert_eq!(grants, granters.contains(&name_of(0)));
}

#[test]
fn settings_that_let_two_clocks_drift_apart_are_refused() {
    let settings = Settings::default();
    assert_eq!(settings.validate(), Ok(()));
    let tight = Settings {
        slack: ms(6),
        ..settings
    };
    assert!(matches!(
        tight.validate(),
        Err(SettingsError::SlackTooSmall { .. })
    ));
    let slow = Settings {
        heartbeat: ms(101),
        ..settings
    };
    assert!(matches!(
        slow.validate(),
        Err(SettingsError::HeartbeatOutOfRange { .. })
    ));
    let late = Settings {
        lease_margin: ms(60),
        ..settings
    };
    assert!(matches!(
        late.validate(),
        Err(SettingsError::MarginOutOfRange { .. })
    ));
}
