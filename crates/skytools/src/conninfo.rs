//! libpq-style connection settings: strings, URIs, environment, service and password files.
//!
//! The driver reads none of the things that users of libpq take for granted, so connect strings are
//! parsed here, every setting is resolved to a value, and the driver gets values only. A setting
//! comes from the connect string, else from the service file, else from the environment, else it
//! has libpq's default.

mod environment;
mod options;
mod parse;
mod passfile;
mod resolve;
mod service;
mod settings;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::environment::Environment;
use self::parse::Setting;
pub use self::parse::{merge_connect_string, parse_connect_string, without_password};
pub(crate) use self::settings::{
    ChannelBinding, Endpoint, Host, Root, Settings, SslMode, Target, TlsSettings, TlsVersions,
};

/// Where and how to connect, as the user wrote it; the gaps are filled when a connection is opened.
///
/// `Display` and `Debug` show the text with its passwords replaced by `[...]`.
#[derive(Clone)]
pub struct ConnInfo {
    text: String,
    settings: Vec<Setting>,
    application_name: Option<String>,
    /// Counts before what the text says.
    dbname: Option<String>,
    /// Settings that nothing else sets.
    defaults: Vec<(&'static str, String)>,
    environment: Option<Arc<Environment>>,
}

/// What is wrong with connection settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnInfoError {
    /// The text cannot be split into settings. It may hold a password, so it is not shown.
    #[error("Invalid connect string: {0}")]
    // the part before the colon is fixed by the reference
    Syntax(String),
    /// No such setting exists.
    #[error("unknown connection option \"{0}\"")]
    UnknownOption(String),
    /// The setting asks for something that cannot be had, so ignoring it would be wrong.
    #[error("connection option \"{option}\" is not supported: {reason}")]
    Unsupported {
        /// Name of the option.
        option: String,
        /// What to do instead.
        reason: &'static str,
    },
    /// The value of a setting cannot be used.
    #[error("connection option \"{option}\": \"{value}\" is not {expected}")]
    Value {
        /// Name of the option.
        option: String,
        /// The value found.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Lists of hosts, addresses and ports do not match.
    #[error("connection option \"{option}\" has {count} elements for {hosts} hosts")]
    ListLength {
        /// Name of the option.
        option: &'static str,
        /// Its elements.
        count: usize,
        /// Hosts, or host addresses.
        hosts: usize,
    },
    /// A service file does not define the service.
    #[error("service \"{service}\" is not defined in {searched}")]
    ServiceNotFound {
        /// Name of the service.
        service: String,
        /// Files that were searched.
        searched: String,
    },
    /// A service file cannot be used.
    #[error("service file {}{}: {problem}", file.display(), line.map(|n| format!(", line {n}")).unwrap_or_default())]
    ServiceFile {
        /// The file.
        file: PathBuf,
        /// Line in question.
        line: Option<usize>,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system does not say who runs the program.
    #[error("cannot tell the user name: set \"user\" in the connect string, or PGUSER")]
    NoUser,
}

impl std::str::FromStr for ConnInfo {
    type Err = ConnInfoError;

    /// As [`ConnInfo::parse`]: for arguments of a command line.
    fn from_str(text: &str) -> Result<ConnInfo, ConnInfoError> {
        ConnInfo::parse(text)
    }
}

impl ConnInfo {
    /// Parses `key=value …` or a `postgresql://` URI; environment, service and password files fill
    /// the gaps when the connection is opened.
    ///
    /// # Errors
    /// The text does not parse, names an option that libpq does not know or that cannot be honoured,
    /// or a value is not of its kind.
    pub fn parse(text: &str) -> Result<ConnInfo, ConnInfoError> {
        let settings = parse::settings(text)?;
        for setting in &settings {
            options::check(&setting.name, &setting.value)?;
        }
        Ok(ConnInfo {
            text: text.to_owned(),
            settings,
            application_name: None,
            dbname: None,
            defaults: Vec::new(),
            environment: None,
        })
    }

    /// Names the database, whatever the text says: one of many on the same server.
    #[must_use]
    pub fn with_dbname(mut self, dbname: &str) -> ConnInfo {
        self.dbname = Some(dbname.to_owned());
        self
    }

    /// Sets an option where neither string, service file nor environment does: a program that has to
    /// notice a dead server soon sets `tcp_user_timeout`.
    ///
    /// # Errors
    /// There is no such option, or the value does not suit it.
    pub fn with_default(
        mut self,
        name: &'static str,
        value: &str,
    ) -> Result<ConnInfo, ConnInfoError> {
        options::check(name, value)?;
        self.defaults.push((name, value.to_owned()));
        Ok(self)
    }

    /// Sets `application_name` where neither string nor environment does.
    #[must_use]
    pub fn with_application_name(mut self, name: &str) -> ConnInfo {
        self.application_name = Some(name.to_owned());
        self
    }

    /// Fills the gaps from this environment instead of the process's own.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment) -> ConnInfo {
        self.environment = Some(Arc::new(environment));
        self
    }

    /// Resolves every setting, reading environment, service and password files.
    pub(crate) fn resolve(&self) -> Result<Settings, ConnInfoError> {
        let process;
        let environment = match &self.environment {
            Some(environment) => environment.as_ref(),
            None => {
                process = Environment::process();
                &process
            }
        };
        resolve::resolve(
            &self.settings,
            resolve::Given {
                application_name: self.application_name.as_deref(),
                dbname: self.dbname.as_deref(),
                defaults: &self.defaults,
            },
            environment,
        )
    }
}

/// Two are equal if they were written the same.
impl PartialEq for ConnInfo {
    fn eq(&self, other: &ConnInfo) -> bool {
        self.text == other.text
            && self.application_name == other.application_name
            && self.dbname == other.dbname
            && self.defaults == other.defaults
    }
}

/// The text as written, with passwords replaced by `[...]`.
impl fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut done = 0;
        let mut secrets: Vec<_> = self
            .settings
            .iter()
            .filter(|setting| options::is_secret(&setting.name))
            .map(|setting| setting.span.clone())
            .filter(|span| !span.is_empty())
            .collect();
        secrets.sort_by_key(|span| span.start);
        for span in secrets {
            write!(f, "{}[...]", &self.text[done..span.start])?;
            done = span.end;
        }
        f.write_str(&self.text[done..])?;
        match &self.dbname {
            None => Ok(()),
            Some(dbname) => {
                let separator = if self.text.is_empty() { "" } else { " " };
                let setting = merge_connect_string(&[("dbname", dbname)]);
                write!(f, "{separator}{setting}")
            }
        }
    }
}

