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
            Some((_, Value::Int(old))) => *old += by,
            Some((_, Value::Float(old))) => {
                *old += by as f64;
            }
            None => self.entries.push((key.to_owned(), Value::Int(by))),
        }
    }
}
