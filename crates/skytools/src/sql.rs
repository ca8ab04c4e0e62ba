//! SQL tokens and statements.

use crate::quote::Strings;

/// Kind of a [`Token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// `'…'` or `E'…'`, with its quotes.
    Str,
    /// Name or keyword, bare or in double quotes; with [`Tokens::qualified`] a dotted chain.
    Ident,
    /// `$tag$…$tag$`.
    Dollar,
    /// Digit, then digits, points and `e`.
    Number,
    /// `$1`.
    Parameter,
    /// `%(name)s` or `{name}`, only with [`Tokens::placeholders`].
    Placeholder,
    /// Blanks and comments.
    Space,
    /// Run of operator characters, or one of `,()[].:;`.
    Symbol,
    /// A character that begins no token of SQL.
    Error,
    /// The rest of a text that ends within a string, quoted name, dollar quote or comment.
    Unterminated,
}

/// A piece of SQL text; all pieces together are the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// The text, with quotes.
    pub text: &'a [u8],
    /// Offset in the input right behind the text.
    pub end: usize,
}

impl Token<'_> {
    /// Whether this is a bare word, compared without regard to case.
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Ident && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether this is the given symbol.
    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol.as_bytes()
    }
}

/// Splits SQL text into tokens, borrowed from it.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    input: &'a [u8],
    at: usize,
    strings: Strings,
    skip_space: bool,
    qualified: bool,
    placeholders: bool,
}

impl<'a> Tokens<'a> {
    /// Reads `input`, in which plain `'…'` are as `strings` says.
    pub fn new(input: &'a (impl AsRef<[u8]> + ?Sized), strings: Strings) -> Tokens<'a> {
        Tokens {
            input: input.as_ref(),
            at: 0,
            strings,
            skip_space: false,
            qualified: false,
            placeholders: false,
        }
    }

    /// Leaves out white space and comments.
    #[must_use]
    pub fn skip_space(mut self) -> Self {
        self.skip_space = true;
        self
    }

    /// Makes one token of a dotted name such as `a."b"`.
    #[must_use]
    pub fn qualified(mut self) -> Self {
        self.qualified = true;
        self
    }

    /// Recognises `%(name)s` and `{name}`.
    #[must_use]
    pub fn placeholders(mut self) -> Self {
        self.placeholders = true;
        self
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    #[inline]
    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.input[self.at..];
            let (kind, len) = match self.token(rest, *rest.first()?) {
                Some(found) => found,
                None => (TokenKind::Unterminated, rest.len()),
            };
            self.at += len;
            if kind != TokenKind::Space || !self.skip_space {
                return Some(Token {
                    kind,
                    text: &rest[..len],
                    end: self.at,
                });
            }
        }
    }
}

impl Tokens<'_> {
    /// Kind and length of the token at the beginning of `rest`; `None` if it does not end.
    #[inline]
    fn token(&self, rest: &[u8], first: u8) -> Option<(TokenKind, usize)> {
        let second = rest.get(1).copied().unwrap_or(0);
        Some(match first {
            b'\'' => (TokenKind::Str, string_len(rest, self.strings)?),
            b'e' | b'E' if second == b'\'' => {
                let len = string_len(&rest[1..], Strings::Backslash)?;
                (TokenKind::Str, len + 1)
            }
            b'"' => (TokenKind::Ident, self.ident_len(rest)?),
            _ if is_ident_start(first) => (TokenKind::Ident, self.ident_len(rest)?),
            b'$' => match dollar_tag_len(rest) {
                Some(tag) => (TokenKind::Dollar, dollar_len(rest, tag)?),
                None if second.is_ascii_digit() => {
                    let digits = count(&rest[1..], |byte| byte.is_ascii_digit());
                    (TokenKind::Parameter, digits + 1)
                }
                None => (TokenKind::Error, 1),
            },
            b'0'..=b'9' => {
                let number = |byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E');
                (TokenKind::Number, count(rest, number))
            }
            _ if is_space(first) || is_comment(rest) => match space_len(rest) {
                0 => return None,
                len => (TokenKind::Space, len),
            },
            b'%' | b'{' if self.placeholders => match placeholder_len(rest) {
                Some(len) => (TokenKind::Placeholder, len),
                None if first == b'%' => (TokenKind::Symbol, operator_len(rest)),
                None => (TokenKind::Error, 1),
            },
            _ if is_operator(first) => (TokenKind::Symbol, operator_len(rest)),
            b',' | b'(' | b')' | b'[' | b']' | b'.' | b':' | b';' => (TokenKind::Symbol, 1),
            _ => (TokenKind::Error, 1),
        })
    }

    /// Length of a name; `None` if its first part is an unterminated quoted one.
    #[inline]
    fn ident_len(&self, rest: &[u8]) -> Option<usize> {
        let mut len = name_len(rest)?;
        while self.qualified && rest.get(len) == Some(&b'.') {
            match name_len(&rest[len + 1..]) {
                Some(part @ 1..) => len += 1 + part,
                _ => break,
            }
        }
        Some(len)
    }
}

