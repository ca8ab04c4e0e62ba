//! Counters of one pass, logged as `{count: 12, duration: 0.0345}`.

/// Named values in the order they were first put.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    entries: Vec<(String, Value)>,
}

/// A statistics value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Printed plain.
    Int(i64),
    /// Printed with one to four decimals.
    Float(f64),
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl Stats {
    /// Sets a value, replacing the old one.
    pub fn put(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }

    /// Adds to a counter, from zero if it is new.
    pub fn increase(&mut self, key: &str, by: i64) {
        match self.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, Value::Int(old))) => *old = old.saturating_add(by),
            Some((_, Value::Float(old))) => {
                *old += by as f64;
            }
            None => self.entries.push((key.to_owned(), Value::Int(by))),
        }
    }

    /// Adds all values of another collection.
    pub(crate) fn add(&mut self, more: &Stats) {
        for (key, value) in &more.entries {
            match (self.get(key), *value) {
                (_, Value::Int(by)) => self.increase(key, by),
                (Some(Value::Int(old)), Value::Float(by)) => self.put(key, old as f64 + by),
                (Some(Value::Float(old)), Value::Float(by)) => self.put(key, old + by),
                (None, Value::Float(by)) => self.put(key, by),
            }
        }
    }

    /// Reads the line that [`Stats::flush`] logs.
    pub(crate) fn parse(line: &str) -> Option<Stats> {
        let inner = line.strip_prefix('{')?.strip_suffix('}')?;
        let mut stats = Stats::default();
        for pair in inner.split(", ") {
            let (key, value) = pair.split_once(": ")?;
            match value.parse::<i64>() {
                Ok(value) => stats.put(key, value),
                Err(_) => stats.put(key, value.parse::<f64>().ok().filter(|v| v.is_finite())?),
            }
        }
        Some(stats)
    }

    /// Reads a value.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.entries
            .iter()
            .find_map(|(name, value)| (name == key).then_some(*value))
    }

    /// Whether nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Logs what was collected as one line and forgets it; silent when there is nothing.
    pub fn flush(&mut self) {
        if !self.is_empty() {
            tracing::info!("{self}");
            self.entries.clear();
        }
    }
}

/// `{count: 12, duration: 0.0345}`; monitoring splits it at `, ` and `: `.
impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{")?;
        for (index, (key, value)) in self.entries.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{key}: {value}")?;
        }
        f.write_str("}")
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => {
                let text = format!("{value:.4}");
                let short = text.trim_end_matches('0');
                let zero = if short.ends_with('.') { "0" } else { "" };
                let short = if short == "-0." { "0." } else { short };
                write!(f, "{short}{zero}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Stats, Value};

    proptest! {
        #[test]
        fn no_line_panics(text in any::<String>(), similar in "\\{([a-z]: -?[0-9.]{1,22}(, )?){0,4}\\}") {
            for line in [text, similar] {
                if let Some(stats) = Stats::parse(&line) {
                    let mut sum = stats.clone();
                    sum.add(&stats);
                    sum.add(&stats);
                    prop_assert!(Stats::parse(&sum.to_string()).is_some());
                }
            }
        }
    }

    #[test]
    fn the_line_keeps_the_order_of_insertion() {
        let mut stats = Stats::default();
        assert!(stats.is_empty());
        assert_eq!(stats.to_string(), "{}");
        stats.put("count", 12);
        stats.put("duration", 0.03451);
        stats.increase("ticks", 2);
        stats.increase("ticks", 3);
        stats.put("count", 13);
        stats.increase("duration", 1);
        assert_eq!(stats.to_string(), "{count: 13, duration: 1.0345, ticks: 5}");
        assert_eq!(stats.get("ticks"), Some(Value::Int(5)));
        assert_eq!(stats.get("idle"), None);
        stats.flush();
        assert!(stats.is_empty());
    }

    #[test]
    fn lines_are_read_back_and_summed_per_key() {
        let mut sum = Stats::default();
        for line in [
            "{count: 12, duration: 0.5}",
            "{count: 3, duration: 1.0, idle: 2}",
        ] {
            let stats = Stats::parse(line).expect(line);
            assert_eq!(stats.to_string(), line);
            sum.add(&stats);
        }
        assert_eq!(sum.to_string(), "{count: 15, duration: 1.5, idle: 2}");
        for line in [
            "",
            "{",
            "{}",
            "{a}",
            "{a: b}",
            "{a: 1; b: 2}",
            "{a: nan}",
            "{a: 1} ",
        ] {
            assert!(Stats::parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn floats_have_one_to_four_decimals_and_no_exponent() {
        for (value, text) in [
            (0.0, "0.0"),
            (12.0, "12.0"),
            (0.0345, "0.0345"),
            (0.03, "0.03"),
            (0.00004, "0.0"),
            (-0.00004, "0.0"),
            (0.99996, "1.0"),
            (100.0, "100.0"),
            (1e15, "1000000000000000.0"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(Value::Float(value).to_string(), text);
        }
    }
}
