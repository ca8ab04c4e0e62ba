//! Layouts of records: `%(asctime)s %(process)s %(levelname)s %(message)s`.

use jiff::Zoned;
use serde::de::{Deserialize, Deserializer, Error};
use tracing::Level;

use super::host;

/// One record, as a layout sees it.
pub(crate) struct Record<'a> {
    pub(crate) time: &'a Zoned,
    pub(crate) process: u32,
    pub(crate) level: Level,
    pub(crate) job: &'a str,
    pub(crate) service: &'a str,
    pub(crate) message: &'a str,
}

/// A parsed `logfmt_…` value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Time,
    Epoch,
    Milliseconds,
    Process,
    LevelName,
    LevelNumber,
    Job,
    Service,
    Host,
    HostAddress,
    Message,
}

/// A parsed `logdatefmt_…` value: a `strftime` pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DateFormat(String);

/// How records look at one place, stderr or the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    pub(crate) format: Option<Format>,
    pub(crate) date: Option<DateFormat>,
    /// The same for records below INFO, where it differs.
    pub(crate) verbose_format: Option<Format>,
    pub(crate) verbose_date: Option<DateFormat>,
}

impl Layout {
    /// The layout of a handler of `skylog.ini`: without a format it is the bare message.
    pub(crate) fn of_handler(
        format: Option<&str>,
        date: Option<&str>,
    ) -> Result<Layout, (&'static str, String)> {
        let format = match format {
            Some(text) => Format::parse(text).map_err(|problem| ("format", problem))?,
            None => Format(vec![Part::Message]),
        };
        let date = match date.filter(|pattern| !pattern.is_empty()) {
            Some(pattern) => {
                Some(DateFormat::parse(pattern).map_err(|error| ("datefmt", error.to_string()))?)
            }
            None => None,
        };
        Ok(Layout {
            format: Some(format),
            date,
            ..Layout::default()
        })
    }

    /// The record with its line end.
    pub(crate) fn line(&self, record: &Record<'_>) -> String {
        let mut line = self.text(record);
        line.push('\n');
        line
    }

    /// The record without a line end.
    pub(crate) fn text(&self, record: &Record<'_>) -> String {
        let verbose = record.level > Level::INFO;
        let format = match &self.verbose_format {
            Some(format) if verbose => Some(format),
            _ => self.format.as_ref(),
        };
        let date = match &self.verbose_date {
            Some(date) if verbose => Some(date),
            _ => self.date.as_ref(),
        };
        let time = match date {
            Some(DateFormat(pattern)) => record.time.strftime(pattern).to_string(),
            None => {
                let seconds = record.time.strftime("%Y-%m-%d %H:%M:%S");
                format!("{seconds},{:03}", record.time.millisecond())
            }
        };
        match format {
            Some(format) => format.fill(record, &time),
            None => {
                let level = level_name(record.level);
                format!("{time} {} {level} {}", record.process, record.message)
            }
        }
    }
}

impl Format {
    fn parse(text: &str) -> Result<Format, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            if let Some(after) = after.strip_prefix('%') {
                parts.push(Part::Text("%".to_owned()));
                rest = after;
                continue;
            }
            let field = after
                .strip_prefix('(')
                .and_then(|text| text.split_once(')'));
            let Some((name, after)) = field else {
                return Err("expected %(field)s after '%'".to_owned());
            };
            // Every field is printed as it is, so that `d`, `f` and `s` mean the same.
            let Some(after) = after.strip_prefix(['s', 'd', 'f']) else {
                return Err(format!("expected 's' after %({name})"));
            };
            parts.push(Part::named(name).ok_or_else(|| format!("unknown field %({name})s"))?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Format(parts))
    }

    fn fill(&self, record: &Record<'_>, time: &str) -> String {
        let mut line = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Time => line.push_str(time),
                Part::Epoch => {
                    let now = record.time.timestamp();
                    line.push_str(&format!("{:.6}", now.as_microsecond() as f64 / 1e6));
                }
                Part::Milliseconds => line.push_str(&record.time.millisecond().to_string()),
                Part::Process => line.push_str(&record.process.to_string()),
                Part::LevelName => line.push_str(level_name(record.level)),
                Part::LevelNumber => line.push_str(level_number(record.level)),
                Part::Job => line.push_str(record.job),
                Part::Service => line.push_str(record.service),
                Part::Host => line.push_str(host::name()),
                Part::HostAddress => line.push_str(host::address()),
                Part::Message => line.push_str(record.message),
            }
        }
        line
    }
}

