//! Definitions from the catalog.

use postgres::types::Type;

use super::element::{Element, Firing, Kind, Marks};
use super::sequence::{COLUMNS, Parameters};
use super::{StructError, TableStruct, retarget};
use crate::db::{DbError, During, Tx};
use crate::quote;
use crate::table::{self, TableName};

/// Reads a table with all its elements.
pub(super) fn table(tx: &mut Tx<'_>, table: &TableName) -> Result<TableStruct, StructError> {
    let relation = table::relation(&mut **tx, table)?;
    if !relation.kind.is_table() {
        return Err(StructError::NotATable(table.clone()));
    }
    let step = || format!("read the definition of {table}");
    // So that the server qualifies every name that it writes.
    let (path, rendered): (String, String) = tx
        .query_typed_one(
            "select pg_catalog.current_setting('search_path'), \
             pg_catalog.quote_ident($1) || '.' || pg_catalog.quote_ident($2), \
             pg_catalog.set_config('search_path', 'pg_catalog', true)",
            &[(&table.schema(), Type::TEXT), (&table.name(), Type::TEXT)],
        )
        .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .during(step())?;
    let mut reader = Reader {
        tx,
        oid: relation.oid,
        table,
        rendered: &rendered,
        elements: Vec::new(),
        columns: Vec::new(),
    };
    reader.all()?;
    let Reader {
        elements, columns, ..
    } = reader;
    tx.query_typed_one(
        "select pg_catalog.set_config('search_path', $1, true)",
        &[(&path, Type::TEXT)],
    )
    .during(step())?;
    Ok(TableStruct {
        table: table.clone(),
        rendered,
        columns,
        elements,
    })
}

struct Reader<'a, 'b> {
    tx: &'a mut Tx<'b>,
    oid: u32,
    table: &'a TableName,
    /// As the server writes the name.
    rendered: &'a str,
    elements: Vec<Element>,
    columns: Vec<String>,
}

impl Reader<'_, '_> {
    /// Everything, in the order of creation.
    fn all(&mut self) -> Result<(), DbError> {
        self.table_and_columns()?;
        self.partitions()?;
        self.constraints()?;
        self.indexes()?;
        self.triggers()?;
        self.rules()?;
        self.grants()?;
        self.owner()?;
        self.parents()
    }

    /// Makes an element of each row that `sql` finds for the table.
    fn each(
        &mut self,
        sql: &str,
        element: impl Fn(&postgres::Row) -> Result<Element, postgres::Error>,
    ) -> Result<(), DbError> {
        let step = || format!("read the definition of {}", self.table);
        let rows = self
            .tx
            .query_typed(sql, &[(&self.oid, Type::OID)])
            .during(step())?;
        for row in &rows {
            self.elements.push(element(row).during(step())?);
        }
        Ok(())
    }

