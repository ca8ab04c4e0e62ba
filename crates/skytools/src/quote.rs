//! SQL quoting: literals, identifiers, qualified names, on bytes.

/// Quotes an identifier if it needs it: `abc` → `abc`, `mixCase` → `"mixCase"`, `from` → `"from"`.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text literal, `E'…'` if it holds a backslash.
pub fn literal(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if doubled.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}
