//! Partial SQL, the payload of `sqltriga` and `logtriga`: the part of a statement behind the table.
//!
//! Applying an event needs no parsing: see [`statement`]. Parsing is for those who look at columns.

use std::borrow::Cow;

use crate::quote::{self, Strings};
use crate::record::{Name, Record, Value};
use crate::sql::{Token, TokenKind, Tokens};

/// Operation of a data event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `I`: `(c1,c2) values ('v1',null)`.
    Insert,
    /// `U`: `c1='v1',c2=NULL where k1='v1' and k2='v2'`.
    Update,
    /// `D`: `k1='v1' and k2='v2'`.
    Delete,
}

impl Op {
    /// The operation of an `ev_type`, `I`, `U` or `D`.
    ///
    /// # Errors
    /// [`Error::Syntax`] on any other.
    pub fn parse(text: &[u8]) -> Result<Op, Error> {
        match text {
            b"I" => Ok(Op::Insert),
            b"U" => Ok(Op::Update),
            b"D" => Ok(Op::Delete),
            _ => Err(Error::Syntax),
        }
    }
}

/// Why a text is not partial SQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An unknown operation, a wrong symbol, something that is neither name nor value, or nothing.
    #[error("syntax error")]
    Syntax,
    /// The column list of an insert is not followed by `values`.
    #[error("syntax error, expected VALUES")]
    ExpectedValues,
    /// `values` is not followed by a parenthesis.
    #[error("syntax error, expected (")]
    ExpectedParenthesis,
    /// A list goes on with neither a comma nor its end.
    #[error("expected , or ) got {0}")]
    ExpectedListEnd(String),
    /// There is text behind the closing parenthesis.
    #[error("expected EOF, got {0}")]
    ExpectedEnd(String),
    /// The assignments of an update are not followed by `where`.
    #[error("syntax error, expected WHERE or , got {0}")]
    ExpectedWhere(String),
    /// A condition is followed by something else than `and`.
    #[error("syntax error, expected AND got {0}")]
    ExpectedAnd(String),
    /// An insert has more names than values, or fewer.
    #[error("syntax error, fields do not match values")]
    CountMismatch,
    /// A string, quoted name, dollar quote or comment does not end.
    #[error("syntax error, quoted text does not end")]
    Unterminated,
    /// The text holds a NUL byte, or a literal is broken.
    #[error(transparent)]
    Quote(#[from] quote::Error),
}

/// What partial SQL says about a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row<'a> {
    /// Columns of the condition; empty for an insert.
    pub keys: Record<'a>,
    /// Columns that are written; empty for a delete.
    pub values: Record<'a>,
}

impl<'a> Row<'a> {
    /// One record of all columns: those written, then the keys, which win where both are there.
    pub fn merge(self) -> Record<'a> {
        self.values.into_iter().chain(self.keys).collect()
    }
}

/// Reads partial SQL. Plain `'…'` are as `strings` says: [`Strings::Backslash`] is for streams of
/// the standalone 2.1 trigger, all others are unambiguous.
///
/// Names and values borrow from `sql` unless unquoting changes them.
///
/// # Errors
/// The text is not exactly what the grammar allows for `op`.
pub fn parse(op: Op, sql: &[u8], strings: Strings) -> Result<Row<'_>, Error> {
    if sql.contains(&0) {
        return Err(quote::Error::NulByte.into());
    }
    let mut parser = Parser {
        tokens: Tokens::new(sql, strings).skip_space(),
        strings,
    };
    let mut row = Row::default();
    match op {
        Op::Insert => row.values = parser.insert()?,
        Op::Update => {
            row.values = parser.assignments()?;
            row.keys = parser.conditions()?;
        }
        Op::Delete => row.keys = parser.conditions()?,
    }
    Ok(row)
}

/// Appends the statement that applies an event to a table, named raw; `data` is not looked at.
pub fn statement(op: Op, table: &[u8], data: &[u8], out: &mut Vec<u8>) {
    let (before, after): (&[u8], &[u8]) = match op {
        Op::Insert => (b"insert into ", b" "),
        Op::Update => (b"update only ", b" set "),
        Op::Delete => (b"delete from only ", b" where "),
    };
    out.extend_from_slice(before);
    quote::push_fqident(table, out);
    out.extend_from_slice(after);
    out.extend_from_slice(data);
    out.push(b';');
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    strings: Strings,
}