    fn table_and_columns(&mut self) -> Result<(), DbError> {
        let step = || format!("read the columns of {}", self.table);
        // A sequence of a column depends on it: automatically if the column owns it, internally if
        // it is that of an identity column.
        let sql = format!(
            "select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
                    (select pg_catalog.quote_ident(n.nspname) || '.'
                            || pg_catalog.quote_ident(l.collname)
                       from pg_catalog.pg_collation l
                       join pg_catalog.pg_namespace n on n.oid = l.collnamespace
                      where l.oid = a.attcollation and a.attcollation <> t.typcollation),
                    pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attgenerated::text,
                    a.attidentity::text, a.attnotnull, k.conname::text,
                    coalesce(k.connoinherit, false),
                    pg_catalog.quote_ident(sn.nspname) || '.' || pg_catalog.quote_ident(sc.relname),
                    {COLUMNS},
                    pg_catalog.pg_get_userbyid(sc.relowner) <> current_user
               from pg_catalog.pg_attribute a
               join pg_catalog.pg_type t on t.oid = a.atttypid
               left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
               left join pg_catalog.pg_constraint k on k.conrelid = a.attrelid
                         and k.contype = 'n' and k.conkey = array[a.attnum]
               left join (pg_catalog.pg_depend p
                          join pg_catalog.pg_class sc on sc.oid = p.objid and sc.relkind = 'S'
                          join pg_catalog.pg_namespace sn on sn.oid = sc.relnamespace
                          join pg_catalog.pg_sequence s on s.seqrelid = sc.oid)
                         on p.classid = 'pg_catalog.pg_class'::regclass
                         and p.refclassid = 'pg_catalog.pg_class'::regclass
                         and p.refobjid = a.attrelid and p.refobjsubid = a.attnum
                         and p.deptype in ('a', 'i')
              where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
              order by a.attnum, sc.oid"
        );
        let rows = self
            .tx
            .query_typed(&sql, &[(&self.oid, Type::OID)])
            .during(step())?;
        let mut columns = Vec::new();
        let (mut sequences, mut defaults) = (Vec::new(), Vec::new());
        for row in &rows {
            let column = Column::read(row, self.table).during(step())?;
            if let Some(sequence) = column.owns.clone() {
                sequences.push(Element {
                    name: sequence.clone(),
                    kind: Kind::Sequence {
                        sequence,
                        column: quote::ident(&column.name),
                        foreign: column.owns_foreign,
                    },
                });
            }
            // A column may own several sequences, and has a row for each.
            if self.columns.last() == Some(&column.name) {
                continue;
            }
            if let Some(expression) = column.default {
                defaults.push(Element {
                    name: column.name.clone(),
                    kind: Kind::Default { expression },
                });
            }
            columns.push(column.sql);
            self.columns.push(column.name);
        }
        let row = self
            .tx
            .query_typed_one(
                "select relpersistence::text, relreplident::text,
                        pg_catalog.pg_get_partkeydef(oid)
                   from pg_catalog.pg_class
                  where oid = $1",
                &[(&self.oid, Type::OID)],
            )
            .during(step())?;
        let persistence: String = row.try_get(0).during(step())?;
        let identity: String = row.try_get(1).during(step())?;
        self.elements.push(Element {
            name: self.table.to_string(),
            kind: Kind::Table {
                persistence: match persistence.as_str() {
                    "u" => "UNLOGGED ",
                    _ => "",
                },
                columns,
                partition_key: row.try_get(2).during(step())?,
                replica_identity: match identity.as_str() {
                    "f" => Some("FULL"),
                    "n" => Some("NOTHING"),
                    _ => None,
                },
            },
        });
        self.elements.append(&mut sequences);
        self.elements.append(&mut defaults);
        Ok(())
    }

    /// Those above before those below. Indexes and constraints of the table come to them when it gets
    /// its own.
    fn partitions(&mut self) -> Result<(), DbError> {
        self.each(
            "select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
                    pg_catalog.quote_ident(pn.nspname) || '.' || pg_catalog.quote_ident(p.relname),
                    pg_catalog.pg_get_expr(c.relpartbound, c.oid),
                    pg_catalog.pg_get_partkeydef(c.oid)
               from pg_catalog.pg_partition_tree($1) t
               join pg_catalog.pg_class c on c.oid = t.relid and c.relkind in ('r', 'p')
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
               join pg_catalog.pg_class p on p.oid = t.parentrelid
               join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
              where t.level > 0
              order by t.level, c.oid",
            |row| {
                Ok(Element {
                    name: row.try_get(0)?,
                    kind: Kind::Partition {
                        parent: row.try_get(1)?,
                        bound: row.try_get(2)?,
                        partition_key: row.try_get(3)?,
                    },
                })
            },
        )
    }

    /// Of the kinds that stand for themselves: constraint triggers come with the triggers, NOT NULL
    /// with the columns.
    fn constraints(&mut self) -> Result<(), DbError> {
        self.each(
            "select k.conname::text, pg_catalog.pg_get_constraintdef(k.oid), k.contype = 'p',
                    k.contype in ('p', 'u', 'x'), coalesce(i.indisclustered, false),
                    coalesce(i.indisreplident, false)
               from pg_catalog.pg_constraint k
               left join pg_catalog.pg_index i on i.indexrelid = k.conindid
              where k.conrelid = $1 and k.contype in ('p', 'u', 'x', 'c')
              order by k.contype <> 'p', k.oid",
            |row| {
                Ok(Element {
                    name: row.try_get(0)?,
                    kind: Kind::Constraint {
                        definition: row.try_get(1)?,
                        primary: row.try_get(2)?,
                        has_index: row.try_get(3)?,
                        marks: Marks {
                            clustered: row.try_get(4)?,
                            replica_identity: row.try_get(5)?,
                        },
                    },
                })
            },
        )
    }

