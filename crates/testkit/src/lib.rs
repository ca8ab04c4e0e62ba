//! Throwaway PostgreSQL clusters and program runners for tests.
//!
//! A test starts what it needs and drops it:
//!
//! ```no_run
//! # fn main() -> testkit::TestResult {
//! let cluster = testkit::Cluster::start()?;
//! let mut db = cluster.connect("postgres")?;
//! db.batch_execute("select 1")?;
//! # Ok(())
//! # }
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "waiting for other processes has no signal to end it"
)]

mod cluster;
mod compare;
mod installation;
mod job;
mod mover_site;
mod owner;
mod page;
mod pooler;
mod program;
mod proxy;
mod server;
mod small_disk;
mod sshd;
mod watcher;

use std::time::{Duration, Instant};

pub use cluster::{Cluster, ClusterBuilder, Shutdown};
pub use compare::{Comparison, compare};
pub use job::{Job, log_problems};
pub use mover_site::{MoverSite, create_queue, events_of, tick};
pub use owner::Owner;
pub use page::run_page;
pub use pooler::Pooler;
pub use program::{Output, Program, Running, bin};
pub use proxy::{Proxy, Traffic};
pub use server::{BINDIR_VARIABLE, SUBSCRIBER_BINDIR_VARIABLE, Server, find_server, server_in};
pub use small_disk::SmallDisk;
pub use sshd::Sshd;

/// Error of a test or of its set-up.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What tests return.
pub type TestResult<T = ()> = Result<T, Error>;

/// Waits until `condition` answers `Some`, asking every 20 ms.
///
/// # Errors
/// The condition failed, or `what` did not happen within `timeout`.
pub fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> TestResult<Option<T>>,
) -> TestResult<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() >= timeout {
            return Err(format!("waited {timeout:?} in vain for {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `condition` holds, asking every 20 ms.
///
/// # Errors
/// As [`wait_for`].
pub fn wait_until(
    what: &str,
    timeout: Duration,
    mut condition: impl FnMut() -> TestResult<bool>,
) -> TestResult {
    wait_for(what, timeout, || Ok(condition()?.then_some(())))
}
