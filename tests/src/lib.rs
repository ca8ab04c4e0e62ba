//! Scenarios that need several programs at once; see `tests/`. Here is what they share.

mod load;
mod replication;

pub use load::Load;
pub use replication::{Replication, TIMEOUT, contains};
