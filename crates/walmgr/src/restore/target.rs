//! Point-in-time recovery: where replay stops, and what happens then.

use jiff::{SignedDuration, Timestamp};
use postgres::types::PgLsn;

use crate::Error;
use crate::sets::{Set, Sets};

/// Where to stop.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(multiple = false)]
pub(crate) struct Target {
    /// Stop at this time of the master's clock, with its zone: '2026-11-26 06:00:00+00'
    #[arg(long = "target-time", value_name = "TIME")]
    time: Option<Timestamp>,
    /// Stop at this position: 0/3000060
    #[arg(long = "target-lsn", value_name = "LSN", value_parser = parse_lsn)]
    lsn: Option<PgLsn>,
    /// Stop at this transaction
    #[arg(long = "target-xid", value_name = "XID")]
    xid: Option<u64>,
    /// Stop at this restore point
    #[arg(long = "target-name", value_name = "NAME")]
    name: Option<String>,
    /// Stop as soon as the base backup is consistent
    #[arg(long = "target-immediate")]
    immediate: bool,
}

/// The setting of the one target that has no value of its own.
const IMMEDIATE: &str = "recovery_target";

fn parse_lsn(text: &str) -> Result<PgLsn, &'static str> {
    text.parse().map_err(|_| "not a position such as 0/3000060")
}

/// Without names or abbreviations of zones, which the server does not know yet when it reads this.
fn as_the_server_reads_it(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
}

/// What happens at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Action {
    /// Stay readable; boot opens for writes
    Pause,
    /// Open for writes
    Promote,
    /// Stop the server
    Shutdown,
}

impl Action {
    pub(super) fn word(self) -> &'static str {
        match self {
            Action::Pause => "pause",
            Action::Promote => "promote",
            Action::Shutdown => "shutdown",
        }
    }
}

/// How replay is to end.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PointInTime {
    #[command(flatten)]
    target: Target,
    /// Timeline to follow, instead of the newest
    #[arg(long, value_name = "TIMELINE")]
    target_timeline: Option<u32>,
    /// What to do at the target
    #[arg(long, value_name = "ACTION", default_value = "pause")]
    target_action: Action,
    /// Stop right before the target, and not after it
    #[arg(long)]
    exclusive: bool,
    /// Also replay what there is of the segment that was not finished; with a target, or with DST
    #[arg(long)]
    pub(super) use_partial: bool,
}

impl PointInTime {
    /// Without a target.
    pub(super) fn none() -> PointInTime {
        PointInTime {
            target: Target::default(),
            target_timeline: None,
            target_action: Action::Pause,
            exclusive: false,
            use_partial: false,
        }
    }

    /// Whether there is a target; without one the slave follows the master.
    pub(super) fn is_wanted(&self) -> bool {
        self.setting().is_some()
    }

    pub(super) fn action(&self) -> Action {
        self.target_action
    }

    /// The target as a setting of the server.
    fn setting(&self) -> Option<(&'static str, String)> {
        let Target {
            time,
            lsn,
            xid,
            name,
            immediate,
        } = &self.target;
        let target = [
            ("recovery_target_time", time.map(as_the_server_reads_it)),
            ("recovery_target_lsn", lsn.map(|lsn| lsn.to_string())),
            ("recovery_target_xid", xid.map(|xid| xid.to_string())),
            ("recovery_target_name", name.clone()),
            (IMMEDIATE, immediate.then(|| "immediate".to_owned())),
        ];
        target
            .into_iter()
            .find_map(|(name, value)| Some((name, value?)))
    }

    /// The target as an option of this program, for the slave that looks for a set.
    pub(super) fn option(&self) -> Option<String> {
        let (name, value) = self.setting()?;
        Some(match name.strip_prefix("recovery_target_") {
            Some(kind) => format!("--target-{kind}={value}"),
            None => "--target-immediate".to_owned(),
        })
    }

    /// Settings of the server.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings: Vec<_> = self.setting().into_iter().collect();
        let timeline = self.target_timeline;
        settings.push((
            "recovery_target_timeline",
            timeline.map_or("latest".to_owned(), |timeline| timeline.to_string()),
        ));
        settings.push((
            "recovery_target_action",
            self.target_action.word().to_owned(),
        ));
        if self.exclusive {
            settings.push(("recovery_target_inclusive", "off".to_owned()));
        }
        settings
    }

    /// The set to begin with: the named one, or the newest that ended before the target. A server stops at once
    /// at a target that lies before the end of its backup, and nobody would notice.
    ///
    /// # Errors
    /// There is no such set, or the named one ended later.
    pub(super) fn choose(&self, sets: &Sets, word: Option<&str>) -> Result<Set, Error> {
        if let Some(word) = word {
            let set = sets.choose(Some(word))?;
            return match self.is_after(&set) {
                true => Ok(set),
                false => Err(Error::Refused(format!(
                    "the target lies before the end of {}: take an older set",
                    set.name
                ))),
            };
        }
        let found = sets.find()?.sets;
        let list: Vec<String> = found
            .iter()
            .map(|set| {
                let info = set.info.as_ref();
                let end =
                    info.and_then(|info| Some((info.stop_time.as_ref()?, info.stop_lsn.as_ref()?)));
                match end {
                    Some((time, lsn)) => format!("{} until {time}, {lsn}", set.name),
                    None => format!("{} until an unknown time", set.name),
                }
            })
            .collect();
        found
            .into_iter()
            .find(|set| self.is_after(set))
            .ok_or_else(|| {
                Error::Refused(match list.is_empty() {
                    true => "there is no backup".to_owned(),
                    false => format!(
                        "the target lies before the end of every backup: {}",
                        list.join("; ")
                    ),
                })
            })
    }

    /// Whether a set was complete before the target, as far as a target tells. Of a set of an older
    /// installation the end is not known: it has to be named.
    fn is_after(&self, set: &Set) -> bool {
        let info = set.info.as_ref();
        match (self.target.time, self.target.lsn) {
            (Some(time), _) => {
                let end = info.and_then(|info| info.stop_time.as_ref()?.parse::<Timestamp>().ok());
                // It was cut to whole seconds.
                let end = end.and_then(|end| end.checked_add(SignedDuration::from_secs(1)).ok());
                end.is_some_and(|end| time >= end)
            }
            (_, Some(lsn)) => {
                let end = info.and_then(|info| info.stop_lsn.as_ref()?.parse::<PgLsn>().ok());
                end.is_some_and(|end| lsn >= end)
            }
            _ => true,
        }
    }
}
