//! A node's part in the announcing, put together: [`Election`](crate::election), [`Quorum`](crate::quorum) and the door to
//! the kernel's deadline between them.
//!
//! Two threads run on a node. The election's turns are those of [`ElectionSide`], which tells the quorum through a
//! [`QuorumLink`] and reads its [`View`](crate::quorum::View) as [`QuorumGround`]; the quorum's deadlines pass the
//! [`Door`], which the election shuts. All that is decided between the two is here, free of I/O: the daemon brings
//! threads, queues, the store and the kernel, and the simulation (`tests`) a virtual world.

mod answers;
mod door;
mod ground;
mod link;
mod rights;
mod side;
#[cfg(test)]
mod tests;

pub use self::answers::Answers;
pub use self::door::Door;
pub use self::ground::QuorumGround;
pub use self::link::{QuorumLink, QuorumPort, no_key};
pub use self::rights::Rights;
pub use self::side::{ElectionSide, Input, Notice, Request};
