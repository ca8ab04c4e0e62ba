//! Words for the shell.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A text as one word of a shell, whatever it holds.
pub fn quote(text: impl AsRef<OsStr>) -> OsString {
    let mut quoted = vec![b'\''];
    for &byte in text.as_ref().as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(br"'\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    OsString::from_vec(quoted)
}

/// The words that a shell makes of a plain command line: blanks part them, quotes and backslashes hold
/// them together. Nothing is expanded. `None` if a quote is not closed.
pub fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// Whether a shell takes a text for words of one command, and nothing more.
pub fn is_plain(text: &OsStr) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" /._-,:@+'".contains(byte);
    text.as_bytes().iter().all(plain)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use super::{quote, split};

    #[test]
    fn a_quoted_text_is_one_word_of_a_shell() -> std::io::Result<()> {
        for text in [
            &b"plain"[..],
            b"",
            b"two words",
            b"it's $HOME `id` \\ \"x\" ;*?\n!",
            b"caf\xe9",
        ] {
            let mut command = OsStr::new("printf %s ").to_owned();
            command.push(quote(OsStr::from_bytes(text)));
            let output = Command::new("sh").arg("-c").arg(command).output()?;
            assert_eq!(output.stdout, text);
        }
        Ok(())
    }

    #[test]
    fn a_command_line_is_split_as_a_shell_does() -> std::io::Result<()> {
        for text in [
            "",
            "  ",
            "ssh -F file -p 2222",
            "ssh -o 'ProxyCommand=nc %h 22' \"a \\\" b\" c\\ d ''",
            "a'b'\"c\"d",
        ] {
            let command = format!("for w in {text}; do printf '%s\\n' \"$w\"; done");
            let output = Command::new("sh").arg("-c").arg(command).output()?;
            let words = split(text).expect(text);
            let shown: String = words.iter().map(|word| format!("{word}\n")).collect();
            assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "{text}");
        }
        for text in ["'", "a \"b", "a\\"] {
            assert_eq!(split(text), None, "{text}");
        }
        Ok(())
    }
}
