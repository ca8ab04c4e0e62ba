//! Which columns of a row go into which columns of the target.

use pgq::mover::row::Reason;

use crate::config::MissingField;

/// The key `fields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldMap {
    /// `*`: columns that are not listed go where they are called the same.
    all: bool,
    /// Names of source and target, in their order.
    listed: Vec<(String, String)>,
}

/// What rows with some columns become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Columns of the target.
    pub(crate) columns: Vec<String>,
    /// Where each comes from in the row; `None` for NULL.
    pub(crate) places: Vec<Option<usize>>,
}

impl FieldMap {
    /// Reads `*`, `name` and `source:target`; of two items for one source the later one counts.
    pub(crate) fn parse(items: &[String]) -> Result<FieldMap, String> {
        let mut map = FieldMap {
            all: false,
            listed: Vec::new(),
        };
        for item in items {
            if item == "*" {
                map.all = true;
                continue;
            }
            let (source, target) = item.split_once(':').unwrap_or((item, item));
            let (source, target) = (source.trim(), target.trim());
            if source.is_empty() || target.is_empty() || target.contains(':') {
                return Err(format!(
                    "fields: {item:?} is neither a name nor SOURCE:TARGET"
                ));
            }
            match map.listed.iter_mut().find(|(name, _)| name == source) {
                Some((_, old)) => target.clone_into(old),
                None => map.listed.push((source.to_owned(), target.to_owned())),
            }
        }
        if items.is_empty() {
            return Err("fields is empty: it is * or a list of columns".to_owned());
        }
        for (place, (_, target)) in map.listed.iter().enumerate() {
            if map.listed[..place].iter().any(|(_, other)| other == target) {
                return Err(format!("fields: two columns go to {target}"));
            }
        }
        Ok(map)
    }

    /// Where a column of the source goes, if anywhere.
    pub(crate) fn target_of<'f>(&'f self, source: &'f str) -> Option<&'f str> {
        let listed = self.listed.iter().find(|(name, _)| name == source);
        match listed {
            Some((_, target)) => Some(target),
            None => self.all.then_some(source),
        }
    }

    /// What rows with these columns become.
    ///
    /// # Errors
    /// They lack one that is listed, or two go to the same column.
    pub(crate) fn layout(&self, names: &[&str], missing: MissingField) -> Result<Layout, Reason> {
        let mut columns: Vec<String> = Vec::new();
        let mut places = Vec::new();
        if self.all {
            for (place, name) in names.iter().enumerate() {
                columns.push(self.target_of(name).unwrap_or(name).to_owned());
                places.push(Some(place));
            }
        }
        // Beside `*` the list only renames.
        let listed = self.listed.iter().filter(|_| !self.all);
        for (source, target) in listed {
            let place = names.iter().position(|name| name == source);
            if place.is_none() && missing == MissingField::Fail {
                return Err(Reason::Other(format!("column {source} is not in the row")));
            }
            columns.push(target.clone());
            places.push(place);
        }
        let twice = (0..columns.len()).find(|at| columns[..*at].contains(&columns[*at]));
        match twice {
            Some(at) => Err(Reason::Other(format!(
                "two columns of the row go to column {}",
                columns[at]
            ))),
            None => Ok(Layout { columns, places }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(items: &[&str]) -> Result<FieldMap, String> {
        let items: Vec<String> = items.iter().map(|item| (*item).to_owned()).collect();
        FieldMap::parse(&items)
    }

    fn columns(items: &[&str], names: &[&str], missing: MissingField) -> Result<String, String> {
        let layout = map(items)?
            .layout(names, missing)
            .map_err(|e| e.to_string())?;
        let pairs = layout.columns.iter().zip(layout.places);
        let shown = pairs.map(|(column, place)| match place {
            Some(place) => format!("{}>{column}", names[place]),
            None => format!("null>{column}"),
        });
        Ok(shown.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn listed_columns_are_all_that_the_target_gets() {
        let read = |items: &[&str]| columns(items, &["id", "a", "b"], MissingField::Fail);
        assert_eq!(read(&["*"]).unwrap(), "id>id a>a b>b");
        assert_eq!(read(&["b", "id : key"]).unwrap(), "b>b id>key");
        assert_eq!(read(&["a:x", "id", "a:y"]).unwrap(), "a>y id>id");
        assert_eq!(read(&["*", "a:x", "c:y"]).unwrap(), "id>id a>x b>b");
        assert_eq!(read(&["a:b", "b:a"]).unwrap(), "a>b b>a");
        assert_eq!(
            read(&["*", "a:b"]).unwrap_err(),
            "two columns of the row go to column b"
        );
    }

    #[test]
    fn a_listed_column_that_is_not_in_the_row_is_an_error_or_null() {
        let read = |missing| columns(&["id", "c:d"], &["id"], missing);
        assert_eq!(
            read(MissingField::Fail).unwrap_err(),
            "column c is not in the row"
        );
        assert_eq!(read(MissingField::Null).unwrap(), "id>id null>d");
    }

    #[test]
    fn a_list_that_makes_no_sense_is_refused() {
        for (items, why) in [
            (&[][..], "fields is empty"),
            (&["a:b:c"], "neither a name nor"),
            (&["a:"], "neither a name nor"),
            (&[":a"], "neither a name nor"),
            (&[""], "neither a name nor"),
            (&["a", "b:a"], "two columns go to a"),
        ] {
            let error = map(items).unwrap_err();
            assert!(error.contains(why), "{items:?}: {error}");
        }
    }
}
