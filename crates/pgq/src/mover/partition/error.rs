use skytools::db::DbError;
use skytools::dbstruct::StructError;
use skytools::table::TableName;

/// Why a partition cannot be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// A key whose value the server cannot use.
    #[error("{key}: {why}")]
    Key {
        /// The key.
        key: &'static str,
        /// What the server says of it.
        why: String,
    },
    /// A name that the server would cut.
    #[error(
        "name {name} has {bytes} bytes, and the server cuts names at 63: two tables could become one; \
         set long_names = hash, or use shorter names"
    )]
    LongName {
        /// The name.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// Nothing says how to make a table that is missing.
    #[error("table {0} does not exist; create it, or set part_template")]
    NoTemplate(TableName),
    /// The template did not make the table.
    #[error("table {0} does not exist although part_template was run")]
    NotMade(TableName),
    /// The template wants the key of a table without one.
    #[error("part_template names _PKEY, and the rows for table {0} have no key")]
    NoKey(TableName),
    /// Something of that name is there that takes no rows.
    #[error("{0} is no table")]
    NoTable(TableName),
    /// A table of the partition's name does not belong to the parent.
    #[error("table {table} exists, but is no partition of {parent}; attach it, or rename it")]
    NotAttached {
        /// The table.
        table: TableName,
        /// Where it should be.
        parent: TableName,
    },
    /// A partition of that name is for other rows.
    #[error("partition {table} is {found}, and should be from '{from}' to '{to}'")]
    OtherBounds {
        /// The partition.
        table: TableName,
        /// Its bounds, in the words of the server.
        found: String,
        /// First value that it should have.
        from: String,
        /// First value that it should not.
        to: String,
    },
    /// The table that should have partitions does not exist.
    #[error("table {0} does not exist, so it can have no partitions")]
    NoParent(TableName),
    /// The parent is not partitioned by range of the column.
    #[error("table {parent} is not partitioned by range of a date or timestamp column {column}")]
    OtherKey {
        /// The parent.
        parent: TableName,
        /// The column.
        column: String,
    },
    /// The column that partitions are by is missing, or has no time in it.
    #[error("table {parent} has no column {column} of the type date or timestamp")]
    NoColumn {
        /// The parent.
        parent: TableName,
        /// The column.
        column: String,
    },
    /// The default partition has rows of a new one.
    #[error(
        "cannot attach {table}: the default partition of {parent} has rows that belong to it; move them \
         away first"
    )]
    InDefault {
        /// The new partition.
        table: TableName,
        /// Its parent.
        parent: TableName,
    },
    /// The server is to know the bounds of a partition whose name does not tell them.
    #[error(
        "partition {table} cannot have bounds: {label} is none of YYYY, YYYY_MM, YYYY_MM_DD, \
         YYYY_MM_DD_HH; use part_style = template"
    )]
    NoSpan {
        /// The partition.
        table: TableName,
        /// The end of its name.
        label: String,
    },
    /// A definition could not be copied.
    #[error(transparent)]
    Struct(#[from] StructError),
    /// The server failed, or refused.
    #[error(transparent)]
    Db(#[from] DbError),
}
