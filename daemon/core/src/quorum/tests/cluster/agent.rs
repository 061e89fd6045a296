//! The election's part, played: keeps a term by the node's own lease, and fences who is over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::store::{Lease, Reply, Request};
use super::{Cluster, Step};
use crate::election::{Moment, Term};
use crate::quorum::*;

#[derive(Clone, Debug, Default)]
pub(super) struct Agent {
    pub(super) leaving: bool,
    pub(super) term: Option<Term>,
    /// The own lease as last read; the outer option says whether it was.
    own: Option<Option<Lease>>,
    own_seen_at: Moment,
    /// This term was given up by this process.
    gave_up: Option<Term>,
    busy_until: Duration,
    renew_at: Duration,
    fencing: BTreeMap<usize, Duration>,
}

impl Cluster {
    pub(super) fn run_agent(&mut self, node: usize) {
        let again = self.rng.millis(60, 100);
        self.push(again, node, Step::Agent);
        self.fence(node);
        let refused = self.nodes[node].view.is_refused();
        let leaving = self.nodes[node].agent.leaving;
        if self.nodes[node].agent.term.is_some() && (refused || leaving) {
            self.end_term(node);
        }
        let (now, local) = (self.now, self.local(node));
        let it = &self.nodes[node];
        if it.agent.busy_until > now || it.left {
            return;
        }
        let Some(own) = it.agent.own else {
            return self.ask(node, Request::Read);
        };
        let silent = it
            .kernel
            .and_then(|(_, until)| until)
            .is_none_or(|until| until <= local);
        let fresh = |term| Lease {
            revision: 0,
            term,
            fenced: false,
            boot: it.boot,
        };
        let lease = match (own, it.agent.term) {
            (Some(own), _) if leaving => Some(Lease {
                fenced: true,
                ..own
            })
            .filter(|_| !own.fenced && silent),
            (None, _) => Some(fresh(Term(1))).filter(|_| !leaving && silent),
            (Some(_), Some(term)) => Some(fresh(term)).filter(|_| now >= it.agent.renew_at),
            (Some(own), None) if own.fenced || it.agent.gave_up >= Some(own.term) => {
                Some(fresh(own.term.next())).filter(|_| silent)
            }
            (Some(own), None) if own.boot == it.boot => Some(fresh(own.term)),
            (Some(own), None) => {
                let duration = self.settings.lease_duration;
                let lease = PeerLease {
                    term: own.term,
                    fenced: false,
                    changed_at: it.agent.own_seen_at,
                    duration,
                };
                if it.view.lapse(&it.name, &lease, local) != Lapse::Over {
                    return self.ask(node, Request::Read);
                }
                Some(fresh(own.term.next()))
            }
        };
        if let Some(lease) = lease {
            let expected = own.map(|own| own.revision);
            self.ask(
                node,
                Request::Lease {
                    of: node,
                    expected,
                    lease,
                    started: local,
                },
            );
        }
    }

    /// Goes on in the term of the copy, where nothing that may have been written since ended it.
    pub(super) fn resume(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let (Some(copy), Some(attempt), true) = (it.copy, it.attempt, it.resumes) else {
            return;
        };
        if copy.term == attempt.term && !copy.fenced && !attempt.fenced {
            it.agent.term = Some(copy.term);
            self.handle(node, Event::Tenure(Some(copy.term)));
        }
    }

    fn ask(&mut self, node: usize, request: Request) {
        if let Request::Lease { of, lease, .. } = &request
            && *of == node
        {
            self.nodes[node].attempt = Some(*lease);
        }
        self.nodes[node].agent.busy_until = self.now + Duration::from_secs(2);
        self.request(node, request);
    }

    fn end_term(&mut self, node: usize) {
        let term = self.nodes[node].agent.term.take();
        let gave_up = &mut self.nodes[node].agent.gave_up;
        *gave_up = (*gave_up).max(term);
        self.handle(node, Event::Tenure(None));
    }

    pub(super) fn take_reply(&mut self, node: usize, reply: Reply) {
        let (now, local) = (self.now, self.local(node));
        let agent = &mut self.nodes[node].agent;
        match reply {
            Reply::Event(event) => return self.handle(node, event),
            Reply::Failed => agent.own = None,
            Reply::Own(own) => self.see_own(node, own),
            Reply::Renewed(lease, started) => {
                agent.own = Some(Some(lease));
                self.nodes[node].copy = Some(lease);
                let agent = &mut self.nodes[node].agent;
                agent.own_seen_at = local;
                agent.renew_at = now + Duration::from_secs(1);
                let begins = agent.term != Some(lease.term)
                    && !lease.fenced
                    && agent.gave_up < Some(lease.term);
                if begins && !agent.leaving {
                    agent.term = Some(lease.term);
                    self.handle(node, Event::Tenure(Some(lease.term)));
                }
                if self.nodes[node].agent.term == Some(lease.term) {
                    self.handle(
                        node,
                        Event::Renewed {
                            term: lease.term,
                            started,
                        },
                    );
                }
            }
        }
        self.nodes[node].agent.busy_until = now;
    }

    fn see_own(&mut self, node: usize, own: Option<Lease>) {
        let local = self.local(node);
        let agent = &mut self.nodes[node].agent;
        let before = agent.own.flatten();
        if before.map(|before| before.revision) != own.map(|own| own.revision)
            || agent.own.is_none()
        {
            agent.own_seen_at = local;
        }
        agent.own = Some(own);
        let ended = own.is_some_and(|own| own.fenced || Some(own.term) != agent.term);
        if agent.term.is_some() && ended {
            self.end_term(node);
        }
    }

    /// The watch tells of the node's own lease too.
    pub(super) fn hear_of_own(&mut self, node: usize) {
        let it = &self.nodes[node];
        let fenced = it
            .seen
            .get(&it.name)
            .is_some_and(|lease| lease.fenced && Some(lease.term) == it.agent.term);
        if fenced {
            self.end_term(node);
            self.nodes[node].agent.own = None;
        }
    }

    /// Takes the view over, and acts on it.
    pub(super) fn look(&mut self, node: usize) {
        let now = self.local(node);
        if let Some(quorum) = &self.nodes[node].quorum {
            self.nodes[node].view = quorum.view(now);
            self.fence(node);
        }
    }

    fn fence(&mut self, node: usize) {
        let now = self.local(node);
        let it = &self.nodes[node];
        let unfenced = it
            .seen
            .iter()
            .filter(|(name, lease)| !lease.fenced && **name != it.name);
        let over = unfenced.filter(|(name, lease)| it.view.lapse(name, lease, now) == Lapse::Over);
        let over: Vec<_> = over
            .map(|(name, lease)| (name.clone(), lease.term))
            .collect();
        // By the lease alone only the compare-and-swap says so.
        let certain = it.view.by_quorum && !it.view.by_lease;
        for (name, term) in over {
            let Some((of, revision)) = self.lease_seen(node, &name) else {
                continue;
            };
            if certain {
                self.check_over(of, term, node);
            }
            let retry = self.nodes[node]
                .agent
                .fencing
                .get(&of)
                .copied()
                .unwrap_or_default();
            if retry <= self.now && self.nodes[node].agent.term.is_some() {
                self.nodes[node]
                    .agent
                    .fencing
                    .insert(of, self.now + Duration::from_secs(1));
                let lease = Lease {
                    revision: 0,
                    term,
                    fenced: true,
                    boot: 0,
                };
                self.request(
                    node,
                    Request::Lease {
                        of,
                        expected: Some(revision),
                        lease,
                        started: now,
                    },
                );
            }
        }
    }
}
