//! Words for the shell.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A text as one word of a shell, whatever it holds.
pub(crate) fn quote(text: impl AsRef<OsStr>) -> OsString {
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

/// Whether a shell takes a text for words of one command, and nothing more.
pub(crate) fn is_plain(text: &OsStr) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" /._-,:@+'".contains(byte);
    text.as_bytes().iter().all(plain)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use super::quote;

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
}
