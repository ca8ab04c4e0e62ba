//! How fields of a configuration struct are read: `#[serde(with = "…")]`.

/// `#[serde(with = "config::seconds")]`: a number of seconds, possibly fractional, as a `Duration`.
pub mod seconds {
    use std::time::Duration;

    use serde::de::{Error, Unexpected};
    use serde::{Deserialize, Deserializer};

    /// Reads a non-negative number of seconds.
    ///
    /// # Errors
    /// The value is not a number, or negative.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(from)?;
        Duration::try_from_secs_f64(seconds).map_err(|_| {
            D::Error::invalid_value(
                Unexpected::Float(seconds),
                &"a number of seconds, 0 or more",
            )
        })
    }
}

/// `#[serde(with = "config::file")]`: a path with `~` expanded; empty and `-` stay as they are.
pub mod file {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer};

    /// Reads a path.
    ///
    /// # Errors
    /// The value is not text.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(crate::app::expand_home(&String::deserialize(from)?))
    }
}

/// `#[serde(with = "config::optional_file", default)]`: a path with `~` expanded; empty is `None`.
pub mod optional_file {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer};

    /// Reads a path.
    ///
    /// # Errors
    /// The value is not text.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        let path = String::deserialize(from)?;
        Ok((!path.is_empty()).then(|| crate::app::expand_home(&path)))
    }
}

/// `#[serde(with = "config::bytes")]`: a size such as `2k` or `4 MB`, in powers of 1024.
pub mod bytes {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer};

    /// Reads a size in bytes.
    ///
    /// # Errors
    /// The value is not a number with one of the units `K M G T P E Z Y` and an optional `B`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        super::parse_bytes(&text).ok_or_else(|| {
            D::Error::custom(format_args!("expected a size such as 10M, found {text}"))
        })
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number: u64 = digits.parse().ok()?;
    let unit = unit.trim().to_ascii_uppercase();
    let unit = unit.strip_suffix('B').unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        _ => 1 + "KMGTPEZY".find(unit).filter(|_| unit.len() == 1)?,
    };
    let factor = 1024u64.checked_pow(u32::try_from(power).ok()?)?;
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn sizes_take_a_unit_of_any_case() {
        for (text, size) in [
            ("0", 0),
            (" 10485760 ", 10_485_760),
            ("2k", 2048),
            ("4 MB", 4_194_304),
            ("1g", 1 << 30),
            ("7B", 7),
            ("3 tb", 3 << 40),
        ] {
            assert_eq!(parse_bytes(text), Some(size), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "k",
            "-1",
            "1.5k",
            "2kk",
            "2 x",
            "2k b",
            "99999999999E",
            "1Y",
        ] {
            assert_eq!(parse_bytes(text), None, "{text:?}");
        }
    }
}