    fn indexes(&mut self) -> Result<(), DbError> {
        let rendered = self.rendered;
        self.each(
            "select c.relname::text, pg_catalog.pg_get_indexdef(i.indexrelid), i.indisunique,
                    n.nspname::text, i.indisclustered, i.indisreplident
               from pg_catalog.pg_index i
               join pg_catalog.pg_class c on c.oid = i.indexrelid
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where i.indrelid = $1
                and not exists (select from pg_catalog.pg_constraint k
                                 where k.conindid = i.indexrelid and k.conrelid = i.indrelid
                                   and k.contype in ('p', 'u', 'x'))
              order by i.indexrelid",
            |row| {
                let (name, definition): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                let unique = row.try_get(2)?;
                // That of a partitioned table is written with ONLY, and would not come to the partitions.
                let whole = retarget::index(&definition, &name, unique, rendered, &name, rendered);
                Ok(Element {
                    name,
                    kind: Kind::Index {
                        definition: whole.unwrap_or(definition),
                        unique,
                        schema: row.try_get(3)?,
                        marks: Marks {
                            clustered: row.try_get(4)?,
                            replica_identity: row.try_get(5)?,
                        },
                    },
                })
            },
        )
    }

    fn triggers(&mut self) -> Result<(), DbError> {
        self.each(
            "select t.tgname::text, pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled::text
               from pg_catalog.pg_trigger t
              where t.tgrelid = $1 and not t.tgisinternal
              order by t.oid",
            |row| {
                let firing: String = row.try_get(2)?;
                Ok(Element {
                    name: row.try_get(0)?,
                    kind: Kind::Trigger {
                        definition: row.try_get(1)?,
                        firing: Firing::from_letter(&firing),
                    },
                })
            },
        )
    }

    fn rules(&mut self) -> Result<(), DbError> {
        self.each(
            "select r.rulename::text, pg_catalog.pg_get_ruledef(r.oid), r.ev_enabled::text
               from pg_catalog.pg_rewrite r
              where r.ev_class = $1 and r.rulename <> '_RETURN'
              order by r.oid",
            |row| {
                let firing: String = row.try_get(2)?;
                Ok(Element {
                    name: row.try_get(0)?,
                    kind: Kind::Rule {
                        definition: row.try_get(1)?,
                        firing: Firing::from_letter(&firing),
                    },
                })
            },
        )
    }

