use tracing::info;

use super::Work;
use crate::Error;
use crate::lock::BackupLock;
use crate::sets::{Sets, retention};

pub(super) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let config = work.slave("expire")?;
    let dry_run = work.options.not_really;
    let _lock = match dry_run {
        true => None,
        false => Some(BackupLock::need(
            &config.completed_wals,
            "expire",
            work.options.force,
        )?),
    };
    let gone = Sets::new(config).expire(config.keep, dry_run)?;
    let verb = if dry_run { "would delete" } else { "deleted" };
    let mut text: String = gone.iter().map(|name| format!("{verb} {name}\n")).collect();
    let files = retention::purge(config, None, dry_run)?;
    if files > 0 {
        text.push_str(&format!("{verb} {files} files of WAL\n"));
    }
    if text.is_empty() {
        info!("nothing to expire");
    }
    Ok(skytools::app::output(text)?)
}
