//! The settings that libpq knows, and what becomes of each.

use super::ConnInfoError;

/// What a setting's value must be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Anything.
    Text,
    /// A whole number, in seconds, milliseconds or probes.
    Number,
    /// `0` or `1`.
    Flag,
    /// Port numbers, separated by commas.
    Ports,
    /// IP addresses, separated by commas.
    Addresses,
    /// One of some words.
    Words(&'static [&'static str], &'static str),
    /// Makes no difference here.
    Ignored,
    /// Can be had with these values, which mean nothing; refused with others, for a reason.
    Only(&'static [&'static str], &'static str),
}

const SSL_MODES: &[&str] = &[
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];

const TARGETS: &[&str] = &[
    "any",
    "read-write",
    "read-only",
    "primary",
    "standby",
    "prefer-standby",
];

const TLS_VERSIONS: &[&str] = &["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

const NO_GSS: &str = "Kerberos is not supported";
const NO_OAUTH: &str = "OAuth is not supported";

/// Name of a setting, the environment variable that stands in for it, and its kind.
type Known = (&'static str, Option<&'static str>, Kind);

const KNOWN: &[Known] = &[
    ("host", Some("PGHOST"), Kind::Text),
    ("hostaddr", Some("PGHOSTADDR"), Kind::Addresses),
    ("port", Some("PGPORT"), Kind::Ports),
    ("dbname", Some("PGDATABASE"), Kind::Text),
    ("user", Some("PGUSER"), Kind::Text),
    ("password", Some("PGPASSWORD"), Kind::Text),
    ("passfile", Some("PGPASSFILE"), Kind::Text),
    ("service", Some("PGSERVICE"), Kind::Text),
    ("options", Some("PGOPTIONS"), Kind::Text),
    ("application_name", Some("PGAPPNAME"), Kind::Text),
    ("fallback_application_name", None, Kind::Text),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT"), Kind::Number),
    ("keepalives", None, Kind::Flag),
    ("keepalives_idle", None, Kind::Number),
    ("keepalives_interval", None, Kind::Number),
    ("keepalives_count", None, Kind::Number),
    // The driver's name for the same.
    ("keepalives_retries", None, Kind::Number),
    ("tcp_user_timeout", None, Kind::Number),
    (
        "target_session_attrs",
        Some("PGTARGETSESSIONATTRS"),
        Kind::Words(
            TARGETS,
            "any, read-write, read-only, primary, standby or prefer-standby",
        ),
    ),
    (
        "load_balance_hosts",
        Some("PGLOADBALANCEHOSTS"),
        Kind::Words(&["disable", "random"], "disable or random"),
    ),
    (
        "channel_binding",
        Some("PGCHANNELBINDING"),
        Kind::Words(
            &["disable", "prefer", "require"],
            "disable, prefer or require",
        ),
    ),
    (
        "sslmode",
        Some("PGSSLMODE"),
        Kind::Words(
            SSL_MODES,
            "disable, allow, prefer, require, verify-ca or verify-full",
        ),
    ),
    (
        "sslnegotiation",
        Some("PGSSLNEGOTIATION"),
        Kind::Words(&["postgres", "direct"], "postgres or direct"),
    ),
    ("sslrootcert", Some("PGSSLROOTCERT"), Kind::Text),
    ("sslcert", Some("PGSSLCERT"), Kind::Text),
    ("sslkey", Some("PGSSLKEY"), Kind::Text),
    ("sslcrl", Some("PGSSLCRL"), Kind::Text),
    ("sslpassword", None, Kind::Text),
    ("sslsni", Some("PGSSLSNI"), Kind::Flag),
    (
        "sslcertmode",
        Some("PGSSLCERTMODE"),
        Kind::Words(&["disable", "allow"], "disable or allow"),
    ),
    (
        "ssl_min_protocol_version",
        Some("PGSSLMINPROTOCOLVERSION"),
        Kind::Words(TLS_VERSIONS, "TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3"),
    ),
    (
        "ssl_max_protocol_version",
        Some("PGSSLMAXPROTOCOLVERSION"),
        Kind::Words(&["TLSv1.2", "TLSv1.3"], "TLSv1.2 or TLSv1.3"),
    ),
    ("client_encoding", None, Kind::Ignored),
    ("sslcompression", None, Kind::Ignored),
    ("krbsrvname", None, Kind::Ignored),
    ("gsslib", None, Kind::Ignored),
    ("gssdelegation", None, Kind::Ignored),
    ("max_protocol_version", None, Kind::Ignored),
    (
        "min_protocol_version",
        None,
        Kind::Only(&["3.0"], "only protocol 3.0 is spoken"),
    ),
    (
        "gssencmode",
        Some("PGGSSENCMODE"),
        Kind::Only(&["disable", "prefer"], NO_GSS),
    ),
    (
        "replication",
        None,
        Kind::Only(
            &["false", "off", "no", "0"],
            "these are not replication connections",
        ),
    ),
    (
        "requiressl",
        None,
        Kind::Only(&["0"], "write sslmode=require instead"),
    ),
    (
        "requirepeer",
        Some("PGREQUIREPEER"),
        Kind::Only(
            &[],
            "the server's user cannot be checked; use TLS with sslmode=verify-full",
        ),
    ),
    (
        "require_auth",
        Some("PGREQUIREAUTH"),
        Kind::Only(
            &[],
            "the method is the server's choice; use channel_binding=require or sslmode=verify-full",
        ),
    ),
    (
        "sslcrldir",
        Some("PGSSLCRLDIR"),
        Kind::Only(&[], "put the lists into one file and name it with sslcrl"),
    ),
    (
        "sslkeylogfile",
        None,
        Kind::Only(&[], "keys of sessions are never written down"),
    ),
    ("scram_client_key", None, Kind::Only(&[], "use password")),
    ("scram_server_key", None, Kind::Only(&[], "use password")),
    ("oauth_issuer", None, Kind::Only(&[], NO_OAUTH)),
    ("oauth_client_id", None, Kind::Only(&[], NO_OAUTH)),
    ("oauth_client_secret", None, Kind::Only(&[], NO_OAUTH)),
    ("oauth_scope", None, Kind::Only(&[], NO_OAUTH)),
];

/// Settings with the variables that stand in for them.
pub(super) fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    KNOWN
        .iter()
        .filter_map(|(name, variable, _)| Some((*name, (*variable)?)))
}