impl Part {
    fn named(name: &str) -> Option<Part> {
        Some(match name {
            "asctime" => Part::Time,
            "created" => Part::Epoch,
            "msecs" => Part::Milliseconds,
            "process" => Part::Process,
            "levelname" => Part::LevelName,
            "levelno" => Part::LevelNumber,
            "name" | "job_name" => Part::Job,
            "service_name" => Part::Service,
            "hostname" => Part::Host,
            "hostaddr" => Part::HostAddress,
            "message" => Part::Message,
            _ => return None,
        })
    }
}

pub(crate) fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

fn level_number(level: Level) -> &'static str {
    match level {
        Level::ERROR => "40",
        Level::WARN => "30",
        Level::INFO => "20",
        Level::DEBUG => "10",
        Level::TRACE => "5",
    }
}

/// Reads a `logfmt_…` value; empty is the standard layout.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Format>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "" => Ok(None),
        text => Format::parse(text).map(Some).map_err(D::Error::custom),
    }
}

/// Reads a `logdatefmt_…` value; empty is the standard layout.
pub(crate) fn deserialize_date<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<DateFormat>, D::Error> {
    let pattern = String::deserialize(from)?;
    if pattern.is_empty() {
        return Ok(None);
    }
    DateFormat::parse(&pattern)
        .map(Some)
        .map_err(D::Error::custom)
}

impl DateFormat {
    fn parse(pattern: &str) -> Result<DateFormat, jiff::Error> {
        // Whether a pattern is one does not depend on the time.
        jiff::fmt::strtime::format(pattern, &Zoned::now())?;
        Ok(DateFormat(pattern.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Zoned;
    use proptest::prelude::*;
    use tracing::Level;

    use super::{DateFormat, Format, Layout, Record};

    fn line(layout: &Layout, level: Level, message: &str) -> String {
        let time: Zoned = "2012-03-13T10:15:02.037912+02:00[Europe/Tallinn]"
            .parse()
            .expect("a valid time");
        layout.line(&Record {
            time: &time,
            process: 4711,
            level,
            job: "replic",
            service: "londiste",
            message,
        })
    }

    #[test]
    fn a_record_has_the_layout_of_skytools() {
        let layout = Layout::default();
        for (level, message, expected) in [
            (
                Level::INFO,
                "{count: 3, duration: 0.0123}",
                "2012-03-13 10:15:02,037 4711 INFO {count: 3, duration: 0.0123}\n",
            ),
            (
                Level::WARN,
                "Deleted 0 rows, expected 1\n second line",
                "2012-03-13 10:15:02,037 4711 WARNING Deleted 0 rows, expected 1\n second line\n",
            ),
            (Level::TRACE, "", "2012-03-13 10:15:02,037 4711 TRACE \n"),
        ] {
            assert_eq!(line(&layout, level, message), expected);
        }
    }

    #[test]
    fn a_layout_of_the_configuration_replaces_it_also_for_verbose_records_alone() {
        let layout = Layout {
            format: Format::parse(
                "%(asctime)s %(service_name)s/%(name)s[%(process)d] %(levelno)s 100%%: %(message)s",
            )
            .ok(),
            date: Some(DateFormat("%H:%M".to_owned())),
            verbose_format: Format::parse("%(created)s %(msecs)s %(levelname)s").ok(),
            verbose_date: None,
        };
        assert_eq!(
            line(&layout, Level::ERROR, "gone"),
            "10:15 londiste/replic[4711] 40 100%: gone\n"
        );
        assert_eq!(
            line(&layout, Level::DEBUG, "gone"),
            "1331626502.037912 37 DEBUG\n"
        );
    }

    proptest! {
        #[test]
        fn no_layout_panics(format in "(%|\\(|\\)|s|message|asctime|.){0,12}", date in "(%|[a-zA-Z]|.){0,12}") {
            if let Ok(layout) = Layout::of_handler(Some(&format), Some(&date)) {
                line(&layout, Level::INFO, "{count: 1}");
            }
        }
    }

    #[test]
    fn a_format_with_an_unknown_field_is_refused() {
        for (text, problem) in [
            ("%(nonsense)s", "unknown field %(nonsense)s"),
            ("%m", "expected %(field)s after '%'"),
            ("%(message)", "expected 's' after %(message)"),
        ] {
            assert_eq!(Format::parse(text), Err(problem.to_owned()));
        }
    }
}
