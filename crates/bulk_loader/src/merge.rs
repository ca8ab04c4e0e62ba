//! What the changes of one row in a batch come to.
//!
//! With *existed* for "the first event is an update or delete" and *exists* for "the last insert or delete
//! is an insert, or there is none":
//!
//! | existed | exists | outcome |
//! | --- | --- | --- |
//! | no | no | nothing |
//! | no | yes | insert |
//! | yes | yes | update |
//! | yes | no | delete |
//!
//! The values are those of the last event, over what earlier events since the last insert said of columns
//! that it does not have.
//!
//! Updates that exchange or shift keys bring a row to a key before the one that was there has left it. Then the row
//! was there before the batch, and is there after it, with the values of the one that came.

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Insert,
    Update,
    Delete,
}

/// What is to be done about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Nothing,
    Insert,
    Update,
    /// An update, if there is such a row; else nothing.
    UpdateIfThere,
    Delete,
}

/// Number of a set of columns, see [`crate::sets`].
pub(crate) type SetId = u32;

/// Place of an event among those that are merged.
pub(crate) type At = u32;

/// Values of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) at: At,
    pub(crate) set: SetId,
    /// Fields of COPY, tabs between them.
    pub(crate) fields: Box<[u8]>,
}

/// The changes of a row, merged as they come.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The first event, and whether the row was there before it.
    first: (At, bool),
    newest: At,
    /// The last insert or delete, and whether the row is there after it.
    decided: Option<(At, bool)>,
    /// The last insert: what was before does not show.
    inserted: At,
    /// A row seems to have left the key after the one that the first event put there had come.
    displaced: bool,
    image: Option<Image>,
    /// Older images with columns that no later one has, the oldest first.
    below: Vec<Image>,
}

impl Change {
    /// The first event of a row; a delete needs no values.
    pub(crate) fn new(op: Op, at: At, values: Option<(SetId, &[u8])>) -> Change {
        let mut change = Change {
            first: (at, op != Op::Insert),
            newest: at,
            decided: None,
            inserted: 0,
            displaced: false,
            image: None,
            below: Vec::new(),
        };
        change.add(op, at, values, |_, _| true);
        change
    }

    /// Another event of it. `covers` says whether the columns of the first set are all in the second.
    pub(crate) fn add(
        &mut self,
        op: Op,
        at: At,
        values: Option<(SetId, &[u8])>,
        covers: impl Fn(SetId, SetId) -> bool,
    ) {
        self.newest = at;
        match op {
            Op::Insert => {
                self.decided = Some((at, true));
                self.inserted = at;
                self.below.clear();
            }
            Op::Delete => {
                self.decided = Some((at, false));
                self.below.clear();
            }
            Op::Update => {
                if let (Some(old), Some((set, _))) = (&self.image, values) {
                    self.below.retain(|older| !covers(older.set, set));
                    if !covers(old.set, set) {
                        self.below.extend(self.image.take());
                    }
                }
            }
        }
        match (&mut self.image, values) {
            (image, None) => *image = None,
            // Most rows keep their size, and so their memory.
            (Some(image), Some((set, fields))) if image.fields.len() == fields.len() => {
                image.at = at;
                image.set = set;
                image.fields.copy_from_slice(fields);
            }
            (image, Some((set, fields))) => {
                *image = Some(Image {
                    at,
                    set,
                    fields: fields.into(),
                });
            }
        }
    }

    /// The changes of one row that went by several texts of its key.
    pub(crate) fn merge(twins: Vec<Change>) -> Option<Change> {
        let first = twins.iter().map(|twin| twin.first).min()?;
        let newest = twins.iter().map(|twin| twin.newest).max()?;
        let decided = twins.iter().filter_map(|twin| twin.decided).max();
        let inserted = twins.iter().map(|twin| twin.inserted).max()?;
        let displaced = twins.iter().any(|twin| twin.displaced);
        let images = twins.into_iter().flat_map(Change::into_images);
        let mut images: Vec<Image> = images.filter(|image| image.at >= inserted).collect();
        images.sort_by_key(|image| image.at);
        let image = images.pop();
        Some(Change {
            first,
            newest,
            decided,
            inserted,
            displaced,
            image,
            below: images,
        })
    }

