//! Whether the agent lives and whether it is ready, as the kubelet and other watchers ask. Pure.
//!
//! *Live* is an agent whose loops turn; one that does not is mended by a restart, and nothing else is: neither a store nor an
//! API server that is away. *Ready* is one that serves what its sources want; it may become unready again only by something
//! that it does itself, or that befalls its data path. Sources and stores that go away after they were read make no
//! difference, as the agent works on.

use std::fmt::Write as _;
use std::time::Duration;

use landfall_core::election::Membership;
use landfall_core::model::SourceId;
use landfall_core::plan::Plan;

use crate::effect::datapath::DatapathReport;
use crate::effect::lease::LeaseState;

/// How long the reconciler may be at one turn. Planning thousands of services takes a second at most.
const TURN: Duration = Duration::from_secs(15);

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// A word for it.
    pub name: &'static str,
    /// Why it is not well; nothing where it is.
    pub fault: Option<String>,
}

impl Check {
    fn new(name: &'static str, fault: Option<String>) -> Self {
        Self { name, fault }
    }

    fn unless(name: &'static str, well: bool, fault: &str) -> Self {
        Self::new(name, (!well).then(|| fault.to_owned()))
    }
}

/// Whether the loops turn: how long ago the reconciler's last turn was, and whether the election's thread answered when asked.
pub fn live(reconciler: Duration, election: bool) -> Vec<Check> {
    let stuck = (reconciler > TURN).then(|| format!("made no turn for {} s", reconciler.as_secs()));
    vec![
        Check::new("reconciler", stuck),
        Check::unless("election", election, "does not answer"),
    ]
}

/// Whether the agent serves what its sources want.
pub fn ready(
    stopping: bool,
    plan: &Plan,
    leases: &LeaseState,
    datapath: &DatapathReport,
) -> Vec<Check> {
    vec![
        Check::unless("shutdown", !stopping, "the agent is stopping"),
        Check::new("sources", sources(plan)),
        Check::new("leases", store(leases)),
        Check::unless(
            "datapath",
            datapath.programmed,
            "the service table is not in the kernel yet",
        ),
        Check::new("uplinks", uplinks(datapath)),
    ]
}

fn sources(plan: &Plan) -> Option<String> {
    let listed = |sources: &mut dyn Iterator<Item = &SourceId>| {
        let names: Vec<&str> = sources.map(|source| name(*source)).collect();
        names.join(", ")
    };
    if !plan.missing.is_empty() {
        let names = listed(&mut plan.missing.iter());
        return Some(format!("not read yet: {names}"));
    }
    if !plan.recalled.is_empty() {
        let names = listed(&mut plan.recalled.iter());
        return Some(format!(
            "cannot be read, and go by what the node remembers: {names}"
        ));
    }
    (!plan.complete).then(|| format!("not read yet: {}", name(SourceId::Assignments)))
}

fn name(source: SourceId) -> &'static str {
    match source {
        SourceId::Manifests => "manifests",
        SourceId::Kubernetes => "kubernetes",
        SourceId::Links => "interfaces",
        SourceId::Assignments => "assignments",
    }
}

fn store(leases: &LeaseState) -> Option<String> {
    let fault = match leases.membership {
        Membership::Superseded => "a newer agent of this node has taken over",
        Membership::NameTaken => {
            "another machine runs an agent with this node's name; give each node a name of its own"
        }
        Membership::Outside | Membership::Inside(_) if !leases.synced => {
            "the lease store was not read yet"
        }
        Membership::Outside | Membership::Inside(_) => return None,
    };
    Some(fault.to_owned())
}

/// One uplink with programs will do: what is wrong with others is a complaint in the agent's status.
fn uplinks(datapath: &DatapathReport) -> Option<String> {
    if datapath.uplinks.iter().any(|uplink| uplink.hook.is_some()) {
        return None;
    }
    let problems = datapath.uplinks.iter().map(|uplink| {
        let problem = uplink
            .problem
            .as_deref()
            .unwrap_or("nothing is attached yet");
        format!("{}: {problem}", uplink.name)
    });
    let problems: Vec<String> = problems.collect();
    Some(if problems.is_empty() {
        "no interface to attach to is known".to_owned()
    } else {
        problems.join("; ")
    })
}

