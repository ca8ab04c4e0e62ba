use pgq::QueueName;
use pgq::admin::{OtherSettings, QueueInfo};
use serde::Serialize;
use skytools::app::{output, output_json};
use skytools::db::Connection;
use skytools::quote;
use tracing::info;

use crate::Error;

/// Show or change the settings of queues
///
/// Settings: ticker_max_count, ticker_max_lag, ticker_idle_period, rotation_period, ticker_paused,
/// external_ticker, disable_insert, per_tx_limit, notify, max_retries. Times are seconds or PostgreSQL intervals: 5, '2 hours'.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Queue to show or change, or '*' for all; all are shown without
    queue: Option<QueueName>,
    /// Settings to change, all or none
    #[arg(value_name = "VAR=VAL")]
    pub(crate) changes: Vec<String>,
}

/// What can be changed, as the server names it.
static SETTINGS: [&str; 10] = [
    "ticker_max_lag",
    "ticker_max_count",
    "ticker_idle_period",
    "rotation_period",
    "ticker_paused",
    "external_ticker",
    "disable_insert",
    "per_tx_limit",
    "notify",
    "max_retries",
];

/// A change of one setting.
struct Change<'a> {
    name: &'static str,
    value: &'a str,
}

impl Change<'_> {
    fn parse(text: &str) -> Result<Change<'_>, Error> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Error::NotAChange(text.to_owned()))?;
        let (name, value) = (name.trim(), value.trim());
        let bare = name.strip_prefix("queue_").unwrap_or(name);
        let known = SETTINGS.into_iter().find(|known| *known == bare);
        let name = known.ok_or_else(|| Error::UnknownSetting {
            name: name.to_owned(),
            known: &SETTINGS,
        })?;
        Ok(Change { name, value })
    }
}

impl std::fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "queue_{}={}", self.name, quote::literal(self.value))
    }
}

pub(crate) fn change(db: &mut Connection, args: &Args) -> Result<(), Error> {
    let queue = args.queue.as_ref().ok_or(Error::NeedQueue)?;
    let changes = args.changes.iter().map(|text| Change::parse(text));
    let changes: Vec<Change<'_>> = changes.collect::<Result<_, _>>()?;
    let mut tx = db.begin()?;
    let shown: Vec<String> = changes.iter().map(Change::to_string).collect();
    let shown = shown.join(", ");
    for super::QueueInfo { queue, .. } in super::queues(&mut *tx, queue)? {
        info!("Change queue {queue} config to: {shown}");
        for Change { name, value } in &changes {
            pgq::admin::set_queue_config(&mut *tx, &queue, name, Some(value))?;
        }
    }
    Ok(tx.commit()?)
}

/// The settings of a queue, as the JSON shows them.
#[derive(Serialize)]
struct Settings<'a> {
    queue: &'a QueueName,
    ticker_max_lag_seconds: f64,
    ticker_max_count: i32,
    ticker_idle_period_seconds: f64,
    rotation_period_seconds: Option<f64>,
    ticker_paused: bool,
    external_ticker: bool,
    #[serde(flatten)]
    others: OtherSettings,
}

impl<'a> Settings<'a> {
    fn of(info: &'a QueueInfo, others: OtherSettings) -> Settings<'a> {
        Settings {
            queue: &info.queue,
            ticker_max_lag_seconds: info.ticker_max_lag_seconds,
            ticker_max_count: info.ticker_max_count,
            ticker_idle_period_seconds: info.ticker_idle_period_seconds,
            rotation_period_seconds: info.rotation_period_seconds,
            ticker_paused: info.ticker_paused,
            external_ticker: info.external_ticker,
            others,
        }
    }

    /// Names and values for the text; those that most queues leave as they are only where they are not.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let period = self
            .rotation_period_seconds
            .map_or_else(|| "NULL".to_owned(), |seconds| seconds.to_string());
        let flag = |value: bool| value.then(|| "true".to_owned());
        let number = |value: Option<i32>| value.map(|value| value.to_string());
        let unusual = [
            ("ticker_paused", flag(self.ticker_paused)),
            ("external_ticker", flag(self.external_ticker)),
            ("disable_insert", flag(self.others.disable_insert)),
            ("per_tx_limit", number(self.others.per_tx_limit)),
            ("notify", flag(self.others.notify)),
            ("max_retries", number(self.others.max_retries)),
        ];
        let usual = [
            ("ticker_max_lag", self.ticker_max_lag_seconds.to_string()),
            ("ticker_max_count", self.ticker_max_count.to_string()),
            (
                "ticker_idle_period",
                self.ticker_idle_period_seconds.to_string(),
            ),
            ("rotation_period", period),
        ];
        let unusual = unusual
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        usual.into_iter().chain(unusual).collect()
    }
}

pub(crate) fn show(db: &mut Connection, args: &Args, json: bool) -> Result<(), Error> {
    let queues = match &args.queue {
        Some(queue) => super::queues(&mut **db, queue)?,
        None => pgq::admin::queue_info(&mut **db, None)?,
    };
    let mut settings = Vec::with_capacity(queues.len());
    for queue in &queues {
        let others = pgq::admin::other_settings(&mut **db, &queue.queue)?;
        settings.push(Settings::of(queue, others));
    }
    if json {
        return Ok(output_json(&settings)?);
    }
    let mut text = String::new();
    for queue in &settings {
        text.push_str(&format!("{}\n", queue.queue));
        for (name, value) in queue.lines() {
            text.push_str(&format!("    {name}\t={value:>7}\n"));
        }
    }
    Ok(output(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_known_with_and_without_their_prefix() {
        for text in ["ticker_max_lag=3", "queue_ticker_max_lag = 3"] {
            let change = Change::parse(text).unwrap();
            assert_eq!(change.to_string(), "queue_ticker_max_lag='3'");
        }
    }

    #[test]
    fn a_value_may_hold_an_equals_sign_and_quotes() {
        let change = Change::parse("rotation_period=a='b'").unwrap();
        assert_eq!(change.to_string(), "queue_rotation_period='a=''b'''");
    }
}
