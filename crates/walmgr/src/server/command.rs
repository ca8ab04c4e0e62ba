//! Commands of ours, as settings of a server.

use std::path::Path;

use skytools::shell;

use crate::Error;

/// This program with its configuration, and `rest` with the server's own placeholders: words for the shell,
/// and percent signs of paths doubled.
pub(crate) fn own(config: &Path, rest: &str) -> Result<String, Error> {
    let own = std::env::current_exe()
        .map_err(|error| Error::io("find the path of", Path::new("walmgr"), error))?;
    Ok(format!("{} {} {rest}", word(&own), word(config)))
}

fn word(path: &Path) -> String {
    let text = path.to_string_lossy().into_owned();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_/.,:=@+-".contains(c);
    let word = match text.chars().all(is_plain) {
        true => text,
        false => shell::quote(&text).to_string_lossy().into_owned(),
    };
    word.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::word;

    #[test]
    fn odd_paths_are_quoted_for_the_shell_and_for_the_server() {
        assert_eq!(word(Path::new("/a/b-1.ini")), "/a/b-1.ini");
        assert_eq!(word(Path::new("/a b/100%.ini")), "'/a b/100%%.ini'");
        assert_eq!(word(Path::new("/it's")), r"'/it'\''s'");
    }
}
