//! Statements made of columns and values, for events that cannot be pasted into one.

use pgq::row::{Format, Op, RowEvent};
use postgres::types::{ToSql, Type};
use skytools::db::{DbError, During, TextValue, Tx};
use skytools::quote;

use super::class::Target;
use super::twins::Place;

/// What an event comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// There is nothing to write.
    Nothing,
    /// SQL that can be sent with others.
    Text(String),
    /// SQL and its parameters, for values that are not UTF-8.
    Parameters(String, Vec<Vec<u8>>),
}

/// Runs a statement with parameters.
pub(super) fn execute(tx: &mut Tx<'_>, sql: &str, values: &[Vec<u8>]) -> Result<u64, DbError> {
    let values: Vec<TextValue<'_>> = values.iter().map(|value| TextValue(value)).collect();
    let parameters: Vec<(&(dyn ToSql + Sync), Type)> = values
        .iter()
        .map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN))
        .collect();
    tx.execute_typed(sql, &parameters).during("apply an event")
}

type Column<'a> = (&'a [u8], Option<&'a [u8]>);

/// Makes the statement that repeats an event in a table, on the row with its key or on the one at `place`.
pub(super) fn statement(
    table: &str,
    target: &Target,
    row: &RowEvent<'_>,
    place: Option<&Place>,
) -> Statement {
    let keys: Vec<Column<'_>> = row.keys.iter().collect();
    let values: Vec<Column<'_>> = row.values.iter().collect();
    let only = if target.is_partitioned() { "" } else { "only " };
    let mut sql = Builder::default();
    match row.op {
        // Tables are emptied together: `truncate`.
        Op::Truncate => return Statement::Nothing,
        Op::Delete => {
            sql.text(&format!("delete from {only}{table} where "));
            sql.row_at(place, &keys);
        }
        Op::Insert => {
            let columns: Vec<Column<'_>> = [keys, values]
                .concat()
                .into_iter()
                .filter(|(name, _)| !target.is_generated(name))
                .collect();
            let insist = columns.iter().any(|(name, _)| target.is_identity(name));
            sql.text(&format!("insert into {table} "));
            sql.row(&columns, insist);
        }
        Op::Update => {
            let unset = values.is_empty();
            let columns: Vec<Column<'_>> = if unset { keys.clone() } else { values }
                .into_iter()
                .filter(|(name, value)| {
                    !target.is_generated(name)
                        && !(target.is_identity(name)
                            && (row.format != Format::Partial || keys.contains(&(*name, *value))))
                })
                .collect();
            if columns.is_empty() {
                return Statement::Nothing;
            }
            sql.text(&format!("update {only}{table} set "));
            sql.assignments(&columns);
            sql.text(" where ");
            sql.row_at(place, &keys);
        }
    }
    sql.finish()
}

/// SQL with the values beside it.
#[derive(Debug, Default)]
struct Builder {
    /// Pieces of SQL; the values stand between them.
    pieces: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    piece: Vec<u8>,
}

impl Builder {
    fn text(&mut self, text: &str) {
        self.piece.extend_from_slice(text.as_bytes());
    }

    fn name(&mut self, name: &[u8]) {
        quote::push_ident(name, &mut self.piece);
    }

