//! Where the slave's directories are: here, or on another host.

use std::fmt;

/// A path, perhaps on another host: `user@host:/path`, `[::1]:/path` or `/path`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// As ssh takes it; `None` is this host.
    pub(crate) host: Option<String>,
    pub(crate) path: String,
}

/// What is wrong with a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPlace {
    #[error("'{0}' begins with a dash, so ssh would take it for an option")]
    Option(String),
    #[error("'{0}' is not an absolute path: commands of the server start in the data directory")]
    Relative(String),
}

impl Place {
    /// Splits host and path: a text before the first colon is a host if no slash stands before it.
    pub(crate) fn parse(text: &str) -> Result<Place, BadPlace> {
        let colon = match text.strip_prefix('[').and_then(|rest| rest.find("]:")) {
            Some(end) => Some(end + 2),
            None => text.find(':').filter(|at| !text[..*at].contains('/')),
        };
        let (host, path) = match colon {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        let host = match host {
            Some(host) => Some(checked_host(host)?),
            None => None,
        };
        if !path.starts_with(['/', '~']) {
            return Err(BadPlace::Relative(text.to_owned()));
        }
        Ok(Place {
            host,
            path: path.to_owned(),
        })
    }
}

/// A host as ssh takes it; brackets of an IPv6 address are for the colon that follows.
pub(crate) fn checked_host(text: &str) -> Result<String, BadPlace> {
    let host = match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address,
        None => text,
    };
    if host.is_empty() || host.starts_with('-') {
        return Err(BadPlace::Option(text.to_owned()));
    }
    Ok(host.to_owned())
}

impl fmt::Display for Place {
    /// As rsync takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.path),
            Some(host) => write!(f, "{host}:{}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPlace, Place};

    #[test]
    fn a_host_stands_before_a_colon_that_no_slash_precedes() {
        for (text, host, path) in [
            ("/base/dir", None, "/base/dir"),
            ("/base:dir", None, "/base:dir"),
            ("~/walship", None, "~/walship"),
            ("db2:/base/dir", Some("db2"), "/base/dir"),
            ("pg@db2:~/dir", Some("pg@db2"), "~/dir"),
            ("db2:/a:b", Some("db2"), "/a:b"),
            ("[fe80::1]:/dir", Some("fe80::1"), "/dir"),
        ] {
            let place = Place::parse(text).expect(text);
            assert_eq!((place.host.as_deref(), place.path.as_str()), (host, path));
            assert_eq!(place.to_string(), text);
        }
    }

    #[test]
    fn what_would_go_somewhere_else_is_refused() {
        for text in ["", "dir", "db2:dir", "db2:", "dir:x/y"] {
            assert!(
                matches!(Place::parse(text), Err(BadPlace::Relative(_))),
                "{text}"
            );
        }
        for text in ["-oProxyCommand=x:/dir", ":/dir"] {
            assert!(
                matches!(Place::parse(text), Err(BadPlace::Option(_))),
                "{text}"
            );
        }
    }
}
