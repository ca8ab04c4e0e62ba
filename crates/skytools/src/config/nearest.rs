//! The known key that a misspelt one most likely means.

/// The name with the fewest edits, the first of equals; `None` if more than a third of its characters differ, for then it
/// is another name.
pub(crate) fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let (edits, name) = (known.iter())
        .map(|name| (edits(key, name), *name))
        .min_by_key(|(edits, _)| *edits)?;
    let length = key.chars().count().max(name.chars().count());
    (3 * edits <= length).then_some(name)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // Rows of the distance matrix: two back, the previous one, the current one.
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut cost = replace.min(previous[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before[j - 2] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{edits, nearest};

    #[test]
    fn edits_are_counted_with_swaps_as_one() {
        for (a, b, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("pidfile", "pidfile", 0),
            ("pidfiel", "pidfile", 1),
            ("loop_dealy", "loop_delay", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(a, b), count, "{a} {b}");
            assert_eq!(edits(b, a), count, "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_key_is_the_one_with_the_fewest_edits() {
        let known = ["job_name", "loop_delay", "logfile"];
        assert_eq!(nearest("log_file", &known), Some("logfile"));
        assert_eq!(nearest("anything", &[]), None);
    }

    #[test]
    fn a_name_that_has_little_in_common_is_not_the_nearest() {
        let known = ["fake", "pidfile", "provider_db", "loop_delay"];
        for other in ["db", "x", "cake_tin", "logfile", "delay"] {
            assert_eq!(nearest(other, &known), None, "{other}");
        }
        for (key, name) in [
            ("fakes", "fake"),
            ("pdfile", "pidfile"),
            ("pid_file", "pidfile"),
            ("provider", "provider_db"),
            ("loop_dely", "loop_delay"),
            ("loopdealy", "loop_delay"),
        ] {
            assert_eq!(nearest(key, &known), Some(name), "{key}");
        }
    }
}