/// Whether all is well, and the text that says so. Every check is listed where one failed, or where asked for: in the form of
/// Kubernetes' own components.
pub fn tell(question: &str, checks: &[Check], verbose: bool) -> (bool, String) {
    let well = checks.iter().all(|check| check.fault.is_none());
    if well && !verbose {
        return (well, "ok\n".to_owned());
    }
    let mut text = String::new();
    for Check { name, fault } in checks {
        let written = match fault {
            None => writeln!(text, "[+]{name} ok"),
            Some(fault) => writeln!(text, "[-]{name} failed: {}", fault.replace('\n', " ")),
        };
        written.expect("a String takes everything");
    }
    let result = if well { "passed" } else { "failed" };
    writeln!(text, "{question} check {result}").expect("a String takes everything");
    (well, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use landfall_core::election::Term;

    use super::*;
    use crate::effect::datapath::UplinkReport;

    fn uplink(hook: Option<&'static str>, problem: Option<&str>) -> UplinkReport {
        UplinkReport {
            name: "ens3".to_owned(),
            hook,
            up: true,
            problem: problem.map(str::to_owned),
        }
    }

    /// An agent with nothing to be said against.
    fn well() -> (Plan, LeaseState, DatapathReport) {
        let plan = Plan {
            complete: true,
            ..Plan::default()
        };
        let leases = LeaseState {
            synced: true,
            membership: Membership::Inside(Term(1)),
            ..LeaseState::default()
        };
        let datapath = DatapathReport {
            programmed: true,
            uplinks: vec![uplink(Some("tcx"), None)],
            ..DatapathReport::default()
        };
        (plan, leases, datapath)
    }

    fn faults(checks: &[Check]) -> Vec<(&str, &str)> {
        let faults = checks.iter();
        faults
            .filter_map(|check| Some((check.name, check.fault.as_deref()?)))
            .collect()
    }

    #[test]
    fn an_agent_that_serves_is_ready_and_says_ok() {
        let (plan, leases, datapath) = well();
        let checks = ready(false, &plan, &leases, &datapath);
        assert_eq!(tell("readyz", &checks, false), (true, "ok\n".to_owned()));
        let (_, text) = tell("readyz", &checks, true);
        assert!(
            text.starts_with("[+]shutdown ok\n[+]sources ok\n"),
            "{text}"
        );
        assert!(text.ends_with("readyz check passed\n"), "{text}");
    }

    #[test]
    fn an_agent_that_has_just_started_gives_a_line_for_each_reason() {
        let plan = Plan {
            missing: BTreeSet::from([SourceId::Kubernetes, SourceId::Links]),
            ..Plan::default()
        };
        let checks = ready(
            false,
            &plan,
            &LeaseState::default(),
            &DatapathReport::default(),
        );
        let (well, text) = tell("readyz", &checks, false);
        assert!(!well);
        assert_eq!(
            text,
            "[+]shutdown ok\n\
             [-]sources failed: not read yet: kubernetes, interfaces\n\
             [-]leases failed: the lease store was not read yet\n\
             [-]datapath failed: the service table is not in the kernel yet\n\
             [-]uplinks failed: no interface to attach to is known\n\
             readyz check failed\n"
        );
    }

    #[test]
    fn an_agent_that_stops_is_not_ready_whatever_else_is_well() {
        let (plan, leases, datapath) = well();
        let checks = ready(true, &plan, &leases, &datapath);
        assert_eq!(faults(&checks), [("shutdown", "the agent is stopping")]);
    }

    #[test]
    fn an_agent_that_goes_by_its_memory_is_not_ready() {
        let (mut plan, leases, datapath) = well();
        plan.recalled = BTreeSet::from([SourceId::Assignments]);
        let checks = ready(false, &plan, &leases, &datapath);
        let [("sources", fault)] = faults(&checks)[..] else {
            panic!("{checks:?}")
        };
        assert!(fault.ends_with("remembers: assignments"), "{fault}");
    }

    #[test]
    fn a_store_that_goes_away_later_leaves_the_agent_ready() {
        let (plan, mut leases, datapath) = well();
        leases.trouble = Some("the API server does not answer".to_owned());
        assert_eq!(faults(&ready(false, &plan, &leases, &datapath)), []);
    }

    #[test]
    fn a_node_whose_name_another_machine_uses_is_not_ready() {
        let (plan, mut leases, datapath) = well();
        leases.membership = Membership::NameTaken;
        let checks = ready(false, &plan, &leases, &datapath);
        assert!(faults(&checks)[0].1.contains("a name of its own"));
    }

    #[test]
    fn one_uplink_of_several_will_do_and_none_is_told_with_the_reason() {
        let (plan, leases, mut datapath) = well();
        datapath.uplinks.push(uplink(None, Some("refused")));
        assert_eq!(faults(&ready(false, &plan, &leases, &datapath)), []);
        datapath.uplinks.remove(0);
        let checks = ready(false, &plan, &leases, &datapath);
        assert_eq!(faults(&checks), [("uplinks", "ens3: refused")]);
    }

    #[test]
    fn a_loop_that_stands_still_is_not_live() {
        assert_eq!(faults(&live(Duration::from_secs(1), true)), []);
        let checks = live(Duration::from_secs(60), false);
        assert_eq!(
            faults(&checks),
            [
                ("reconciler", "made no turn for 60 s"),
                ("election", "does not answer")
            ]
        );
    }
}
