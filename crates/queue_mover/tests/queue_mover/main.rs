//! The program on real databases.

mod crash;
mod moving;
mod page;
mod usage;

use testkit::{MoverSite, TestResult, create_queue};

/// A site for jobs that move the queue `from` into the queue `to`.
fn site() -> TestResult<MoverSite> {
    site_with_encoding("UTF8")
}

fn site_with_encoding(source: &str) -> TestResult<MoverSite> {
    let site = MoverSite::with_encoding("queue_mover", "dst_queue_name = to", source)?;
    create_queue(&mut site.db("dst")?, "to")?;
    Ok(site)
}
