//! Transaction snapshots in text form: which transactions had ended when a tick was made.

use std::fmt;
use std::str::FromStr;

/// A snapshot as the server prints it, `xmin:xmax:xip,xip,…`, with 64-bit transaction ids.
///
/// Ids belong to one database cluster; comparing them with those of another means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    /// Ids in progress, ascending.
    in_progress: Vec<u64>,
}

/// The text is not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unknown format for snapshot: {0:?}")] // text fixed by the reference
pub struct SnapshotError(String);

impl Snapshot {
    /// Parses `xmin:xmax:xip,…`; the list may be empty.
    ///
    /// # Errors
    /// The text does not have three parts, a part is not a number, or `xmax` is below `xmin`.
    pub fn parse(text: &str) -> Result<Snapshot, SnapshotError> {
        let parsed = || {
            let mut parts = text.trim().split(':');
            let (xmin, xmax, list) = (parts.next()?, parts.next()?, parts.next()?);
            if parts.next().is_some() {
                return None;
            }
            let mut in_progress = list
                .split(',')
                .filter(|_| !list.is_empty())
                .map(number)
                .collect::<Option<Vec<u64>>>()?;
            in_progress.sort_unstable();
            let (xmin, xmax) = (number(xmin)?, number(xmax)?);
            (xmin <= xmax).then_some(Snapshot {
                xmin,
                xmax,
                in_progress,
            })
        };
        parsed().ok_or_else(|| SnapshotError(text.to_owned()))
    }

    /// Lowest id that was in progress; all below had ended.
    pub fn xmin(&self) -> u64 {
        self.xmin
    }

    /// Lowest id that had not begun.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Ids between the two that were in progress, ascending.
    pub fn in_progress(&self) -> &[u64] {
        &self.in_progress
    }

    /// Whether the transaction had ended: its rows are visible in the snapshot if it committed.
    pub fn contains(&self, txid: u64) -> bool {
        txid < self.xmin || (txid < self.xmax && self.in_progress.binary_search(&txid).is_err())
    }

    /// Whether every transaction that is visible here is visible in `later` too.
    ///
    /// A table copied under this snapshot needs its event filter no more in a batch that starts at
    /// such a `later` one. The test is on the safe side: it may say no for a while after it could
    /// say yes.
    pub fn is_covered_by(&self, later: &Snapshot) -> bool {
        later.xmax >= self.xmax && later.in_progress.iter().all(|&txid| !self.contains(txid))
    }
}

fn number(text: &str) -> Option<u64> {
    // `parse` alone would take a leading plus sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Snapshot, SnapshotError> {
        Snapshot::parse(text)
    }
}

/// The form that the server reads and prints.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (i, txid) in self.in_progress.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{txid}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text).expect("a snapshot")
    }

    #[test]
    fn a_transaction_is_contained_unless_it_was_in_progress_or_had_not_begun() {
        let s = snapshot("11:20:11,12,15");
        for (txid, contained) in [
            (9, true),
            (10, true),
            (11, false),
            (12, false),
            (13, true),
            (15, false),
            (17, true),
            (19, true),
            (20, false),
            (21, false),
        ] {
            assert_eq!(s.contains(txid), contained, "{txid}");
        }
    }

    #[test]
    fn an_empty_list_contains_all_below_xmax() {
        let s = snapshot("100:100:");
        assert!(s.contains(99));
        assert!(!s.contains(100));
    }

    #[test]
    fn ids_beyond_32_bits_are_exact() {
        let s = snapshot("12884901889:18446744073709551615:12884901889");
        assert!(!s.contains(12_884_901_889));
        assert!(s.contains(12_884_901_890));
        assert!(!s.contains(u64::MAX));
        assert!(s.contains(1));
    }

    #[test]
    fn other_text_is_no_snapshot() {
        for text in [
            "",
            "1",
            "1:2",
            "1:2:3:4",
            "a:2:",
            "1:b:",
            "1:2:x",
            "1:2:1,,2",
            "2:1:",
            "+1:2:",
            "-1:2:",
            "1:2:1,",
            "1:18446744073709551616:",
            "::",
        ] {
            let error = Snapshot::parse(text).expect_err(text).to_string();
            assert!(error.starts_with("Unknown format for snapshot"), "{error}");
        }
    }

    #[test]
    fn a_snapshot_is_covered_once_what_it_sees_has_ended_there_too() {
        let copied = snapshot("10:20:12,15");
        // The same moment covers itself.
        assert!(copied.is_covered_by(&copied));
        // An earlier xmax: 19 is visible in the copy and not there.
        assert!(!copied.is_covered_by(&snapshot("10:19:12,15")));
        // 13 is visible in the copy and in progress there.
        assert!(!copied.is_covered_by(&snapshot("10:25:12,13,15")));
        // 12 and 22 are in progress there; the copy does not see them either.
        assert!(copied.is_covered_by(&snapshot("12:25:12,22")));
        assert!(copied.is_covered_by(&snapshot("30:30:")));
    }

    proptest! {
        #[test]
        fn text_survives_parsing_and_printing(xmin in any::<u64>(), span in 0u64..100, holes in proptest::collection::btree_set(0u64..100, 0..10)) {
            let xmax = xmin.saturating_add(span);
            let list: Vec<String> = holes
                .iter()
                .map(|hole| xmin.saturating_add(*hole))
                .filter(|txid| *txid < xmax)
                .map(|txid| txid.to_string())
                .collect();
            let text = format!("{xmin}:{xmax}:{}", list.join(","));
            prop_assert_eq!(snapshot(&text).to_string(), text);
        }

        #[test]
        fn no_text_panics(text in any::<String>(), similar in "[0-9]{0,22}:[0-9]{0,22}:[0-9,:-]{0,20}") {
            for text in [text, similar] {
                if let Ok(snapshot) = Snapshot::parse(&text) {
                    prop_assert!(snapshot.xmin() == 0 || snapshot.contains(snapshot.xmin() - 1));
                    prop_assert!(!snapshot.contains(snapshot.xmax()) || snapshot.xmax() < snapshot.xmin());
                }
            }
        }

        #[test]
        fn covering_means_that_no_visible_id_is_invisible_later(
            a in (0u64..12, 0u64..12, proptest::collection::vec(0u64..24, 0..5)),
            b in (0u64..12, 0u64..12, proptest::collection::vec(0u64..24, 0..5)),
        ) {
            let build = |(xmin, span, list): (u64, u64, Vec<u64>)| {
                let xmax = xmin + span;
                let mut in_progress: Vec<u64> =
                    list.into_iter().filter(|txid| (xmin..xmax).contains(txid)).collect();
                in_progress.sort_unstable();
                in_progress.dedup();
                Snapshot { xmin, xmax, in_progress }
            };
            let (s, p) = (build(a), build(b));
            let exact = (0..40).all(|txid| !s.contains(txid) || p.contains(txid));
            // The test is sufficient, so it never says yes when an id is lost.
            prop_assert!(!s.is_covered_by(&p) || exact);
        }
    }
}