impl<'a> Parser<'a> {
    /// `(c1,c2) values ('v1',null)`
    fn insert(&mut self) -> Result<Record<'a>, Error> {
        if !self.next()?.is_some_and(|token| token.is_symbol("(")) {
            return Err(Error::Syntax);
        }
        let names = self.list(Self::name)?;
        if !self.next()?.is_some_and(|token| token.is_word("values")) {
            return Err(Error::ExpectedValues);
        }
        if !self.next()?.is_some_and(|token| token.is_symbol("(")) {
            return Err(Error::ExpectedParenthesis);
        }
        let values = self.list(Self::value)?;
        if let Some(token) = self.next()? {
            return Err(Error::ExpectedEnd(shown(Some(token))));
        }
        if names.len() != values.len() {
            return Err(Error::CountMismatch);
        }
        Ok(names.into_iter().zip(values).collect())
    }

    /// The rest of a list in parentheses.
    fn list<T>(
        &mut self,
        read: impl Fn(&Self, Option<Token<'a>>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        loop {
            let token = self.next()?;
            if items.is_empty() && token.is_some_and(|token| token.is_symbol(")")) {
                return Ok(items);
            }
            items.push(read(self, token)?);
            match self.next()? {
                Some(token) if token.is_symbol(",") => {}
                Some(token) if token.is_symbol(")") => return Ok(items),
                other => return Err(Error::ExpectedListEnd(shown(other))),
            }
        }
    }

    /// `c1='v1',c2=NULL where`
    fn assignments(&mut self) -> Result<Record<'a>, Error> {
        let mut columns = Vec::new();
        loop {
            columns.push(self.pair()?);
            match self.next()? {
                Some(token) if token.is_symbol(",") => {}
                Some(token) if token.is_word("where") => return Ok(Record::new(columns)),
                other => return Err(Error::ExpectedWhere(shown(other))),
            }
        }
    }

    /// `k1='v1' and k2='v2'`
    fn conditions(&mut self) -> Result<Record<'a>, Error> {
        let mut columns = Vec::new();
        loop {
            let (name, value) = self.pair()?;
            if value.is_none() {
                // `k = null` is never true: the statement would find no row.
                return Err(Error::Syntax);
            }
            columns.push((name, value));
            match self.next()? {
                None => return Ok(Record::new(columns)),
                Some(token) if token.is_word("and") => {}
                other => return Err(Error::ExpectedAnd(shown(other))),
            }
        }
    }

    fn pair(&mut self) -> Result<(Name<'a>, Value<'a>), Error> {
        let token = self.next()?;
        let name = self.name(token)?;
        if !self.next()?.is_some_and(|token| token.is_symbol("=")) {
            return Err(Error::Syntax);
        }
        let token = self.next()?;
        Ok((name, self.value(token)?))
    }

    #[expect(clippy::unused_self, reason = "has the shape of value(), for list()")]
    fn name(&self, token: Option<Token<'a>>) -> Result<Name<'a>, Error> {
        match token {
            Some(token) if token.kind == TokenKind::Ident => Ok(quote::unquote_ident(token.text)?),
            _ => Err(Error::Syntax),
        }
    }

    fn value(&self, token: Option<Token<'a>>) -> Result<Value<'a>, Error> {
        let token = token.ok_or(Error::Syntax)?;
        match token.kind {
            TokenKind::Str | TokenKind::Dollar => {
                Ok(quote::unquote_literal(token.text, self.strings)?)
            }
            TokenKind::Number => Ok(Some(Cow::Borrowed(token.text))),
            _ if token.is_word("null") => Ok(None),
            _ => Err(Error::Syntax),
        }
    }

    fn next(&mut self) -> Result<Option<Token<'a>>, Error> {
        let token = self.tokens.next();
        match token.map(|token| token.kind) {
            Some(TokenKind::Unterminated) => Err(Error::Unterminated),
            _ => Ok(token),
        }
    }
}

/// A token for an error message, without data: of a string only that it is one.
fn shown(token: Option<Token<'_>>) -> String {
    match token {
        None => "end of text".to_owned(),
        Some(token) if matches!(token.kind, TokenKind::Str | TokenKind::Dollar) => {
            "a string".to_owned()
        }
        Some(token) => String::from_utf8_lossy(token.text).into_owned(),
    }
}

#[cfg(test)]
mod tests;
