//! One element of a table and its DDL.

use super::Elements;
use crate::quote;
use crate::table::TableName;

/// An element, named as the log does.
#[derive(Debug, Clone)]
pub(super) struct Element {
    /// Unquoted.
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What an element is. Texts are as the server writes them, so quoted where they must be.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Table {
        /// `unlogged `, or nothing.
        persistence: &'static str,
        columns: Vec<String>,
        /// `RANGE (day)`, of a partitioned table.
        partition_key: Option<String>,
        /// `full` or `nothing`.
        replica_identity: Option<&'static str>,
    },
    /// A table that the table, or another of its partitions, is divided into.
    Partition {
        parent: String,
        /// `FOR VALUES …` or `DEFAULT`.
        bound: String,
        /// `RANGE (day)`, if it is divided as well.
        partition_key: Option<String>,
    },
    Sequence {
        sequence: String,
        column: String,
        /// Its owner is somebody else than who reads it.
        foreign: bool,
    },
    Default {
        expression: String,
    },
    Constraint {
        definition: String,
        primary: bool,
        /// Its index has its name, so that the name is taken for all tables.
        has_index: bool,
        marks: Marks,
    },
    Index {
        definition: String,
        unique: bool,
        schema: String,
        marks: Marks,
    },
    Trigger {
        definition: String,
        firing: Firing,
    },
    Rule {
        definition: String,
        firing: Firing,
    },
    Grant {
        /// Of the owner, who has all privileges unless they were taken away.
        revoke_first: bool,
        role: String,
        plain: Vec<String>,
        grantable: Vec<String>,
    },
    Owner {
        role: String,
    },
    Parent {
        parent: String,
    },
}

/// What a table remembers of one of its indexes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    pub(super) clustered: bool,
    pub(super) replica_identity: bool,
}

/// In which sessions a trigger or rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Firing {
    /// In all but replicas: what it is when it is made.
    Origin,
    Never,
    Replica,
    Always,
}

impl Firing {
    /// The catalog's letter.
    pub(super) fn from_letter(letter: &str) -> Firing {
        match letter {
            "D" => Firing::Never,
            "R" => Firing::Replica,
            "A" => Firing::Always,
            _ => Firing::Origin,
        }
    }

    fn verb(self) -> Option<&'static str> {
        match self {
            Firing::Origin => None,
            Firing::Never => Some("DISABLE"),
            Firing::Replica => Some("ENABLE REPLICA"),
            Firing::Always => Some("ENABLE ALWAYS"),
        }
    }
}

impl Element {
    pub(super) fn is_in(&self, what: Elements) -> bool {
        what.intersects(match &self.kind {
            Kind::Table { .. } | Kind::Partition { .. } => Elements::TABLE,
            Kind::Sequence { .. } => Elements::SEQUENCE,
            Kind::Default { .. } => Elements::DEFAULT,
            Kind::Constraint { primary: true, .. } => Elements::CONSTRAINT | Elements::PKEY,
            Kind::Constraint { .. } => Elements::CONSTRAINT,
            Kind::Index { .. } => Elements::INDEX,
            Kind::Trigger { .. } => Elements::TRIGGER,
            Kind::Rule { .. } => Elements::RULE,
            Kind::Grant { .. } => Elements::GRANT,
            Kind::Owner { .. } => Elements::OWNER,
            Kind::Parent { .. } => Elements::PARENT,
        })
    }