    /// Has the row that was there before the batch leave the key, if it can be told from the one that is there now:
    /// `differs` says whether an image is of another row. True if so.
    pub(crate) fn displace(&mut self, differs: impl Fn(&Image) -> bool) -> bool {
        let is_new = !self.displaced
            && !self.first.1
            && self.decided == Some((self.first.0, true))
            && self.image.as_ref().is_some_and(differs);
        self.displaced |= is_new;
        is_new
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let (_, existed) = self.first;
        let exists = self.decided.is_none_or(|(_, exists)| exists);
        match (existed || self.displaced, exists) {
            (true, true) if !existed => Outcome::UpdateIfThere,
            (false, false) => Outcome::Nothing,
            (false, true) => Outcome::Insert,
            (true, true) => Outcome::Update,
            (true, false) => Outcome::Delete,
        }
    }

    /// Place of the last event.
    pub(crate) fn newest(&self) -> At {
        self.newest
    }

    /// The images, the oldest first; what a later one says counts.
    pub(crate) fn into_images(self) -> impl Iterator<Item = Image> {
        self.below.into_iter().chain(self.image)
    }

    /// Memory that it takes beside itself, about.
    pub(crate) fn size(&self) -> usize {
        let image = |image: &Image| image.fields.len() + size_of::<Image>();
        self.image.as_ref().map_or(0, |image| image.fields.len())
            + self.below.iter().map(image).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(letter: u8) -> Op {
        match letter {
            b'I' => Op::Insert,
            b'U' => Op::Update,
            _ => Op::Delete,
        }
    }

    /// Merges events, each an operation and a set of columns; a set covers those below it, but 9 none.
    fn merged(events: &[(u8, SetId)]) -> Change {
        let covers = |old, new| old == new || old < new && new != 9;
        let mut changes = events.iter().zip(0..).map(|((letter, set), at)| {
            let op = op(*letter);
            let values: Option<(SetId, &[u8])> = (op != Op::Delete).then_some((*set, b"x"));
            (op, at, values)
        });
        let (first, at, values) = changes.next().unwrap();
        let mut change = Change::new(first, at, values);
        for (op, at, values) in changes {
            change.add(op, at, values, covers);
        }
        change
    }

    fn outcome(letters: &str) -> (Outcome, Vec<At>) {
        let events: Vec<(u8, SetId)> = letters.bytes().map(|letter| (letter, 0)).collect();
        let change = merged(&events);
        (
            change.outcome(),
            change.into_images().map(|image| image.at).collect(),
        )
    }

    #[test]
    fn sequences_come_to_what_the_table_says() {
        use Outcome::{Delete, Insert, Nothing, Update};
        for (letters, expected, image) in [
            ("I", Insert, Some(0)),
            ("U", Update, Some(0)),
            ("D", Delete, None),
            ("IU", Insert, Some(1)),
            ("ID", Nothing, None),
            ("II", Insert, Some(1)),
            ("IUD", Nothing, None),
            ("IDI", Insert, Some(2)),
            ("IDU", Nothing, None),
            ("IDD", Nothing, None),
            ("UU", Update, Some(1)),
            ("UD", Delete, None),
            ("DI", Update, Some(1)),
            ("DD", Delete, None),
            ("DU", Delete, None),
            ("UI", Update, Some(1)),
            ("DIU", Update, Some(2)),
            ("DID", Delete, None),
            ("UDI", Update, Some(2)),
            ("DUI", Update, Some(2)),
        ] {
            let (outcome, images) = outcome(letters);
            assert_eq!(outcome, expected, "{letters}");
            if let Some(image) = image {
                assert_eq!(images, [image], "{letters}");
            }
        }
    }

    /// Another wording of the same table: states and what changes them.
    fn automaton(letters: &str) -> Outcome {
        let mut state = None;
        for letter in letters.bytes() {
            state = Some(match (state, letter) {
                (None, letter) => letter,
                (Some(b'I'), b'D') => b'-',
                (Some(b'-'), b'I') => b'I',
                (Some(b'U'), b'D') => b'D',
                (Some(b'D'), b'I') => b'U',
                (Some(state), _) => state,
            });
        }
        match state {
            Some(b'I') => Outcome::Insert,
            Some(b'U') => Outcome::Update,
            Some(b'D') => Outcome::Delete,
            _ => Outcome::Nothing,
        }
    }

    #[test]
    fn all_short_sequences_agree_with_the_automaton() {
        let mut sequences = vec![String::new()];
        for _ in 0..6 {
            let longer = sequences
                .iter()
                .flat_map(|sequence| ["I", "U", "D"].map(|letter| format!("{sequence}{letter}")));
            sequences = longer.collect();
            for sequence in &sequences {
                assert_eq!(outcome(sequence).0, automaton(sequence), "{sequence}");
            }
        }
    }

    #[test]
    fn a_narrow_image_lies_over_a_wide_one_and_an_insert_starts_again() {
        let ats = |events: &[(u8, SetId)]| -> Vec<At> {
            merged(events).into_images().map(|image| image.at).collect()
        };
        assert_eq!(ats(&[(b'U', 2), (b'U', 1)]), [0, 1]);
        assert_eq!(ats(&[(b'U', 2), (b'U', 1), (b'U', 1)]), [0, 2]);
        assert_eq!(ats(&[(b'U', 2), (b'U', 1), (b'U', 3)]), [2]);
        assert_eq!(ats(&[(b'U', 2), (b'U', 9), (b'U', 1)]), [0, 1, 2]);
        assert_eq!(ats(&[(b'U', 2), (b'U', 1), (b'I', 1)]), [2]);
        assert_eq!(ats(&[(b'U', 2), (b'D', 0), (b'I', 1), (b'U', 1)]), [3]);
    }

    #[test]
    fn a_row_that_leaves_a_key_is_the_one_that_came_or_the_one_before() {
        use Outcome::{Delete, Insert, Nothing, Update, UpdateIfThere};
        let leave = |letters: &str, differs: bool, after: &[Op]| {
            let events: Vec<(u8, SetId)> = letters.bytes().map(|letter| (letter, 0)).collect();
            let mut change = merged(&events);
            if !change.displace(|_| differs) {
                change.add(Op::Delete, 10, None, |_, _| true);
            }
            for (op, at) in after.iter().zip(11..) {
                let values: Option<(SetId, &[u8])> = (*op != Op::Delete).then_some((0, b"x"));
                change.add(*op, at, values, |_, _| true);
            }
            change.outcome()
        };
        assert_eq!(leave("I", false, &[]), Nothing);
        assert_eq!(leave("I", true, &[]), UpdateIfThere);
        assert_eq!(leave("IU", true, &[Op::Update]), UpdateIfThere);
        assert_eq!(leave("I", true, &[Op::Delete]), Delete);
        assert_eq!(leave("I", false, &[Op::Insert]), Insert);
        // Nothing that was there before can leave any more, or it has not been there.
        for letters in ["U", "DI", "UDI"] {
            assert_eq!(leave(letters, true, &[]), Delete, "{letters}");
        }
        assert_eq!(leave("IDI", true, &[]), Nothing);
        assert_eq!(leave("DI", false, &[Op::Insert]), Update);
    }

    const TEXTS: [&[u8]; 4] = [b"", b"a", b"b", b"cc"];

    #[test]
    fn twins_merge_as_if_they_had_come_as_one() {
        // Letters of two keys that are one, in turn.
        for sequence in 0..729 {
            let letter = |place: u32| b"IUD"[sequence / 3_usize.pow(place) % 3];
            let events: Vec<(Op, At)> = (0..6).map(|at| (op(letter(at)), at)).collect();
            let values = |op, text: &'static [u8]| (op != Op::Delete).then_some((0, text));
            let text = |at: At| TEXTS[usize::try_from(at).unwrap() % TEXTS.len()];
            let merge = |events: &[(Op, At)]| {
                let (first, at) = events[0];
                let mut change = Change::new(first, at, values(first, text(at)));
                for (op, at) in &events[1..] {
                    change.add(*op, *at, values(*op, text(*at)), |_, _| true);
                }
                change
            };
            let one = merge(&events);
            let (even, odd): (Vec<_>, Vec<_>) =
                events.iter().copied().partition(|(_, at)| at % 2 == 0);
            let both = Change::merge(vec![merge(&odd), merge(&even)]).unwrap();
            assert_eq!(both.outcome(), one.outcome(), "{events:?}");
            assert_eq!(both.newest(), one.newest());
            if matches!(one.outcome(), Outcome::Insert | Outcome::Update) {
                let last = both.into_images().last();
                assert_eq!(last, one.into_images().last(), "{events:?}");
            }
        }
    }
}
