//! Spans of time that have a partition each.

use jiff::civil::DateTime;

/// How long a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// From one hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

/// An hour, day, month or year of the calendar, in whatever time zone the reader means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    start: DateTime,
    period: Period,
}

impl Span {
    /// The span of a moment; `None` before the year 1.
    pub fn of(moment: DateTime, period: Period) -> Option<Span> {
        let (year, month, day) = (moment.year(), moment.month(), moment.day());
        let (month, day, hour) = match period {
            Period::Hour => (month, day, moment.hour()),
            Period::Day => (month, day, 0),
            Period::Month => (month, 1, 0),
            Period::Year => (1, 1, 0),
        };
        let start = DateTime::new(year, month, day, hour, 0, 0, 0).ok()?;
        (year > 0).then_some(Span { start, period })
    }

    /// How long it is.
    pub fn period(&self) -> Period {
        self.period
    }

    /// Reads a label as [`Span::label`] writes it, and nothing else.
    pub fn parse(label: &str) -> Option<Span> {
        let mut numbers = [1_i16, 1, 1, 0];
        let mut parts = 0;
        for (place, part) in label.split('_').enumerate() {
            let digits = if place == 0 { 4 } else { 2 };
            let is_number = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
            *numbers.get_mut(place).filter(|_| is_number)? = part.parse().ok()?;
            parts += 1;
        }
        let period = match parts {
            1 => Period::Year,
            2 => Period::Month,
            3 => Period::Day,
            _ => Period::Hour,
        };
        let small = |number: i16| i8::try_from(number).ok();
        let [year, month, day, hour] = numbers;
        let start = DateTime::new(year, small(month)?, small(day)?, small(hour)?, 0, 0, 0).ok()?;
        Span::of(start, period)
    }

    /// The end of the names of its partitions: `2024`, `2024_05`, `2024_05_31` or `2024_05_31_23`.
    pub fn label(&self) -> String {
        let start = self.start;
        let (year, month, day) = (start.year(), start.month(), start.day());
        match self.period {
            Period::Year => format!("{year:04}"),
            Period::Month => format!("{year:04}_{month:02}"),
            Period::Day => format!("{year:04}_{month:02}_{day:02}"),
            Period::Hour => format!("{year:04}_{month:02}_{day:02}_{:02}", start.hour()),
        }
    }

    /// The next one; `None` after the year 9999.
    pub fn next(&self) -> Option<Span> {
        let length = match self.period {
            Period::Hour => jiff::Span::new().hours(1),
            Period::Day => jiff::Span::new().days(1),
            Period::Month => jiff::Span::new().months(1),
            Period::Year => jiff::Span::new().years(1),
        };
        let start = self.start.checked_add(length).ok()?;
        Some(Span {
            start,
            period: self.period,
        })
    }

    /// Its first moment, as the server reads it: `2024-05-31 00:00:00`.
    pub fn start(&self) -> String {
        text(self.start)
    }

    /// The first moment behind it.
    pub fn end(&self) -> String {
        // The last span of all has no other behind it.
        self.next()
            .map_or_else(|| "infinity".to_owned(), |next| next.start())
    }
}

fn text(moment: DateTime) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_label_reads_back_as_its_span() {
        for (label, start, end) in [
            ("2024", "2024-01-01 00:00:00", "2025-01-01 00:00:00"),
            ("2024_12", "2024-12-01 00:00:00", "2025-01-01 00:00:00"),
            ("2024_02_28", "2024-02-28 00:00:00", "2024-02-29 00:00:00"),
            (
                "2023_12_31_23",
                "2023-12-31 23:00:00",
                "2024-01-01 00:00:00",
            ),
            ("0001_01", "0001-01-01 00:00:00", "0001-02-01 00:00:00"),
            ("9999_12_31", "9999-12-31 00:00:00", "infinity"),
        ] {
            let span = Span::parse(label).expect(label);
            assert_eq!(span.label(), label);
            assert_eq!((span.start().as_str(), span.end().as_str()), (start, end));
        }
    }

    #[test]
    fn other_ends_of_names_are_no_labels() {
        for text in [
            "",
            "24",
            "2024_",
            "2024_5",
            "2024_13",
            "2023_02_29",
            "2024_05_31_24",
            "0000_01",
            "2024_05_31_10_00",
            "+024",
            "2024_+5",
            "None",
            "20240531",
            "2024-05",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_as_a_label_is_written_the_same(label in "[0-9]{4}(_[0-9]{2}){0,3}", other in ".*") {
            for label in [label, other] {
                if let Some(span) = Span::parse(&label) {
                    prop_assert_eq!(span.label(), label);
                    if let Some(next) = span.next() {
                        prop_assert_eq!(span.end(), next.start());
                    }
                }
            }
        }
    }
}
