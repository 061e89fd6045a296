//! One stream of tellings to a peer, and one from it: in order, each once, over a wire that loses frames.
//!
//! Sans-IO. A stream begins with an empty frame of number 0; once that is acknowledged, everything the node keeps follows,
//! and then what changes. Up to [`WINDOW`] frames are under way; what is not acknowledged in time is sent again from the
//! first of them on (go-back-N: the wire is a LAN, frames rarely get lost and never overtake each other for long). A peer
//! that has been silent for [`GIVE_UP`] gets a new beginning, so that nothing piles up for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::codec::{Item, Process, Stream};

/// Frames that may be under way.
pub(super) const WINDOW: usize = 32;
/// After what time an unacknowledged frame is sent again.
pub(super) const RESEND: Duration = Duration::from_millis(30);
/// How often a beginning that nobody acknowledges is sent again.
pub(super) const KNOCK: Duration = Duration::from_millis(500);
/// How often an idle stream says that its teller is there.
pub(super) const IDLE: Duration = Duration::from_secs(1);
/// After what time without an acknowledgement a peer counts as away.
pub(super) const GIVE_UP: Duration = Duration::from_secs(3);

/// The stream to a peer.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: Stream,
    /// The peer's process, once known.
    pub(super) heard: Process,
    /// The number of the first frame that is not acknowledged.
    base: u32,
    /// Frames from `base` on.
    queue: VecDeque<Vec<Item>>,
    /// How many of them were sent since the last time-out.
    sent: usize,
    waiting: VecDeque<Item>,
    last_sent: Option<Instant>,
    /// When something was acknowledged last, or the oldest open frame was first sent.
    progress: Instant,
    greeted: bool,
}

/// A frame that is to be sent: its generation, number and items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The stream.
    pub(super) stream: Stream,
    /// The frame's number.
    pub(super) number: u32,
    /// What it tells.
    pub(super) items: Vec<Item>,
}

impl Outgoing {
    /// A stream of `process` that begins now.
    pub(super) fn new(process: Process, now: Instant) -> Self {
        let mut outgoing = Self {
            stream: Stream {
                process,
                generation: 0,
            },
            heard: Process::default(),
            base: 0,
            queue: VecDeque::new(),
            sent: 0,
            waiting: VecDeque::new(),
            last_sent: None,
            progress: now,
            greeted: false,
        };
        outgoing.begin(now);
        outgoing
    }

    /// Begins anew, under the next generation.
    pub(super) fn begin(&mut self, now: Instant) {
        self.stream.generation += 1;
        self.base = 0;
        self.queue = VecDeque::from([Vec::new()]);
        self.waiting.clear();
        self.sent = 0;
        self.greeted = false;
        self.progress = now;
    }

    /// Begins anew as a later process, since the peer knows of one later than this.
    pub(super) fn outbid(&mut self, process: Process, now: Instant) {
        self.stream.process = process;
        self.begin(now);
    }

    /// Has something told.
    pub(super) fn tell(&mut self, item: Item) {
        if self.greeted {
            self.waiting.push_back(item);
        }
    }

    /// Takes an acknowledgement. True where the beginning was acknowledged just now: everything is to be told.
    pub(super) fn heard(&mut self, stream: Stream, next: u32, now: Instant) -> bool {
        let known = stream == self.stream && next > self.base;
        let Some(count) = known.then(|| (next - self.base) as usize) else {
            return false;
        };
        if count > self.queue.len() {
            return false;
        }
        self.queue.drain(..count);
        self.base = next;
        self.sent = self.sent.saturating_sub(count);
        self.progress = now;
        !std::mem::replace(&mut self.greeted, true)
    }

    /// Frames to be sent now, of at most `room` octets of items each.
    pub(super) fn due(&mut self, room: usize, now: Instant) -> Vec<Due> {
        self.pack(room, now);
        if self.queue.is_empty() {
            return Vec::new();
        }
        if self.greeted && now - self.progress > GIVE_UP {
            self.begin(now);
        }
        let patience = if self.greeted { RESEND } else { KNOCK };
        if self.sent > 0 && self.last_sent.is_some_and(|last| now - last >= patience) {
            self.sent = 0;
        }
        let window = self.queue.len().min(WINDOW);
        let due = (self.sent..window)
            .map(|place| Due {
                stream: self.stream,
                number: self.base + place as u32,
                items: self.queue[place].clone(),
            })
            .collect::<Vec<_>>();
        if !due.is_empty() {
            self.sent = window;
            self.last_sent = Some(now);
        }
        due
    }

    /// When [`due`](Outgoing::due) is to be asked again.
    pub(super) fn next(&self) -> Instant {
        let last = self.last_sent.unwrap_or(self.progress);
        let packable = !self.waiting.is_empty() && self.queue.len() < WINDOW;
        if packable || self.sent < self.queue.len().min(WINDOW) {
            return last;
        }
        last + match (self.queue.is_empty(), self.greeted) {
            (true, _) => IDLE,
            (false, true) => RESEND,
            (false, false) => KNOCK,
        }
    }