    /// One element for each role; grants of several grantors become one.
    fn grants(&mut self) -> Result<(), DbError> {
        self.each(
            "with g as (select c.relowner, x.grantee, x.privilege_type, x.is_grantable
                          from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) x
                         where c.oid = $1),
                  owners as (select c.relowner,
                                    (select pg_catalog.count(distinct x.privilege_type)
                                       from pg_catalog.aclexplode(
                                                pg_catalog.acldefault('r', c.relowner)) x) as all_of
                               from pg_catalog.pg_class c
                              where c.oid = $1 and c.relacl is not null),
                  per_role as (select g.grantee as role,
                                      array(select distinct p.privilege_type from g p
                                             where p.grantee = g.grantee
                                               and not exists (select from g q
                                                                where q.grantee = p.grantee
                                                                  and q.is_grantable
                                                                  and q.privilege_type
                                                                      = p.privilege_type)
                                             order by 1) as plain,
                                      array(select distinct p.privilege_type from g p
                                             where p.grantee = g.grantee and p.is_grantable
                                             order by 1) as grantable
                                 from g group by g.grantee)
             select coalesce(pg_catalog.quote_ident(a.rolname), 'PUBLIC'),
                    coalesce(p.plain, '{}'), coalesce(p.grantable, '{}'),
                    o.relowner is not null
                        and pg_catalog.cardinality(coalesce(p.plain, '{}'))
                            + pg_catalog.cardinality(coalesce(p.grantable, '{}')) < o.all_of,
                    coalesce(a.rolname::text, 'PUBLIC')
               from per_role p
               full join owners o on o.relowner = p.role
               left join pg_catalog.pg_roles a on a.oid = coalesce(p.role, o.relowner)
              order by o.relowner is null, p.role",
            |row| {
                Ok(Element {
                    name: row.try_get(4)?,
                    kind: Kind::Grant {
                        role: row.try_get(0)?,
                        plain: row.try_get(1)?,
                        grantable: row.try_get(2)?,
                        revoke_first: row.try_get(3)?,
                    },
                })
            },
        )
    }

    fn owner(&mut self) -> Result<(), DbError> {
        self.each(
            "select a.rolname::text, pg_catalog.quote_ident(a.rolname)
               from pg_catalog.pg_class c
               join pg_catalog.pg_roles a on a.oid = c.relowner
              where c.oid = $1",
            |row| {
                Ok(Element {
                    name: row.try_get(0)?,
                    kind: Kind::Owner {
                        role: row.try_get(1)?,
                    },
                })
            },
        )
    }

    fn parents(&mut self) -> Result<(), DbError> {
        self.each(
            "select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
               from pg_catalog.pg_inherits i
               join pg_catalog.pg_class c on c.oid = i.inhparent
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where i.inhrelid = $1
              order by i.inhseqno",
            |row| {
                let parent: String = row.try_get(0)?;
                Ok(Element {
                    name: parent.clone(),
                    kind: Kind::Parent { parent },
                })
            },
        )
    }
}

/// A column as one line of `CREATE TABLE`.
struct Column {
    name: String,
    sql: String,
    default: Option<String>,
    /// A sequence that goes with it.
    owns: Option<String>,
    owns_foreign: bool,
}

impl Column {
    fn read(row: &postgres::Row, table: &TableName) -> Result<Column, postgres::Error> {
        let name: String = row.try_get(0)?;
        let type_name: String = row.try_get(1)?;
        let mut sql = format!("{} {type_name}", quote::ident(&name));
        if let Some(collation) = row.try_get::<_, Option<String>>(2)? {
            sql += &format!(" COLLATE {collation}");
        }
        let expression: Option<String> = row.try_get(3)?;
        let generated: String = row.try_get(4)?;
        let identity: String = row.try_get(5)?;
        let mut default = None;
        if let Some(expression) = expression {
            match generated.as_str() {
                "" => default = Some(expression),
                "s" => sql += &format!(" GENERATED ALWAYS AS ({expression}) STORED"),
                _ => sql += &format!(" GENERATED ALWAYS AS ({expression})"),
            }
        }
        if row.try_get(6)? {
            // From 18 on NOT NULL has a name, which matters if somebody chose it.
            let constraint: Option<String> = row.try_get(7)?;
            let usual = format!("{}_{name}_not_null", table.name());
            if let Some(constraint) = constraint.filter(|constraint| *constraint != usual) {
                sql += &format!(" CONSTRAINT {}", quote::ident(&constraint));
            }
            sql += " not null";
            if row.try_get(8)? {
                sql += " no inherit";
            }
        }
        let sequence: Option<String> = row.try_get(9)?;
        if !identity.is_empty() {
            let how = if identity == "a" {
                "ALWAYS"
            } else {
                "BY DEFAULT"
            };
            let options = match Parameters::from_row(row, 10)? {
                Some(parameters) => parameters.of_identity(),
                None => String::new(),
            };
            sql += &format!(" GENERATED {how} AS IDENTITY{options}");
        }
        Ok(Column {
            name,
            sql,
            default,
            owns: sequence.filter(|_| identity.is_empty()),
            owns_foreign: row.try_get::<_, Option<bool>>(17)?.unwrap_or_default(),
        })
    }
}