/// Whether a value of the setting must never be shown.
pub(super) fn is_secret(name: &str) -> bool {
    matches!(
        name,
        "password"
            | "sslpassword"
            | "scram_client_key"
            | "scram_server_key"
            | "oauth_client_secret"
    )
}

/// Checks that a setting exists, can be honoured, and that its value is of its kind. An empty value
/// is an absent one.
pub(super) fn check(name: &str, value: &str) -> Result<(), ConnInfoError> {
    let Some((_, _, kind)) = KNOWN.iter().find(|(known, _, _)| *known == name) else {
        return Err(ConnInfoError::UnknownOption(name.to_owned()));
    };
    if value.is_empty() {
        return Ok(());
    }
    let wrong = |expected| {
        Err(ConnInfoError::Value {
            option: name.to_owned(),
            value: value.to_owned(),
            expected,
        })
    };
    match kind {
        Kind::Text => {}
        Kind::Ignored => tracing::debug!(option = name, "connection option makes no difference"),
        Kind::Number if value.trim().parse::<i32>().is_err() => return wrong("a whole number"),
        Kind::Flag if !matches!(value.trim(), "0" | "1") => return wrong("0 or 1"),
        Kind::Number | Kind::Flag => {}
        Kind::Ports => {
            let bad = |port: &str| {
                !port.is_empty() && !port.trim().parse::<u16>().is_ok_and(|port| port > 0)
            };
            if value.split(',').any(bad) {
                return wrong("a port number from 1 to 65535, or a list of such");
            }
        }
        Kind::Addresses => {
            let bad =
                |address: &str| !address.is_empty() && address.parse::<std::net::IpAddr>().is_err();
            if value.split(',').any(bad) {
                return wrong("an IP address, or a list of such");
            }
        }
        Kind::Words(words, expected) => {
            if !words.contains(&value) {
                return wrong(expected);
            }
        }
        Kind::Only(harmless, reason) => {
            if !harmless.contains(&value) {
                return Err(ConnInfoError::Unsupported {
                    option: name.to_owned(),
                    reason,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_named() {
        let error = check("hots", "x").expect_err("unknown").to_string();
        assert_eq!(error, "unknown connection option \"hots\"");
        assert!(check("Host", "x").is_err(), "names are lower case");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_and_what_is_harmless_is_not() {
        for (name, value) in [
            ("requirepeer", "postgres"),
            ("require_auth", "scram-sha-256"),
            ("gssencmode", "require"),
            ("replication", "database"),
            ("sslcrldir", "/etc/crl"),
        ] {
            let error = check(name, value).expect_err(name).to_string();
            assert!(
                error.contains(name) && error.contains("not supported"),
                "{error}"
            );
        }
        for (name, value) in [
            ("requirepeer", ""),
            ("gssencmode", "disable"),
            ("krbsrvname", "postgres"),
            ("sslcompression", "1"),
            ("client_encoding", "auto"),
            ("replication", "off"),
            ("fallback_application_name", "x"),
        ] {
            check(name, value).expect(name);
        }
    }

    #[test]
    fn values_are_checked() {
        for (name, good, bad) in [
            ("port", "5432,,6432", "5432,0"),
            ("port", "65535", "65536"),
            ("connect_timeout", "-1", "1s"),
            ("keepalives", "0", "2"),
            ("hostaddr", "127.0.0.1,::1", "localhost"),
            ("sslmode", "verify-full", "verify"),
            ("target_session_attrs", "prefer-standby", "master"),
            ("ssl_min_protocol_version", "TLSv1.1", "SSLv3"),
        ] {
            check(name, good).expect(name);
            let error = check(name, bad).expect_err(name).to_string();
            assert!(
                error.contains(&format!("\"{name}\": \"{bad}\" is not")),
                "{error}"
            );
        }
    }
}
