//! The example of the program's page, as it is typed there.

use testkit::{Cluster, TestResult, run_page};

#[test]
fn the_example_of_the_page_works_as_shown() -> TestResult {
    if !run_page(
        include_str!("../../../../docs/cube_dispatcher.md"),
        &Cluster::start()?,
    )? {
        eprintln!("skipped: the server came without psql");
    }
    Ok(())
}
