//! Table names and catalog look-ups.

/// A relation: schema and name in raw form, as queues and configuration carry them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    schema: String,
    name: String,
}

impl TableName {
    /// Splits `schema.name` at the first dot; a name without one is in `public`.
    pub fn parse(text: &str) -> TableName {
        match text.split_once('.') {
            Some((schema, name)) => TableName {
                schema: schema.to_owned(),
                name: name.to_owned(),
            },
            None => TableName {
                schema: "public".to_owned(),
                name: text.to_owned(),
            },
        }
    }

    /// The schema, unquoted.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The name within the schema, unquoted.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Both parts quoted where needed, for SQL text: `public."Order"`.
    pub fn quoted(&self) -> String {
        format!(
            "{}.{}",
            crate::quote::ident(&self.schema),
            crate::quote::ident(&self.name)
        )
    }
}

/// The raw form `schema.name`, as stored in queues and registration tables.
impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}