#[inline]
fn count(text: &[u8], matches: impl Fn(u8) -> bool) -> usize {
    (text.iter().position(|&byte| !matches(byte))).unwrap_or(text.len())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

/// Bytes above ASCII belong to letters of whatever encoding, as the server sees it.
fn is_ident_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_ident(byte: u8) -> bool {
    is_ident_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_operator(byte: u8) -> bool {
    b"+-*~!@#^&|?/%<>=".contains(&byte)
}

fn is_comment(rest: &[u8]) -> bool {
    rest.starts_with(b"--") || rest.starts_with(b"/*")
}

/// Length of a bare or quoted name, 0 if there is none, `None` if it does not end.
#[inline]
fn name_len(rest: &[u8]) -> Option<usize> {
    match rest.first() {
        Some(b'"') => doubled_len(rest, b'"'),
        Some(&first) if is_ident_start(first) => Some(count(rest, is_ident)),
        _ => Some(0),
    }
}

/// Length of a text in quotes in which a doubled quote stands for one.
#[inline]
fn doubled_len(rest: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        at += rest[at..].iter().position(|&byte| byte == quote)? + 1;
        if rest.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

#[inline]
fn string_len(rest: &[u8], strings: Strings) -> Option<usize> {
    if strings == Strings::Standard {
        return doubled_len(rest, b'\'');
    }
    let mut at = 1;
    loop {
        at += (rest[at..].iter()).position(|byte| matches!(byte, b'\'' | b'\\'))?;
        let escaping = rest[at] == b'\\' || rest.get(at + 1) == Some(&b'\'');
        at += if escaping { 2 } else { 1 };
        if !escaping {
            return Some(at);
        }
        if at > rest.len() {
            return None;
        }
    }
}

/// Length of the `$tag$` that opens a dollar quote.
fn dollar_tag_len(rest: &[u8]) -> Option<usize> {
    let tag = count(&rest[1..], |byte| is_ident(byte) && byte != b'$');
    let opens = rest.get(tag + 1) == Some(&b'$') && !rest[1].is_ascii_digit();
    opens.then_some(tag + 2)
}

fn dollar_len(rest: &[u8], tag_len: usize) -> Option<usize> {
    let (tag, body) = rest.split_at(tag_len);
    let mut at = 0;
    loop {
        at += body[at..].iter().position(|&byte| byte == b'$')?;
        if body[at..].starts_with(tag) {
            return Some(at + 2 * tag_len);
        }
        at += 1;
    }
}

/// Length of a run of blanks and comments, before a comment that does not end.
fn space_len(rest: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let here = &rest[at..];
        at += if here.starts_with(b"--") {
            count(here, |byte| byte != b'\n' && byte != b'\r')
        } else if here.starts_with(b"/*") {
            match comment_len(here) {
                Some(len) => len,
                None => return at,
            }
        } else if here.first().is_some_and(|&byte| is_space(byte)) {
            count(here, is_space)
        } else {
            return at;
        };
    }
}

/// Length of a `/* … */` comment, which may hold others.
fn comment_len(rest: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match rest.get(at..at + 2)? {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
            }
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Length of a run of operator characters, which a comment ends.
fn operator_len(rest: &[u8]) -> usize {
    let run = count(rest, is_operator);
    (1..run).find(|&at| is_comment(&rest[at..])).unwrap_or(run)
}

fn placeholder_len(rest: &[u8]) -> Option<usize> {
    if let Some(name) = rest.strip_prefix(b"%(") {
        let len = count(name, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return (len > 0 && name[len..].starts_with(b")s")).then_some(len + 4);
    }
    let name = rest.strip_prefix(b"{")?;
    let len = count(name, |byte| byte != b'}');
    (len > 0 && len < name.len()).then_some(len + 2)
}

/// Why a script cannot be split into statements.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptError {
    line: usize,
    what: &'static str,
}

/// Splits a script into its statements, each with its semicolon.
///
/// White space and comments before a statement are dropped, so are statements that are only `;`; a
/// last statement without `;` is returned as it is. Semicolons in parentheses, strings, dollar
/// quotes, comments and `BEGIN ATOMIC … END` do not end a statement.
///
/// # Errors
/// Unbalanced parentheses, a string or comment without an end, `copy … from stdin` and psql
/// meta-commands.
pub fn statements(script: &str, strings: Strings) -> Result<Vec<&str>, ScriptError> {
    let mut found = Vec::new();
    let mut statement = Statement::default();
    for token in Tokens::new(script, strings) {
        let start = token.end - token.text.len();
        let fail = |what| ScriptError {
            line: script[..start].matches('\n').count() + 1,
            what,
        };
        match token.kind {
            TokenKind::Space => continue,
            TokenKind::Unterminated => return Err(fail("quoted text or comment does not end")),
            TokenKind::Error if token.text == b"\\" => {
                return Err(fail("psql meta-commands are not supported"));
            }
            _ => {}
        }
        let ended = statement.add(token, start).map_err(fail)?;
        if ended {
            let from = std::mem::take(&mut statement).start.unwrap_or(start);
            if from < start {
                found.push(&script[from..token.end]);
            }
        }
    }
    if let Some(start) = statement.start {
        if statement.depth > 0 {
            return Err(ScriptError {
                line: script.matches('\n').count() + 1,
                what: UNBALANCED,
            });
        }
        found.push(&script[start..]);
    }
    Ok(found)
}

const UNBALANCED: &str = "syntax error - unbalanced parenthesis";

/// What has been seen of the current statement.
#[derive(Debug, Default)]
struct Statement {
    start: Option<usize>,
    first: Option<Word>,
    previous: Option<Word>,
    /// Open parentheses; an open `BEGIN ATOMIC`, and `CASE` within it, count as one each.
    depth: usize,
    /// `depth` outside `BEGIN ATOMIC`.
    atomic: Option<usize>,
}

/// Words that decide where a statement ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Create,
    Copy,
    From,
    Stdin,
    Begin,
    Atomic,
    Case,
    End,
    Other,
}

impl Word {
    fn of(token: &Token<'_>) -> Word {
        let words = [
            ("create", Word::Create),
            ("copy", Word::Copy),
            ("from", Word::From),
            ("stdin", Word::Stdin),
            ("begin", Word::Begin),
            ("atomic", Word::Atomic),
            ("case", Word::Case),
            ("end", Word::End),
        ];
        (words.into_iter())
            .find_map(|(text, word)| token.is_word(text).then_some(word))
            .unwrap_or(Word::Other)
    }
}

impl Statement {
    /// Takes the next token, and says whether it ends the statement.
    fn add(&mut self, token: Token<'_>, start: usize) -> Result<bool, &'static str> {
        self.start.get_or_insert(start);
        let word = Word::of(&token);
        let first = *self.first.get_or_insert(word);
        match (self.previous.replace(word), word) {
            (Some(Word::From), Word::Stdin) if first == Word::Copy && self.depth == 0 => {
                return Err("copy from stdin not supported");
            }
            (Some(Word::Begin), Word::Atomic) if first == Word::Create => {
                self.atomic.get_or_insert(self.depth);
                self.depth += 1;
            }
            (_, Word::Case) if self.atomic.is_some() => self.depth += 1,
            (_, Word::End) if self.atomic.is_some() => {
                self.depth = self.depth.checked_sub(1).ok_or(UNBALANCED)?;
                self.atomic = self.atomic.filter(|&outside| outside < self.depth);
            }
            _ if token.is_symbol("(") => self.depth += 1,
            _ if token.is_symbol(")") => {
                self.depth = self.depth.checked_sub(1).ok_or(UNBALANCED)?;
            }
            _ if token.is_symbol(";") => return Ok(self.depth == 0),
            _ => {}
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