    /// DDL that makes the element for `table`, a quoted name, together with others of `what`.
    pub(super) fn create_sql(&self, table: &str, what: Elements) -> String {
        let name = quote::ident(&self.name);
        match &self.kind {
            Kind::Table {
                persistence,
                columns,
                partition_key,
                replica_identity,
            } => {
                let columns = columns.join(",\n    ");
                let divided = divided(partition_key.as_deref());
                let mut sql =
                    format!("CREATE {persistence}TABLE {table} (\n    {columns}\n){divided};");
                if let Some(identity) = replica_identity {
                    sql += &format!(" ALTER TABLE ONLY {table} REPLICA IDENTITY {identity};");
                }
                sql
            }
            // Its name is quoted, as that of its parent.
            Kind::Partition {
                parent,
                bound,
                partition_key,
            } => format!(
                "CREATE TABLE {} PARTITION OF {parent} {bound}{};",
                self.name,
                divided(partition_key.as_deref())
            ),
            Kind::Sequence {
                sequence,
                column,
                foreign,
            } => {
                // Both must have one owner, and a new table has that of its maker; from then on the
                // sequence follows the table.
                let owner = match *foreign && what.contains(Elements::TABLE) {
                    true => format!("ALTER SEQUENCE {sequence} OWNER TO CURRENT_USER; "),
                    false => String::new(),
                };
                format!("{owner}ALTER SEQUENCE {sequence} OWNED BY {table}.{column};")
            }
            Kind::Default { expression } => {
                format!("ALTER TABLE ONLY {table} ALTER COLUMN {name} SET DEFAULT {expression};")
            }
            Kind::Constraint {
                definition, marks, ..
            } => {
                let marks = marks.sql(table, &name);
                format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition};{marks}")
            }
            Kind::Index {
                definition, marks, ..
            } => format!("{definition};{}", marks.sql(table, &name)),
            Kind::Trigger { definition, firing } => match firing.verb() {
                None => definition.clone(),
                Some(verb) => format!("{definition}; ALTER TABLE {table} {verb} TRIGGER {name};"),
            },
            Kind::Rule { definition, firing } => match firing.verb() {
                None => definition.clone(),
                Some(verb) => format!("{definition} ALTER TABLE {table} {verb} RULE {name};"),
            },
            Kind::Grant {
                revoke_first,
                role,
                plain,
                grantable,
            } => {
                let mut sql = String::new();
                if *revoke_first {
                    // The table may be given to its owner only later, with the maker's privileges.
                    sql += &format!("REVOKE ALL ON {table} FROM CURRENT_USER, {role}; ");
                }
                if !plain.is_empty() {
                    sql += &format!("GRANT {} ON {table} TO {role}; ", plain.join(", "));
                }
                if !grantable.is_empty() {
                    let grantable = grantable.join(", ");
                    sql += &format!("GRANT {grantable} ON {table} TO {role} WITH GRANT OPTION; ");
                }
                sql.trim_end().to_owned()
            }
            Kind::Owner { role } => format!("ALTER TABLE {table} OWNER TO {role};"),
            Kind::Parent { parent } => format!("ALTER TABLE ONLY {table} INHERIT {parent}"),
        }
    }

    /// DDL that drops the element of `table`; `None` if there is nothing to do.
    pub(super) fn drop_sql(&self, table: &TableName) -> Option<String> {
        let name = quote::ident(&self.name);
        let table = table.quoted();
        Some(match &self.kind {
            Kind::Table { .. } => format!("DROP TABLE {table};"),
            // Else it would go with the column, and with it what the default needs.
            Kind::Sequence { sequence, .. } => format!("ALTER SEQUENCE {sequence} OWNED BY NONE;"),
            Kind::Default { .. } => {
                format!("ALTER TABLE ONLY {table} ALTER COLUMN {name} DROP DEFAULT;")
            }
            Kind::Constraint { .. } => format!("ALTER TABLE ONLY {table} DROP CONSTRAINT {name};"),
            Kind::Index { schema, .. } => format!("DROP INDEX {}.{name};", quote::ident(schema)),
            Kind::Trigger { .. } => format!("DROP TRIGGER {name} ON {table}"),
            Kind::Rule { .. } => format!("DROP RULE {name} ON {table}"),
            Kind::Grant { role, .. } => format!("REVOKE ALL ON {table} FROM {role};"),
            // Partitions go with the table.
            Kind::Owner { .. } | Kind::Partition { .. } => return None,
            Kind::Parent { parent } => format!("ALTER TABLE ONLY {table} NO INHERIT {parent}"),
        })
    }
}

/// ` PARTITION BY …`, or nothing.
fn divided(partition_key: Option<&str>) -> String {
    match partition_key {
        Some(key) => format!(" PARTITION BY {key}"),
        None => String::new(),
    }
}

impl Marks {
    fn sql(self, table: &str, index: &str) -> String {
        let mut sql = String::new();
        if self.clustered {
            sql += &format!(" ALTER TABLE ONLY {table} CLUSTER ON {index};");
        }
        if self.replica_identity {
            sql += &format!(" ALTER TABLE ONLY {table} REPLICA IDENTITY USING INDEX {index};");
        }
        sql
    }
}
