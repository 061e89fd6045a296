//! What becomes of a frame.

/// The verdict of a packet path; [`crate::frame::Frame::conclude`] turns it into the hook's own code.
pub enum Verdict {
    /// Not ours, or ready for the stack.
    Pass,
    /// Ready for the stack, but its EtherType was changed since the stack looked at it.
    PassRetyped,
    /// Dropped; the path has counted why.
    Drop,
    /// Sent out of the interface it came from.
    Reflect,
    /// Sent out of this interface, Ethernet header complete.
    Transmit(u32),
}

/// The code a hook returns. Paths that are functions of their own (the kernel's 512 octets of stack force some to be) return
/// it instead of a [`Verdict`], which would not fit a register.
pub type Action = i32;

/// Not a hook's code: the flow is to begin at this node. The caller goes on, so that the stack of this path is free again.
pub const BEGIN: Action = i32::MIN;
/// Not a hook's code: nothing was decided, the next road is to be tried.
pub const GO_ON: Action = i32::MIN + 2;
/// Not a hook's code: the packet is to be rejected for want of an endpoint.
pub const REJECT: Action = i32::MIN + 1;
