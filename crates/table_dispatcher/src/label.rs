//! From a date in a row to the end of a partition's name.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use pgq::batch::EventTime;
use pgq::mover::partition::Span;
use pgq::mover::row::Reason;

use crate::config::Method;

/// How values become labels.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    pub(crate) method: Method,
    /// Whether only dates are taken for dates.
    pub(crate) strict: bool,
    /// Zone whose days count, where a value says in which zone it is, and the one of values that do not;
    /// `None` where the letters of the value count, whatever its zone.
    pub(crate) zones: Option<(TimeZone, TimeZone)>,
    /// Zone whose days count for the times of events.
    pub(crate) event_zone: TimeZone,
}

impl Labels {
    /// The label of a value: `2024_05_31`, `2024_05` or `2024`.
    ///
    /// # Errors
    /// The value is no date, or one that has no partition.
    pub(crate) fn of(&self, value: &[u8]) -> Result<String, Reason> {
        let text = std::str::from_utf8(value).map_err(|_| no_date(value))?;
        if !self.strict {
            return self.literal(text);
        }
        let (date, rest) = date(text).ok_or_else(|| no_date(value))?;
        let date = match &self.zones {
            None => date,
            Some((zone, session)) => {
                in_zone(date, rest, zone, session).ok_or_else(|| no_date(value))?
            }
        };
        let span = Span::of(DateTime::from(date), self.method.period());
        Ok(span.ok_or_else(|| no_date(value))?.label())
    }

    /// The label of the time of an event.
    ///
    /// # Errors
    /// It is infinite, or before the year 1.
    pub(crate) fn of_time(&self, time: EventTime) -> Result<String, Reason> {
        let no_date = || no_date(time.to_string().as_bytes());
        let moment = time.timestamp().ok_or_else(no_date)?;
        let local = self.event_zone.to_datetime(moment);
        let span = (local.year() > 0).then(|| Span::of(local, self.method.period()));
        Ok(span.flatten().ok_or_else(no_date)?.label())
    }

    /// The first letters of a value, if all that begin so and are as regular have the same label.
    pub(crate) fn significant<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        let (date, rest) = value.split_at_checked(DATE_BYTES)?;
        (self.strict && self.zones.is_none() && is_time(rest)).then_some(date)
    }

    /// Whatever stands before the first blank, in pieces.
    fn literal(&self, text: &str) -> Result<String, Reason> {
        let word = text.split(' ').next().unwrap_or_default();
        let pieces: Vec<&str> = match self.method {
            Method::Daily => word.split('-').collect(),
            Method::Monthly => word.split('-').take(2).collect(),
            Method::Yearly => word.split('-').take(1).collect(),
        };
        match word {
            "" => Err(no_date(text.as_bytes())),
            _ => Ok(pieces.join("_")),
        }
    }
}

/// `2024-05-31`.
const DATE_BYTES: usize = 10;

