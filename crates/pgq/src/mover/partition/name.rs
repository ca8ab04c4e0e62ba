//! Names that the server keeps as they are.

use serde::Deserialize;

use super::PartitionError;

/// Bytes of the longest name; the server cuts what is longer, and says so only in a notice.
const LONGEST: usize = 63;

/// Hexadecimal digits that stand for what was cut out, and a line before them.
const HASH_BYTES: usize = 9;

/// What becomes of names that the server would cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LongNames {
    /// They are refused.
    #[default]
    Error,
    /// Eight digits take the place of the end of their first part, the same ones each time.
    Hash,
}

impl LongNames {
    /// A name of two parts, the second of which is kept whole.
    ///
    /// # Errors
    /// It is too long, and is not to be shortened or cannot be.
    pub fn fit(self, first: &str, second: &str) -> Result<String, PartitionError> {
        let name = format!("{first}{second}");
        if name.len() <= LONGEST {
            return Ok(name);
        }
        let room = LONGEST.checked_sub(second.len() + HASH_BYTES);
        match (self, room) {
            (LongNames::Hash, Some(room)) if room > 0 => {
                let end = (0..=room).rev().find(|end| first.is_char_boundary(*end));
                let kept = &first[..end.unwrap_or_default()];
                Ok(format!("{kept}_{:08x}{second}", hash(first)))
            }
            _ => Err(PartitionError::LongName {
                bytes: name.len(),
                name,
            }),
        }
    }
}

/// FNV-1a, 32 bits: the same for ever, whatever becomes of the standard library's hashes.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_measured_in_bytes() {
        let fits = "é".repeat(27);
        assert_eq!(fits.len() + "_2024_05".len(), 62);
        assert!(LongNames::Error.fit(&fits, "_2024_05").is_ok());
        let long = format!("{fits}ab");
        let error = LongNames::Error.fit(&long, "_2024_05").unwrap_err();
        assert!(error.to_string().contains("64 bytes"), "{error}");
        let name = LongNames::Error.fit(&"x".repeat(55), "_2024_05").unwrap();
        assert_eq!(name.len(), 63);
    }

    #[test]
    fn a_shortened_name_keeps_both_ends_and_tells_long_ones_apart() {
        let (one, other) = (
            format!("{}a", "ö".repeat(40)),
            format!("{}b", "ö".repeat(40)),
        );
        let short = LongNames::Hash.fit(&one, "_2024").unwrap();
        // The cut is between two letters, so a byte is left over.
        assert_eq!(short.len(), 62);
        assert!(
            short.starts_with("öö") && short.ends_with("_2024"),
            "{short}"
        );
        assert_ne!(short, LongNames::Hash.fit(&other, "_2024").unwrap());
        assert_eq!(
            LongNames::Hash.fit(&"x".repeat(60), "_2024").unwrap(),
            format!("{}_37d12e35_2024", "x".repeat(49)),
        );
        assert!(LongNames::Hash.fit("a", &"y".repeat(63)).is_err());
    }
}