/// As `Display`.
impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnInfo(\"{self}\")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_password_is_taken_out_of_either_form() {
        for (text, rest, password) in [
            ("host=h user=u", "host=h user=u", None),
            (
                "password=a host='a b' password='b c'",
                "host='a b'",
                Some("b c"),
            ),
            (
                "postgresql://u:se%20cret@h:5/d?sslmode=require",
                "user=u host=h port=5 dbname=d sslmode=require",
                Some("se cret"),
            ),
        ] {
            let (found, secret) = without_password(text).expect(text);
            let sorted = |text: &str| {
                let mut settings = parse_connect_string(text).expect("a connect string");
                settings.sort();
                settings
            };
            assert_eq!(sorted(&found), sorted(rest), "{text}");
            assert_eq!(secret.as_deref(), password, "{text}");
        }
        assert!(without_password("host").is_err());
    }

    #[test]
    fn passwords_are_masked_and_nothing_else() {
        for (text, shown) in [
            (
                "host=h password=secret dbname=d",
                "host=h password=[...] dbname=d",
            ),
            (
                r"password = 'se cr\'et' host=password",
                "password = [...] host=password",
            ),
            (r"password=a\ b user=u", "password=[...] user=u"),
            ("password='' user=u", "password=[...] user=u"),
            ("user=u password=", "user=u password="),
            ("password=one password=two", "password=[...] password=[...]"),
            (
                "postgresql://u:se%20cret@h:5/d?sslmode=require",
                "postgresql://u:[...]@h:5/d?sslmode=require",
            ),
            (
                "postgres://h/d?user=u&password=secret&sslpassword=x&port=5",
                "postgres://h/d?user=u&password=[...]&sslpassword=[...]&port=5",
            ),
            ("postgresql://u@h/password", "postgresql://u@h/password"),
        ] {
            let conninfo = ConnInfo::parse(text).expect(text);
            assert_eq!(conninfo.to_string(), shown);
            assert_eq!(format!("{conninfo:?}"), format!("ConnInfo(\"{shown}\")"));
        }
    }

    #[test]
    fn a_database_of_the_program_counts_before_the_text() {
        for (text, shown) in [
            ("", r"dbname='it\'s'"),
            ("host=h dbname=x", r"host=h dbname=x dbname='it\'s'"),
            ("postgresql://u@h/x", r"postgresql://u@h/x dbname='it\'s'"),
        ] {
            let conninfo = ConnInfo::parse(text).expect(text).with_dbname("it's");
            assert_eq!(conninfo.to_string(), shown);
            assert_eq!(conninfo.resolve().expect("settings").dbname, "it's");
        }
    }

    #[test]
    fn a_default_of_the_program_counts_last() {
        let timeout = |text: &str| {
            let conninfo = ConnInfo::parse(text).expect(text);
            let conninfo = conninfo.with_default("tcp_user_timeout", "3000");
            let settings = conninfo.expect("an option").resolve().expect("settings");
            settings.tcp_user_timeout.map(|timeout| timeout.as_secs())
        };
        assert_eq!(timeout("host=h"), Some(3));
        assert_eq!(timeout("host=h tcp_user_timeout=7000"), Some(7));
        let conninfo = ConnInfo::parse("").expect("nothing");
        assert!(conninfo.with_default("nonsense", "1").is_err());
    }

    #[test]
    fn errors_do_not_repeat_what_may_be_a_password() {
        for text in [
            "host=h password='secret",
            "host=h password=my secret",
            "postgresql://u:secret%zz@h/",
            "postgresql://u:secret%00@h/",
            "postgresql://u:secret@h:x/",
            "postgresql://u:secret@[::1/",
            "postgresql://u:secret@h/?x",
        ] {
            let error = ConnInfo::parse(text).expect_err(text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_and_is_never_shown_with_its_password(text in ".*") {
            if let Ok(conninfo) = ConnInfo::parse(&text) {
                let _ = conninfo.to_string();
            }
        }

        #[test]
        fn a_password_of_any_shape_is_masked(password in "[^\0]{8,20}") {
            let text = merge_connect_string(&[("host", "h"), ("password", &password), ("port", "5")]);
            let conninfo = ConnInfo::parse(&text).expect("merged");
            prop_assert_eq!(conninfo.to_string(), "host=h password=[...] port=5");
        }
    }
}
