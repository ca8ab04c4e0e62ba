//! Text that need not be UTF-8.

use std::borrow::Cow;

use bytes::BytesMut;
use postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};

/// Text as the server sent it: bytes, because a SQL_ASCII database may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// For messages: what is not UTF-8 is replaced.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Text {
        Text(bytes)
    }
}

impl FromSql<'_> for Text {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Text, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Text(raw.to_vec()))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN
        )
    }
}

impl ToSql for Text {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        <Text as FromSql>::accepts(ty)
    }

    to_sql_checked!();
}

/// A value in the text form of whatever type the server finds for it: a parameter of the type
/// [`Type::UNKNOWN`]. In a row it is text that is not copied.
#[derive(Debug, Clone, Copy)]
pub struct TextValue<'a>(pub &'a [u8]);

impl<'a> FromSql<'a> for TextValue<'a> {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> Result<TextValue<'a>, Box<dyn std::error::Error + Sync + Send>> {
        Ok(TextValue(raw))
    }

    fn accepts(ty: &Type) -> bool {
        <Text as FromSql>::accepts(ty)
    }
}

impl ToSql for TextValue<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