/// The date that a text begins with, and what stands behind it: nothing, or a time.
fn date(text: &str) -> Option<(Date, &str)> {
    let (date, rest) = text.split_at_checked(DATE_BYTES)?;
    let is_date = date.bytes().enumerate().all(|(place, byte)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    match is_date && is_time(rest.as_bytes()) {
        true => Some((date.parse().ok()?, rest)),
        false => None,
    }
}

/// Whether this may stand behind a date.
fn is_time(rest: &[u8]) -> bool {
    match rest {
        [] => true,
        [b' ' | b'T', b'0'..=b'9', ..] => !rest.ends_with(b"BC"),
        _ => false,
    }
}

/// The date in a zone of a moment that is given with its offset, or in the session's zone.
fn in_zone(date: Date, rest: &str, zone: &TimeZone, session: &TimeZone) -> Option<Date> {
    let offset = rest.rfind(['+', '-', 'Z']);
    let (time, offset) = rest.split_at(offset.unwrap_or(rest.len()));
    let time = match time.len() {
        0 => "00:00",
        _ => &time[1..],
    };
    let moment = match offset {
        "" => {
            let civil: DateTime = format!("{date}T{time}").parse().ok()?;
            session.to_ambiguous_timestamp(civil).compatible().ok()?
        }
        offset => format!("{date}T{time}{offset}").parse().ok()?,
    };
    Some(zone.to_datetime(moment).date())
}

fn no_date(value: &[u8]) -> Reason {
    let shown: String = String::from_utf8_lossy(value).chars().take(40).collect();
    Reason::Other(format!(
        "no partition is for {shown:?}: it has to be a date"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(method: Method, strict: bool) -> Labels {
        Labels {
            method,
            strict,
            zones: None,
            event_zone: TimeZone::UTC,
        }
    }

    #[test]
    fn a_date_is_labelled_by_its_letters() {
        let (daily, monthly) = (labels(Method::Daily, true), labels(Method::Monthly, true));
        for (value, day, month) in [
            ("2024-05-31", "2024_05_31", "2024_05"),
            ("2024-05-31 23:59:59.999999+03", "2024_05_31", "2024_05"),
            ("2024-05-31T10:00", "2024_05_31", "2024_05"),
            ("0001-01-01 00:00:00", "0001_01_01", "0001_01"),
            ("9999-12-31 24:00:00", "9999_12_31", "9999_12"),
        ] {
            assert_eq!(daily.of(value.as_bytes()).unwrap(), day);
            assert_eq!(monthly.of(value.as_bytes()).unwrap(), month);
            let yearly = labels(Method::Yearly, true).of(value.as_bytes());
            assert_eq!(yearly.unwrap(), &day[..4]);
        }
    }

    #[test]
    fn other_text_has_no_partition() {
        let labels = labels(Method::Daily, true);
        for value in [
            "",
            "infinity",
            "-infinity",
            "31/05/2024",
            "31.05.2024",
            "Fri May 31 2024",
            "2024-05",
            "2024-5-31",
            "2024-02-30",
            "0044-03-15 BC",
            "0044-03-15 12:00:00+00 BC",
            "0000-01-01",
            "12024-05-31",
            "2024-05-31x",
            "2024-05-31 ",
            "2024-05-31 noon",
            "2024-05-3\u{e9}",
        ] {
            let error = labels.of(value.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("has to be a date"), "{value}");
        }
        assert!(labels.of(b"2024-05-31\xff").is_err());
    }

    #[test]
    fn without_strictness_any_word_is_a_label() {
        let (daily, monthly) = (labels(Method::Daily, false), labels(Method::Monthly, false));
        for (value, day, month) in [
            ("2024-05-31 10:00", "2024_05_31", "2024_05"),
            ("2024-05-31T10:00", "2024_05_31T10:00", "2024_05"),
            ("EU", "EU", "EU"),
            ("a-b-c-d", "a_b_c_d", "a_b"),
        ] {
            assert_eq!(daily.of(value.as_bytes()).unwrap(), day);
            assert_eq!(monthly.of(value.as_bytes()).unwrap(), month);
        }
        assert!(daily.of(b"").is_err() && daily.of(b" x").is_err());
    }

    #[test]
    fn moments_have_their_day_in_the_zone_of_the_partitions() {
        let zone = |hours| TimeZone::fixed(jiff::tz::offset(hours));
        let labels = Labels {
            zones: Some((zone(2), zone(-5))),
            ..labels(Method::Daily, true)
        };
        for (value, day) in [
            ("2024-05-31 23:00:00+00", "2024_06_01"),
            ("2024-05-31 23:00:00.5+03", "2024_05_31"),
            ("2024-06-01T01:00:00+03:30", "2024_05_31"),
            ("2024-05-31 21:59:59Z", "2024_05_31"),
            ("2024-05-31 17:00:00", "2024_06_01"),
            ("2024-05-31", "2024_05_31"),
        ] {
            assert_eq!(labels.of(value.as_bytes()).unwrap(), day, "{value}");
        }
        assert!(labels.of(b"2024-05-31 25:00:00+00").is_err());
    }

    #[test]
    fn events_have_their_day_in_the_zone_that_is_asked_for() {
        let labels = Labels {
            event_zone: TimeZone::fixed(jiff::tz::offset(9)),
            ..labels(Method::Daily, true)
        };
        let label = |time: &str| labels.of_time(time.parse::<jiff::Timestamp>().unwrap().into());
        assert_eq!(label("2024-05-31T14:59:59.999999Z").unwrap(), "2024_05_31");
        assert_eq!(label("2024-05-31T15:00:00Z").unwrap(), "2024_06_01");
        assert_eq!(label("0000-12-31T15:00:00Z").unwrap(), "0001_01_01");
        let error = label("0000-12-31T14:59:59Z").unwrap_err().to_string();
        assert!(
            error.contains("0001-12-31 14:59:59.000000+00 BC"),
            "{error}"
        );
    }

    #[test]
    fn what_is_significant_of_a_value_decides() {
        let strict = labels(Method::Daily, true);
        assert_eq!(
            strict.significant(b"2024-05-31 10:00"),
            Some(&b"2024-05-31"[..])
        );
        assert_eq!(strict.significant(b"2024-05-31"), Some(&b"2024-05-31"[..]));
        for other in [
            &b"2024-05-31 BC"[..],
            b"2024-05-31 12:00 BC",
            b"2024-05-31 noon",
            b"2024-05-31x",
            b"2024-05",
            b"",
        ] {
            assert_eq!(strict.significant(other), None);
        }
        assert_eq!(
            labels(Method::Daily, false).significant(b"2024-05-31"),
            None
        );
    }

    proptest! {
        #[test]
        fn any_value_has_a_label_or_is_refused(
            bytes: Vec<u8>,
            similar in "[0-2]?[09]{0,3}[-/.]?[01][0-9]-[0-3][0-9][ T]?([0-9]{2}:?){0,3}[.]?[0-9]{0,6}[-+Z]?[0-9:é]{0,6}( BC)?",
        ) {
            let tokyo = TimeZone::fixed(jiff::tz::offset(9));
            for zones in [None, Some((tokyo, TimeZone::UTC))] {
                for method in [Method::Daily, Method::Monthly, Method::Yearly] {
                    let labels = Labels { zones: zones.clone(), ..labels(method, true) };
                    for value in [&bytes[..], similar.as_bytes()] {
                        if let Ok(label) = labels.of(value) {
                            let is_label = |byte: u8| byte.is_ascii_digit() || byte == b'_';
                            prop_assert!(label.bytes().all(is_label), "{}", label);
                        }
                        if let Some(front) = labels.significant(value) {
                            // What it stands for is decided by it alone.
                            let same = match (labels.of(value), labels.of(front)) {
                                (Ok(label), Ok(of_front)) => label == of_front,
                                (label, of_front) => label.is_err() && of_front.is_err(),
                            };
                            prop_assert!(same, "{:?}", value);
                        }
                    }
                }
            }
        }
    }
}
