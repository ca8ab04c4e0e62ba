use super::Work;
use crate::Error;
use crate::names::{NotAName, Segment};
use crate::sets::{Sets, retention};

#[derive(Debug, clap::Args)]
pub(crate) struct CleanupArgs {
    /// First segment that the server still needs, as `%r`
    #[arg(value_parser = parse_segment)]
    restart: Segment,
}

pub(super) fn parse_segment(text: &str) -> Result<Segment, NotAName> {
    text.parse()
}

/// `xcleanup`: what the server has no need of any more, and no set either.
pub(super) fn cleanup(work: &mut Work<'_>, args: &CleanupArgs) -> Result<(), Error> {
    let config = work.slave("xcleanup")?;
    if args.restart.is_none() {
        return Ok(());
    }
    retention::purge(config, Some(args.restart), work.options.not_really).map(|_| ())
}

/// `xpurgewals`
pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("xpurgewals")?;
    retention::purge(config, None, work.options.not_really).map(|_| ())
}

/// `xrotate`
pub(super) fn rotate(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("xrotate")?;
    let sets = Sets::new(config);
    let gone = sets.expire(config.keep.making_room(), work.options.not_really)?;
    match work.options.not_really {
        true => Ok(skytools::app::output(format!(
            "would delete: {}\n",
            gone.join(", ")
        ))?),
        false => sets.shift(),
    }
}