    fn value(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.text("null"),
            Some(value) => {
                self.pieces.push(std::mem::take(&mut self.piece));
                self.values.push(value.to_vec());
            }
        }
    }

    fn row(&mut self, columns: &[Column<'_>], insist: bool) {
        if columns.is_empty() {
            return self.text("default values");
        }
        self.text("(");
        for (index, (name, _)) in columns.iter().enumerate() {
            self.text(if index > 0 { "," } else { "" });
            self.name(name);
        }
        self.text(if insist {
            ") overriding system value values ("
        } else {
            ") values ("
        });
        for (index, (_, value)) in columns.iter().enumerate() {
            self.text(if index > 0 { "," } else { "" });
            self.value(*value);
        }
        self.text(")");
    }

    fn assignments(&mut self, columns: &[Column<'_>]) {
        for (index, (name, value)) in columns.iter().enumerate() {
            self.text(if index > 0 { "," } else { "" });
            self.name(name);
            self.text("=");
            self.value(*value);
        }
    }

    fn row_at(&mut self, place: Option<&Place>, keys: &[Column<'_>]) {
        match place {
            Some(place) => self.text(&place.condition()),
            None => self.conditions(keys),
        }
    }

    fn conditions(&mut self, keys: &[Column<'_>]) {
        for (index, (name, value)) in keys.iter().enumerate() {
            self.text(if index > 0 { " and " } else { "" });
            self.name(name);
            match value {
                None => self.text(" is null"),
                Some(value) => {
                    self.text("=");
                    self.value(Some(value));
                }
            }
        }
    }

    /// Literals if all is UTF-8, else parameters.
    fn finish(mut self) -> Statement {
        let last = std::mem::take(&mut self.piece);
        let mut text = Vec::new();
        let mut quotable = true;
        for (piece, value) in self.pieces.iter().zip(&self.values) {
            text.extend_from_slice(piece);
            quotable &= quote::push_literal(Some(value), &mut text).is_ok();
        }
        text.extend_from_slice(&last);
        text.extend_from_slice(b";\n");
        if let (true, Ok(text)) = (quotable, String::from_utf8(text)) {
            return Statement::Text(text);
        }
        let mut sql = String::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            sql.push_str(&String::from_utf8_lossy(piece));
            sql.push_str(&format!("${}", index + 1));
        }
        sql.push_str(&String::from_utf8_lossy(&last));
        Statement::Parameters(sql, self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgq::row::Fields;
    use skytools::quote::Strings;

    fn make(target: &Target, kind: &str, data: &[u8]) -> Statement {
        let fields = Fields {
            kind: Some(kind.as_bytes()),
            data: Some(data),
            ..Fields::default()
        };
        let row = RowEvent::parse(fields, Strings::Standard).unwrap().unwrap();
        statement("public.t", target, &row, None)
    }

    fn text(target: &Target, kind: &str, data: &str) -> String {
        match make(target, kind, data.as_bytes()) {
            Statement::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whole_rows_become_statements() {
        let target = Target::default();
        assert_eq!(
            text(&target, "I:id", "id=1&data=it%27s&Odd=&empty"),
            "insert into public.t (id,data,\"Odd\",empty) values ('1','it''s','',null);\n"
        );
        assert_eq!(
            text(&target, "U:id,b", "id=1&data=x&b=2"),
            "update only public.t set data='x' where id='1' and b='2';\n"
        );
        assert_eq!(
            text(&target, "U:id", "id=1"),
            "update only public.t set id='1' where id='1';\n"
        );
        assert_eq!(
            text(&target, "D:id", "id=1&data=x"),
            "delete from only public.t where id='1';\n"
        );
    }

    #[test]
    fn generated_columns_are_not_written() {
        let target = Target::of_columns(&["id"], &["sum"], &[]);
        assert_eq!(
            text(&target, "I", "(id,sum) values ('1','2')"),
            "insert into public.t (id) values ('1');\n"
        );
        assert_eq!(
            make(&target, "U", b"sum='3' where id='1'"),
            Statement::Nothing
        );
    }

    #[test]
    fn identity_columns_are_inserted_and_never_assigned_in_vain() {
        let target = Target::of_columns(&[], &[], &["id"]);
        assert_eq!(
            text(&target, "I", "(id) values ('1')"),
            "insert into public.t (id) overriding system value values ('1');\n"
        );
        assert_eq!(
            make(&target, "U", b"id='1' where id='1'"),
            Statement::Nothing
        );
        // The server refuses this one, and it should.
        assert_eq!(
            text(&target, "U", "id='2' where id='1'"),
            "update only public.t set id='2' where id='1';\n"
        );
    }

    #[test]
    fn partitioned_tables_are_written_without_only() {
        let target = Target::partitioned();
        assert_eq!(
            text(&target, "D:id", "id=1"),
            "delete from public.t where id='1';\n"
        );
    }

    #[test]
    fn values_that_are_not_utf8_become_parameters() {
        assert_eq!(
            make(&Target::default(), "U", b"a='\xff',b=NULL where id='1'"),
            Statement::Parameters(
                "update only public.t set a=$1,b=null where id=$2".to_owned(),
                vec![b"\xff".to_vec(), b"1".to_vec()]
            )
        );
    }
}
