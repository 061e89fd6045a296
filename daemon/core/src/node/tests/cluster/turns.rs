//! The three threads of a process, each as the daemon runs it, and stopped anywhere.

use std::collections::VecDeque;
use std::time::Duration;

use super::machine::Thread;
use super::{Cluster, Step};
use crate::election::{self, Event, Moment};
use crate::node::{Answers, Input, Notice, Request};
use crate::quorum;

impl Cluster {
    pub(super) fn quorum_turn(&mut self, node: usize, event: quorum::Event) {
        let now = self.local(node);
        let stalls = self.weather.stall > 0 && self.rng.chance(self.weather.stall);
        let Some(process) = self.machines[node].process.as_ref() else {
            return;
        };
        let shared = &process.shared;
        if stalls {
            let before = shared.quorum.borrow().view(shared.published_at.get());
            shared.published.borrow_mut().get_or_insert(before);
        }
        let actions = shared.quorum.borrow_mut().handle(event, now);
        let wake = shared.quorum.borrow().poll_deadline();
        if !stalls || actions.contains(&quorum::Action::ViewChanged) {
            shared.published_at.set(now);
            shared.published.take();
        }
        let mut actions: VecDeque<_> = actions.into();
        if let Some(at) = wake {
            let machine = &mut self.machines[node];
            machine.quorum_timer += 1;
            let (timer, delay) = (machine.quorum_timer, machine.clock.true_span(at.since(now)));
            self.push(delay, node, Step::QuorumTick(timer));
        }
        if stalls {
            let done = self.rng.place(actions.len() + 1);
            let rest = actions.split_off(done);
            self.quorum_act(node, actions);
            let span = self.rng.millis(1, 1500);
            self.stop_thread(node, Thread::Quorum, span);
            return self.push(span, node, Step::QuorumAct(rest));
        }
        self.quorum_act(node, actions);
    }

    pub(super) fn quorum_wake(&mut self, node: usize) {
        loop {
            let Some(process) = self.machines[node].process.as_ref() else {
                return;
            };
            if self.machines[node].stopped_until[Thread::Quorum as usize] > self.now {
                return self.push(Duration::ZERO, node, Step::QuorumWake);
            }
            let event = process.shared.to_quorum.borrow_mut().pop_front();
            let Some(event) = event else { return };
            self.quorum_turn(node, event);
        }
    }

    pub(super) fn quorum_act(&mut self, node: usize, actions: VecDeque<quorum::Action>) {
        for action in actions {
            match action {
                quorum::Action::Send { to, message } => self.send(node, &to, message),
                quorum::Action::SetDeadline { term, until } => {
                    self.say(node, || format!("deadline {term:?} {until:?}"));
                    if let Some(process) = &self.machines[node].process {
                        process.shared.push_deadline(term, until);
                    }
                }
                quorum::Action::WriteRecord { expected, record } => {
                    self.notice(node, Notice::WriteRecord { expected, record });
                }
                quorum::Action::Survey { number } => self.notice(node, Notice::Survey(number)),
                quorum::Action::Store { version, durable } => {
                    self.machines[node].writes.push_back((version, durable));
                    let span = self.rng.millis(0, self.weather.slowest_disk_ms);
                    if self.weather.dies_storing > 0 && self.rng.chance(self.weather.dies_storing) {
                        self.push(span / 2, node, Step::Die);
                    }
                    self.push(span, node, Step::Stored);
                }
                quorum::Action::Left => self.notice(node, Notice::Left),
                quorum::Action::ViewChanged => self.notice(node, Notice::ViewChanged),
            }
        }
        // A turn that was stopped is over, and what it came to is published.
        let now = self.local(node);
        if let Some(process) = &self.machines[node].process
            && process.shared.published.take().is_some()
        {
            process.shared.published_at.set(now);
        }
    }

    pub(super) fn stored(&mut self, node: usize) {
        // The first of the writes under way is done; one thread makes them in order.
        if let Some((version, durable)) = self.machines[node].writes.pop_front() {
            self.machines[node].disk = Some(durable);
            self.quorum_turn(node, quorum::Event::Stored { version });
        }
    }

    fn notice(&mut self, node: usize, notice: Notice) {
        self.input(node, Input::Quorum(notice));
    }

    /// Puts something into the inbox of the election's thread.
    pub(super) fn input(&mut self, node: usize, input: Input) {
        self.say(node, || format!("hears {input:?}"));
        if let Some(process) = &mut self.machines[node].process {
            process.inbox.push_back(input);
            self.wake_election(node);
        }
    }

    pub(super) fn wake_election(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Some(process) = &mut machine.process else {
            return;
        };
        if process.woken || process.in_turn {
            return;
        }
        process.woken = true;
        machine.turn_timer += 1;
        let timer = machine.turn_timer;
        let delay = self.rng.millis(0, 1) / 4;
        self.push(delay, node, Step::Turn(timer));
    }

