use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use super::{Node, Work};
use crate::config::{MasterConfig, SlaveConfig};
use crate::restore::{Wanted, from_slave, tablespaces};
use crate::{Error, restore};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Where a tablespace goes, beside what `tablespace_map` says; once for each
    #[arg(long = "tablespace", value_name = "OID=DIR", value_parser = tablespaces::parse)]
    spaces: Vec<(u32, PathBuf)>,
    /// Also replace what is in `slave_config_dir` already by what is in `config_backup`
    #[arg(long)]
    overwrite_config: bool,
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    match &work.node {
        Node::Slave(config) => {
            let mut config = SlaveConfig::clone(config);
            config.tablespace_map = config.tablespace_map.with(&args.spaces);
            config.overwrite_config = args.overwrite_config;
            restore::run(&config, work.options, &args.wanted, &work.context.stop)
        }
        Node::Master(config) => on_master(work, config, args),
    }
}

/// A set of the slave's, on this host.
fn on_master(work: &Work<'_>, master: &MasterConfig, args: &Args) -> Result<(), Error> {
    let Some(target) = args.wanted.destination() else {
        return Err(Error::Refused(
            "on the master restore needs SET and DST, or --to DST: the set, and the directory that it goes to"
                .to_owned(),
        ));
    };
    let mut config = SlaveConfig::of_master(master, work.job.settings.path(), target)?;
    config.tablespace_map = config.tablespace_map.with(&args.spaces);
    let is_confirmed = work.options.not_really || work.options.yes || is_confirmed(target)?;
    if !is_confirmed {
        return Err(Error::Refused("nothing is restored".to_owned()));
    }
    let stop = &work.context.stop;
    from_slave::run(master, &config, work.options, &args.wanted, stop)
}

/// `xset`: which set a restore on the master takes.
pub(super) fn offer(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    let config = work.slave("xset")?;
    let offer = from_slave::offer(config, &args.wanted, work.options.force)?;
    Ok(skytools::app::output(skytools::app::json(&offer)?)?)
}

/// Asks whether it shall be done; no answer is no.
fn is_confirmed(target: &Path) -> Result<bool, Error> {
    let mut stderr = io::stderr();
    write!(
        stderr,
        "A base backup takes the place of {}, and what is there is moved aside.\nIs its server shut down? (yes/no) ",
        target.display()
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
