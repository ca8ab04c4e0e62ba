//! Sets of columns that the events of a table say something about.

use skytools::copy;

use crate::merge::{Image, SetId};

/// Sets of columns, each by the places of the columns in the table, in order.
#[derive(Debug, Default)]
pub(crate) struct Sets(Vec<Vec<usize>>);

impl Sets {
    /// The number of a set; it gets one if it is new.
    pub(crate) fn id(&mut self, places: &[usize]) -> SetId {
        let known = self.0.iter().position(|set| set == places);
        let place = known.unwrap_or_else(|| {
            self.0.push(places.to_vec());
            self.0.len() - 1
        });
        SetId::try_from(place).expect("tables have few sets of columns")
    }

    /// Places of the columns of a set, in order.
    pub(crate) fn places(&self, set: SetId) -> &[usize] {
        &self.0[usize::try_from(set).expect("a number of a set")]
    }

    /// Whether all columns of `old` are in `new`.
    pub(crate) fn covers(&self, old: SetId, new: SetId) -> bool {
        let new_places = self.places(new);
        let covered = |place| new_places.binary_search(place).is_ok();
        old == new || self.places(old).iter().all(covered)
    }

    /// Whether some column has another value in an image than here, where columns are by their places.
    pub(crate) fn differs(&self, image: &Image, columns: &[(usize, Vec<u8>)]) -> bool {
        let places = self.places(image.set).iter();
        let mut known = places.zip(fields(&image.fields));
        known.any(|(place, field)| {
            let other = columns.iter().find(|(column, _)| column == place);
            other.is_some_and(|(_, other)| other != field)
        })
    }

    /// Lays images over each other, the oldest first; what a later one says counts.
    pub(crate) fn overlay(&mut self, images: &[Image]) -> Option<(SetId, Box<[u8]>)> {
        if let [image] = images {
            return Some((image.set, image.fields.clone()));
        }
        let mut columns: Vec<(usize, &[u8])> = Vec::new();
        for image in images.iter().rev() {
            for (place, field) in self.places(image.set).iter().zip(fields(&image.fields)) {
                if !columns.iter().any(|(known, _)| known == place) {
                    columns.push((*place, field));
                }
            }
        }
        columns.sort_unstable_by_key(|(place, _)| *place);
        let places: Vec<usize> = columns.iter().map(|(place, _)| *place).collect();
        let texts: Vec<&[u8]> = columns.iter().map(|(_, field)| *field).collect();
        (!images.is_empty()).then(|| (self.id(&places), texts.join(&b'\t').into()))
    }
}

/// The fields of a row of COPY, as they stand there.
pub(crate) fn fields(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Within a field a tab is written as an escape.
    row.split(|byte| *byte == b'\t')
}

/// Appends fields of COPY, tabs between them.
pub(crate) fn push_fields<'v>(
    values: impl IntoIterator<Item = Option<&'v [u8]>>,
    out: &mut Vec<u8>,
) {
    for (number, value) in values.into_iter().enumerate() {
        if number > 0 {
            out.push(b'\t');
        }
        copy::push_field(value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(sets: &mut Sets, columns: &[(usize, &str)]) -> Image {
        let places: Vec<usize> = columns.iter().map(|(place, _)| *place).collect();
        let mut fields = Vec::new();
        push_fields(
            columns.iter().map(|(_, value)| Some(value.as_bytes())),
            &mut fields,
        );
        Image {
            at: 0,
            set: sets.id(&places),
            fields: fields.into(),
        }
    }

    #[test]
    fn what_a_later_image_says_counts_and_nothing_is_lost() {
        let mut sets = Sets::default();
        let wide = image(&mut sets, &[(1, "a"), (2, "tab\t"), (5, "c")]);
        let narrow = image(&mut sets, &[(1, "A")]);
        let other = image(&mut sets, &[(3, ""), (5, "C")]);
        let (set, fields) = sets
            .overlay(&[wide.clone(), narrow.clone(), other])
            .unwrap();
        assert_eq!(sets.places(set), [1, 2, 3, 5]);
        assert_eq!(&*fields, b"A\ttab\\t\t\tC");
        assert!(sets.covers(narrow.set, wide.set));
        assert!(!sets.covers(wide.set, narrow.set));
        let (set, fields) = sets.overlay(&[narrow, wide]).unwrap();
        assert_eq!(
            (sets.places(set), &*fields),
            (&[1, 2, 5][..], &b"a\ttab\\t\tc"[..])
        );
    }
}
