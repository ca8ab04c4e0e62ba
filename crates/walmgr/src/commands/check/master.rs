use std::time::Instant;

use skytools::db::{Connection, During};

use super::{Args, probe};
use crate::config::MasterConfig;
use crate::report::{Level, Report};
use crate::server::{DataDir, slots};
use crate::slave::Slave;
use crate::{Error, files, ready};

pub(super) fn check(config: &MasterConfig, args: &Args, report: &mut Report) {
    match settings(config, report) {
        Ok(()) => {}
        Err(error) => report.add("server", Level::Failed, skytools::app::chain(&error)),
    }
    report.add_result("waiting", waiting(config, args));
    report.add_result("slots", streams(config));
    report.add_result("free space", free_space(config));
    if let Some(patience) = args.probe() {
        report.add_result("probe", probe::probe(config, patience));
    }
    remote(config, args, report);
}

fn settings(config: &MasterConfig, report: &mut Report) -> Result<(), Error> {
    let mut db = Connection::open("master_db", config.need_db()?)?;
    let row = db
        .query_one(
            "select pg_is_in_recovery(), current_setting('wal_level'), \
                    current_setting('archive_mode'), current_setting('archive_command'), \
                    coalesce(current_setting('archive_library', true), ''), \
                    (select coalesce(string_agg(name, ', '), '') from pg_settings \
                      where pending_restart), \
                    (select last_failed_time > coalesce(last_archived_time, '-infinity') \
                       from pg_stat_archiver), \
                    (select last_failed_wal from pg_stat_archiver), \
                    (select last_archived_wal || ', ' || \
                            greatest(extract(epoch from now() - last_archived_time), 0)::int8 || ' s ago' \
                       from pg_stat_archiver)",
            &[],
        )
        .during("look at the master")?;
    let text = |column: usize| row.get::<_, String>(column);
    let level = |is_well: bool| if is_well { Level::Ok } else { Level::Failed };
    let is_standby: bool = row.get(0);
    let role = if is_standby { "in recovery" } else { "primary" };
    report.add("server", level(!is_standby), role);
    report.add("wal_level", level(text(1) != "minimal"), text(1));
    report.add("archive_mode", level(text(2) != "off"), text(2));
    let command = text(3);
    let own = std::env::current_exe().map(|path| path.display().to_string());
    let is_ours = command.contains("xarchive") && own.is_ok_and(|own| command.contains(&own));
    report.add("archive_command", level(is_ours), command);
    report.add("archive_library", level(text(4).is_empty()), text(4));
    let pending = text(5);
    match pending.is_empty() {
        true => report.add("restart", Level::Ok, "not needed"),
        false => report.add("restart", Level::Warning, format!("needed for {pending}")),
    }
    match row.get::<_, Option<bool>>(6) {
        Some(true) => {
            let name: Option<String> = row.get(7);
            let detail = format!("fails for {}", name.unwrap_or_default());
            report.add("archiving", Level::Failed, detail);
        }
        _ => {
            let last: Option<String> = row.get(8);
            let detail = last.unwrap_or_else(|| "nothing yet".to_owned());
            report.add("archiving", Level::Ok, detail);
        }
    }
    Ok(())
}

/// Room where the server keeps WAL that waits.
fn free_space(config: &MasterConfig) -> Result<(Level, String), Error> {
    let dir = DataDir::new(&config.data, None).wal();
    let free = files::free_bytes(&dir).map_err(|error| Error::io("look at", &dir, error))?;
    // Of the usual size, as no server need run.
    let level = match free / (16 << 20) {
        0..10 => Level::Failed,
        10..100 => Level::Warning,
        _ => Level::Ok,
    };
    Ok((level, format!("{} MB in pg_wal", free >> 20)))
}

fn waiting(config: &MasterConfig, args: &Args) -> Result<(Level, String), Error> {
    let waiting = ready::waiting(&DataDir::new(&config.data, None).wal())?;
    Ok(match waiting.oldest {
        Some((name, age)) if age > args.archive_age() => (
            Level::Failed,
            format!("{} files, {name} for {} s", waiting.count, age.as_secs()),
        ),
        Some(_) => (Level::Ok, format!("{} files", waiting.count)),
        None => (Level::Ok, "nothing".to_owned()),
    })
}

/// Who streams WAL, and for whom it is kept in vain.
fn streams(config: &MasterConfig) -> Result<(Level, String), Error> {
    let found = slots::find(config)?;
    let level = match (
        found.iter().any(|slot| slot.is_lost),
        found.iter().all(|slot| slot.is_active),
    ) {
        (true, _) => Level::Failed,
        (false, true) => Level::Ok,
        (false, false) => Level::Warning,
    };
    Ok((level, slots::describe(found)))
}

/// The slave, and what it finds itself.
fn remote(config: &MasterConfig, args: &Args, report: &mut Report) {
    let begun = Instant::now();
    let found = Slave::new(config).and_then(|slave| slave.findings(&args.for_slave()));
    match found {
        Ok(findings) => {
            let detail = format!("answers in {} ms", begun.elapsed().as_millis());
            report.add("slave", Level::Ok, detail);
            report.extend("slave ", findings);
        }
        Err(error) => report.add("slave", Level::Failed, skytools::app::chain(&error)),
    }
}
