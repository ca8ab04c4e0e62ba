use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};

/// Two structs that read the same section: keys of a library beside those of the program.
///
/// A file may set keys of both. Nests, for more than two.
#[derive(Debug, Clone, PartialEq)]
pub struct Both<A, B>(pub A, pub B);

impl<'de, A: DeserializeOwned, B: DeserializeOwned> serde::Deserialize<'de> for Both<A, B> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Both<A, B>, D::Error> {
        struct Halves<A, B>(PhantomData<(A, B)>);

        impl<'de, A: DeserializeOwned, B: DeserializeOwned> Visitor<'de> for Halves<A, B> {
            type Value = Both<A, B>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a section")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut halves: S) -> Result<Both<A, B>, S::Error> {
                // Both are asked, whatever the first one answers: see `fields_of`.
                let (first, second) = (halves.next_element(), halves.next_element());
                match (first?, second?) {
                    (Some(first), Some(second)) => Ok(Both(first, second)),
                    _ => Err(S::Error::custom("Both is for sections only")),
                }
            }
        }

        from.deserialize_tuple_struct("Both", 2, Halves(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Both, Settings, de};

    #[derive(Debug, serde::Deserialize)]
    struct Library {
        queue: String,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Program {
        queue: Option<String>,
        times: u32,
    }

    #[test]
    fn two_structs_read_one_section() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let read = |text: &str| -> Result<Both<Library, Both<(), Program>>, _> {
            let path = dir.path().join("x.ini");
            std::fs::write(&path, text).expect("a file");
            Settings::load(&path, &["job"], &[])?.main()
        };
        let Both(library, Both((), program)) = read("[job]\nqueue = q\ntimes = 3\n")?;
        assert_eq!((library.queue.as_str(), program.times), ("q", 3));
        assert_eq!(program.queue.as_deref(), Some("q"));
        let error = read("[job]\nqueue = q\n").unwrap_err();
        assert_eq!(error.to_string(), "Config value not set: times");
        let error = read("[job]\nqueue = q\ntimes = often\n").unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("[job] times: expected an integer, found often")
        );
        Ok(())
    }

    #[test]
    fn the_keys_of_both_are_known() {
        let fields = de::fields_of::<Both<Library, Both<(), Program>>>();
        assert_eq!(fields, Some(vec!["queue", "queue", "times"]));
    }
}
