//! What the harness feeds to a program: a frame, and how it differs from flow to flow. Both sides of the benchmark include
//! this file.

/// Length of the frame in words of eight octets: an Ethernet frame of 64.
pub(crate) const FRAME_WORDS: usize = 8;
/// Slot of the program that is measured.
pub(crate) const SLOT_MEASURED: u32 = 0;
/// Slot of the floor.
pub(crate) const SLOT_FLOOR: u32 = 1;

/// The frame and its flows. All numbers are in the order of the CPU, which the benchmark takes to be little-endian.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// The first flow's frame: IPv4 without options, the client's address ending in two zero octets, as the VIP's, and the
    /// client's port zero.
    pub(crate) frame: [u64; FRAME_WORDS],
    /// The next run's flow, before `mask`.
    pub(crate) next: u32,
    /// Added to `next` after each run. Odd, so that all flows come by before one comes again, and large, so that they come in
    /// no order that memory is laid out in.
    pub(crate) step: u32,
    /// The number of flows less one; a power of two less one.
    pub(crate) mask: u32,
    /// The number of VIPs that flows are spread over, at most 65,536.
    pub(crate) vips: u32,
}

impl Course {
    /// Writes the next flow's frame: the flow's low half is the client's port and chooses the VIP, its high half ends the
    /// client's address. Word by word: a copy of the whole would be a call, and the floor is to be low.
    ///
    /// # Safety
    /// `place` is a frame of [`FRAME_WORDS`] words.
    #[inline(always)]
    pub(crate) unsafe fn write_next(&mut self, place: *mut u64) {
        let flow = u64::from(self.next & self.mask);
        self.next = self.next.wrapping_add(self.step);
        let vip = ((flow & 0xffff) * u64::from(self.vips)) >> 16;
        // Octets 28 and 29 of the frame end the client's address; 32 and 33 end the VIP; 34 and 35 are the client's port.
        let third = self.frame[3] | (flow >> 16) << 32;
        let fourth = self.frame[4] | vip | (flow & 0xffff) << 16;
        // SAFETY: the caller's.
        unsafe {
            place.write(self.frame[0]);
            place.add(1).write(self.frame[1]);
            place.add(2).write(self.frame[2]);
            place.add(3).write(third);
            place.add(4).write(fourth);
            place.add(5).write(self.frame[5]);
            place.add(6).write(self.frame[6]);
            place.add(7).write(self.frame[7]);
            // The VIP again, by itself: a load of it would wait for both words above, which no network card's frame makes it.
            let whole = (third >> 48) as u32 | (fourth << 16) as u32;
            place.byte_add(30).cast::<u32>().write_unaligned(whole);
        }
    }
}
