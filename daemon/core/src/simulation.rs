//! What the simulations of the election, of the quorum and of whole nodes share.

mod chance;
mod clock;
pub(crate) mod figures;
mod weather;

pub(crate) use self::chance::Rng;
pub(crate) use self::clock::Clock;
pub(crate) use self::weather::{FAIR, FOUL, Weather};