    /// Makes frames of what waits, and one that tells nothing of a long silence.
    fn pack(&mut self, room: usize, now: Instant) {
        if self.queue.is_empty() {
            self.progress = now;
        }
        while self.queue.len() < WINDOW && !self.waiting.is_empty() {
            let mut items = Vec::new();
            let mut left = room;
            while let Some(item) = self.waiting.front()
                && (items.is_empty() || item.length() <= left)
            {
                left = left.saturating_sub(item.length());
                items.extend(self.waiting.pop_front());
            }
            self.queue.push_back(items);
        }
        let idle = self.last_sent.is_some_and(|last| now - last >= IDLE);
        if self.queue.is_empty() && idle {
            self.queue.push_back(Vec::new());
        }
    }
}

/// The stream from a peer.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    stream: Stream,
    next: u32,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The first of a new stream: what was told before is out of date.
    Beginning,
    /// The next one.
    Next,
    /// Not to be read: known already, too early, or of an older stream.
    Unread,
}

impl Incoming {
    /// Takes a frame.
    pub(super) fn arrive(&mut self, stream: Stream, number: u32) -> Arrival {
        if stream > self.stream && number == 0 {
            (self.stream, self.next) = (stream, 1);
            return Arrival::Beginning;
        }
        if stream == self.stream && number == self.next {
            self.next += 1;
            return Arrival::Next;
        }
        Arrival::Unread
    }

    /// Listens no more to the present stream: its teller has to begin anew.
    pub(super) fn refuse(&mut self) {
        self.next = u32::MAX;
    }

    /// What to acknowledge.
    pub(super) fn heard(&self) -> (Stream, u32) {
        (self.stream, self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::Fingerprint;
    use super::*;

    fn item(number: u64) -> Item {
        Item::Tables {
            print: Fingerprint(number),
            all: false,
        }
    }

    /// Carries frames and acknowledgements between the two, losing every one whose turn `lost` names, until all has arrived.
    fn carry(
        outgoing: &mut Outgoing,
        incoming: &mut Incoming,
        lost: impl Fn(u32) -> bool,
    ) -> Vec<Item> {
        let mut now = Instant::now();
        let (mut turn, mut arrived, mut told) = (0, Vec::new(), false);
        for _ in 0..4000 {
            now += Duration::from_millis(5);
            for due in outgoing.due(100, now) {
                turn += 1;
                if lost(turn) {
                    continue;
                }
                if incoming.arrive(due.stream, due.number) != Arrival::Unread {
                    arrived.extend(due.items);
                }
                turn += 1;
                if !lost(turn) {
                    let (stream, next) = incoming.heard();
                    if outgoing.heard(stream, next, now) && !told {
                        told = true;
                        (0..3000).for_each(|number| outgoing.tell(item(number)));
                    }
                }
            }
        }
        arrived
    }

    #[test]
    fn everything_arrives_once_and_in_order_whatever_is_lost() {
        for every in [2, 3, 7, 1000] {
            let now = Instant::now();
            let (mut outgoing, mut incoming) =
                (Outgoing::new(Process(1), now), Incoming::default());
            let arrived = carry(&mut outgoing, &mut incoming, |turn| {
                (turn.wrapping_mul(2_654_435_761) >> 7) % every == 0
            });
            let expected: Vec<Item> = (0..3000).map(item).collect();
            assert_eq!(arrived, expected, "every {every}th lost");
        }
    }

    #[test]
    fn an_older_process_is_not_listened_to_again() {
        let mut incoming = Incoming::default();
        let of = |process, generation| Stream {
            process: Process(process),
            generation,
        };
        assert_eq!(incoming.arrive(of(5, 1), 0), Arrival::Beginning);
        assert_eq!(incoming.arrive(of(4, 9), 0), Arrival::Unread);
        assert_eq!(incoming.arrive(of(5, 2), 1), Arrival::Unread);
        assert_eq!(incoming.arrive(of(5, 2), 0), Arrival::Beginning);
        assert_eq!(incoming.arrive(of(5, 2), 0), Arrival::Unread);
        assert_eq!(incoming.arrive(of(5, 2), 1), Arrival::Next);
    }

    #[test]
    fn a_silent_peer_is_knocked_at_and_gets_a_new_beginning() {
        let mut now = Instant::now();
        let mut outgoing = Outgoing::new(Process(1), now);
        let first = outgoing.due(100, now).remove(0);
        assert!(outgoing.heard(first.stream, 1, now));
        outgoing.tell(item(1));
        for _ in 0..400 {
            now += Duration::from_millis(10);
            outgoing.due(100, now);
        }
        assert!(!outgoing.greeted);
        now += KNOCK;
        let again = outgoing.due(100, now);
        assert_eq!((again.len(), again[0].number), (1, 0));
        assert!(again[0].stream > first.stream);
    }
}