    pub(super) fn turn(&mut self, node: usize) {
        let now = self.local(node);
        let Some(process) = &mut self.machines[node].process else {
            return;
        };
        (process.woken, process.in_turn) = (false, true);
        let mut requests = Vec::new();
        while let Some(input) = process.inbox.pop_front() {
            requests.extend(process.side.take_in(input, now));
        }
        for request in requests {
            match request {
                Request::Submit(write) => self.submit(node, write),
                Request::Look => {
                    let span = self.rng.millis(0, 2);
                    self.push(span, node, Step::Scan { again: false });
                }
            }
        }
        if self.stalls_election(node, 1) {
            return self.push(Duration::ZERO, node, Step::Decide(now));
        }
        self.decide(node, now);
    }

    /// Whether the election's thread is stopped at this point.
    fn stalls_election(&mut self, node: usize, times: u64) -> bool {
        let stalls = self.weather.stall > 0 && self.rng.chance(self.weather.stall * times);
        if stalls {
            let longest = if self.rng.chance(2000) { 6000 } else { 900 };
            let span = self.rng.millis(1, longest);
            self.stop_thread(node, Thread::Election, span);
        }
        stalls
    }

    pub(super) fn decide(&mut self, node: usize, now: Moment) {
        if let Some(process) = &mut self.machines[node].process {
            let dark = process.side.is_dark();
            let actions = process.side.decide(now);
            self.counts.recalled += u64::from(!dark && process.side.is_dark());
            self.act(node, actions.into());
        }
    }

    pub(super) fn act(&mut self, node: usize, mut actions: VecDeque<election::Action>) {
        while let Some(action) = actions.pop_front() {
            if self.stalls_election(node, 1) {
                actions.push_front(action);
                return self.push(Duration::ZERO, node, Step::Act(actions));
            }
            let Some(process) = &mut self.machines[node].process else {
                return;
            };
            process.side.carry_out(&action);
            self.say(node, || format!("{action:?}"));
            if let election::Action::Cas(write) = action {
                self.hand_on(node, write);
            }
        }
        self.end_turn(node);
    }

    fn end_turn(&mut self, node: usize) {
        let now = self.local(node);
        let Some(process) = &mut self.machines[node].process else {
            return;
        };
        process.side.follow(now);
        self.copy_leases(node, now);
        let Some(process) = &mut self.machines[node].process else {
            return;
        };
        process.in_turn = false;
        if process.side.is_over(now) {
            return self.kill(node);
        }
        let told = !process.shared.to_quorum.borrow().is_empty();
        let (ready, answers) = &process.published;
        let waits = !answers.releasing.is_empty() || answers.silencing;
        let changed = (*ready, answers) != (process.side.is_ready(), process.side.answers());
        if changed {
            process.published = (process.side.is_ready(), process.side.answers().clone());
        }
        let wait = process.side.poll_deadline().map(|at| at.since(now));
        let wait = wait
            .unwrap_or(Duration::from_secs(1))
            .min(Duration::from_secs(1));
        let more = !process.inbox.is_empty();
        if told {
            let delay = self.rng.millis(0, 1) / 4;
            self.push(delay, node, Step::QuorumWake);
        }
        // What else is published wakes the announce effect as well.
        if changed || (waits && self.rng.chance(3000)) {
            self.wake_announce(node);
        }
        if more {
            return self.wake_election(node);
        }
        let machine = &mut self.machines[node];
        machine.turn_timer += 1;
        let (timer, delay) = (machine.turn_timer, machine.clock.true_span(wait));
        self.push(delay, node, Step::Turn(timer));
    }

    fn wake_announce(&mut self, node: usize) {
        let Some(process) = &mut self.machines[node].process else {
            return;
        };
        if std::mem::replace(&mut process.announcing, true) {
            process.announce_again = true;
            return;
        }
        let span = self.rng.millis(0, 1) / 4;
        self.push(span, node, Step::Announce);
    }

    /// Takes the latest of what is to be brought about.
    pub(super) fn announce(&mut self, node: usize) {
        let Some(process) = &mut self.machines[node].process else {
            return;
        };
        process.announce_again = false;
        let (ready, answers) = &process.published;
        if !ready && !answers.silencing {
            process.announcing = false;
            return;
        }
        let answers = answers.clone();
        let mut span = self.rng.millis(0, self.weather.slowest_effect_ms);
        if self.weather.stall > 0 && self.rng.chance(self.weather.stall * 5) {
            span += self.rng.millis(1, 3000);
        }
        self.push(span, node, Step::Apply(answers));
    }

    /// Makes the kernel's table equal to it, and confirms.
    pub(super) fn apply(&mut self, node: usize, answers: &Answers) {
        self.say(node, || format!("applies {answers:?}"));
        let held = |(_, vip): &(usize, &election::LeaseName)| answers.held.contains_key(*vip);
        let held = self.vips.iter().enumerate().filter(held);
        self.machines[node].table = held.map(|(place, _)| 1 << place).sum();
        for vip in answers.releasing.iter() {
            self.input(node, Input::Agent(Event::Released(vip.clone())));
        }
        if answers.silencing {
            self.input(node, Input::Agent(Event::Silenced));
        }
        let Some(process) = &mut self.machines[node].process else {
            return;
        };
        process.announcing = false;
        if process.announce_again {
            self.wake_announce(node);
        }
    }
}
