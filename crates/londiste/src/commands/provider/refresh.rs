use super::super::Outcome;
use super::super::setup::Setup;
use super::each_registered;
use crate::Error;

/// Bring the capture of tables up to date
///
/// To be used after columns or the key have changed, and to exchange triggers of older versions.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Registered tables: `name`, `schema.name`, or a pattern with `*` and `?`
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
}

pub(super) fn run(setup: &mut Setup<'_>, args: &Args) -> Result<Outcome, Error> {
    each_registered(
        setup,
        &args.tables,
        "Refreshing",
        "refresh the capture",
        "select londiste.provider_refresh_trigger($1, $2)",
    )
}
