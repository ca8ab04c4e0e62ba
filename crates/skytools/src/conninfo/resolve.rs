//! From what was written to a value for every setting.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::parse::Setting;
use super::passfile::{Key, PassFile};
use super::settings::{
    ChannelBinding, Endpoint, Host, Password, Root, Settings, SslMode, Target, TlsSettings,
    TlsVersions,
};
use super::{ConnInfoError, Environment, options, service};

/// Seconds that one attempt may take when nothing else is said.
const CONNECT_TIMEOUT_SECONDS: i32 = 15;
/// Keepalive of TCP connections when nothing else is said: seconds idle, seconds between probes,
/// and probes.
const KEEPALIVE: (i32, i32, i32) = (240, 15, 4);

/// Settings by name, from the most explicit source that has them.
struct Sources<'a> {
    values: BTreeMap<String, String>,
    environment: &'a Environment,
}

/// What the program says beside the connect string.
#[derive(Default)]
pub(super) struct Given<'a> {
    pub(super) application_name: Option<&'a str>,
    pub(super) dbname: Option<&'a str>,
    pub(super) defaults: &'a [(&'static str, String)],
}

pub(super) fn resolve(
    explicit: &[Setting],
    given: Given<'_>,
    environment: &Environment,
) -> Result<Settings, ConnInfoError> {
    let mut sources = Sources::collect(explicit, environment)?;
    for (name, value) in given.defaults {
        sources.add(name, value);
    }
    let user = match sources.text("user") {
        Some(user) => user.to_owned(),
        None => environment.user().ok_or(ConnInfoError::NoUser)?.to_owned(),
    };
    let dbname = given.dbname.or_else(|| sources.text("dbname"));
    let dbname = dbname.unwrap_or(&user).to_owned();
    let application_name = sources
        .text("application_name")
        .or_else(|| sources.text("fallback_application_name"))
        .or(given.application_name)
        .map(str::to_owned);
    let count = sources
        .number("keepalives_count")
        .or_else(|| sources.number("keepalives_retries"))
        .unwrap_or(KEEPALIVE.2);
    Ok(Settings {
        endpoints: endpoints(&sources, &user, &dbname)?,
        shuffle: sources.text("load_balance_hosts") == Some("random"),
        options: sources.text("options").map(str::to_owned),
        application_name,
        connect_timeout: seconds(match sources.number("connect_timeout") {
            // As in libpq: a second is too short to tell a slow server from a dead one.
            Some(1) => 2,
            Some(given) => given,
            None => CONNECT_TIMEOUT_SECONDS,
        }),
        keepalives: sources.number("keepalives") != Some(0),
        keepalives_idle: seconds(sources.number("keepalives_idle").unwrap_or(KEEPALIVE.0)),
        keepalives_interval: seconds(sources.number("keepalives_interval").unwrap_or(KEEPALIVE.1)),
        keepalives_count: u32::try_from(count).ok().filter(|count| *count > 0),
        // Milliseconds in libpq.
        tcp_user_timeout: sources
            .number("tcp_user_timeout")
            .and_then(|value| u64::try_from(value).ok())
            .filter(|value| *value > 0)
            .map(Duration::from_millis),
        target: match sources.text("target_session_attrs") {
            Some("read-write") => Target::ReadWrite,
            Some("read-only") => Target::ReadOnly,
            Some("primary") => Target::Primary,
            Some("standby") => Target::Standby,
            Some("prefer-standby") => Target::PreferStandby,
            _ => Target::Any,
        },
        channel_binding: match sources.text("channel_binding") {
            Some("disable") => ChannelBinding::Disable,
            Some("require") => ChannelBinding::Require,
            _ => ChannelBinding::Prefer,
        },
        tls: tls(&sources)?,
        user,
        dbname,
    })
}

impl<'a> Sources<'a> {
    fn collect(
        explicit: &[Setting],
        environment: &'a Environment,
    ) -> Result<Sources<'a>, ConnInfoError> {
        let mut sources = Sources {
            values: BTreeMap::new(),
            environment,
        };
        // Of two in the connect string the last counts.
        for setting in explicit.iter().rev() {
            sources.add(&setting.name, &setting.value);
        }
        let service = sources
            .text("service")
            .or_else(|| environment.variable("PGSERVICE"))
            .map(str::to_owned);
        if let Some(service) = service {
            for (name, value) in service::settings(&service, environment)? {
                sources.add(&name, &value);
            }
        }
        for (name, variable) in options::variables() {
            if let Some(value) = environment.variable(variable)
                && sources.text(name).is_none()
            {
                options::check(name, value).map_err(|error| named_after(variable, error))?;
                sources.add(name, value);
            }
        }
        Ok(sources)
    }

    fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.values
                .entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<i32> {
        // Checked where it was written.
        self.text(name)?.trim().parse().ok()
    }

    fn list(&self, name: &str) -> Vec<&str> {
        self.text(name)
            .map(|text| text.split(',').map(str::trim).collect())
            .unwrap_or_default()
    }

    /// A file: as given, or by its default name below the home directory. Says which.
    fn file(&self, name: &str, default: &str) -> Option<(PathBuf, bool)> {
        match self.text(name) {
            Some(path) => Some((PathBuf::from(path), true)),
            None => Some((self.environment.home_file(default)?, false)),
        }
    }
}

/// Blames a wrong value on the variable it came from.
fn named_after(variable: &str, error: ConnInfoError) -> ConnInfoError {
    match error {
        ConnInfoError::Value {
            value, expected, ..
        } => ConnInfoError::Value {
            option: variable.to_owned(),
            value,
            expected,
        },
        ConnInfoError::Unsupported { reason, .. } => ConnInfoError::Unsupported {
            option: variable.to_owned(),
            reason,
        },
        other => other,
    }
}

fn seconds(value: i32) -> Option<Duration> {
    u64::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .map(Duration::from_secs)
}

fn endpoints(
    sources: &Sources<'_>,
    user: &str,
    dbname: &str,
) -> Result<Vec<Endpoint>, ConnInfoError> {
    let (hosts, addresses) = (sources.list("host"), sources.list("hostaddr"));
    let ports = sources.list("port");
    let count = hosts.len().max(addresses.len()).max(1);
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(ConnInfoError::ListLength {
            option: "hostaddr",
            count: addresses.len(),
            hosts: hosts.len(),
        });
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(ConnInfoError::ListLength {
            option: "port",
            count: ports.len(),
            hosts: count,
        });
    }
    let password = sources.text("password");
    let passfile = match password {
        Some(_) => None,
        None => sources
            .file("passfile", ".pgpass")
            .map(|(path, _)| PassFile::read(&path)),
    };
    let element = |list: &[&str], index: usize| {
        list.get(index)
            .copied()
            .filter(|element| !element.is_empty())
            .map(str::to_owned)
    };
    let mut endpoints = Vec::with_capacity(count);
    for index in 0..count {
        let port = match element(&ports, if ports.len() == 1 { 0 } else { index }) {
            Some(port) => port.parse().map_err(|_| ConnInfoError::Value {
                option: "port".to_owned(),
                value: port,
                expected: "a port number from 1 to 65535, or a list of such",
            })?,
            None => 5432,
        };
        let name = element(&hosts, index);
        let address = element(&addresses, index).and_then(|address| address.parse().ok());
        let host = host(
            name,
            address,
            port,
            sources.environment.socket_directories(),
        );
        let from_file = || {
            let key = Key {
                host: &passfile_host(&host, sources.environment.socket_directories()),
                port,
                dbname,
                user,
            };
            passfile.as_ref()?.password(key)
        };
        let password = password.map(str::to_owned).or_else(from_file);
        endpoints.push(Endpoint {
            host,
            port,
            password: password.map(Password),
        });
    }
    Ok(endpoints)
}

fn host(
    name: Option<String>,
    address: Option<IpAddr>,
    port: u16,
    socket_directories: &[PathBuf],
) -> Host {
    match (name, address) {
        (name, Some(address)) => Host::Address(address, name),
        (Some(name), None) if name.starts_with('/') => Host::Socket(PathBuf::from(name)),
        (Some(name), None) => Host::Name(name),
        (None, None) => socket_directories
            .iter()
            .find(|directory| directory.join(format!(".s.PGSQL.{port}")).exists())
            .map_or_else(
                || Host::Name("localhost".to_owned()),
                |directory| Host::Socket(directory.clone()),
            ),
    }
}

/// What stands for a host in the password file.
fn passfile_host(host: &Host, socket_directories: &[PathBuf]) -> String {
    match host {
        Host::Socket(directory) if socket_directories.contains(directory) => "localhost".to_owned(),
        Host::Socket(directory) => directory.display().to_string(),
        Host::Name(name) | Host::Address(_, Some(name)) => name.clone(),
        Host::Address(address, None) => address.to_string(),
    }
}

fn tls(sources: &Sources<'_>) -> Result<TlsSettings, ConnInfoError> {
    let root = match sources.text("sslrootcert") {
        Some("system") => Root::System,
        Some(path) => Root::File(PathBuf::from(path)),
        None => sources
            .environment
            .home_file(".postgresql/root.crt")
            .map_or(Root::Nowhere, Root::File),
    };
    let mode = match sources.text("sslmode") {
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        None if root == Root::System => SslMode::VerifyFull,
        _ => SslMode::Prefer,
    };
    let unsupported = |option: &str, reason| {
        Err(ConnInfoError::Unsupported {
            option: option.to_owned(),
            reason,
        })
    };
    // Anybody can get a certificate that the platform's authorities signed.
    if root == Root::System && mode != SslMode::VerifyFull {
        return unsupported("sslmode", "sslrootcert=system needs sslmode=verify-full");
    }
    let direct = sources.text("sslnegotiation") == Some("direct");
    if direct && matches!(mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer) {
        return unsupported(
            "sslmode",
            "sslnegotiation=direct needs sslmode=require or more",
        );
    }
    let with_certificate = sources.text("sslcertmode") != Some("disable");
    let versions = match (
        sources.text("ssl_min_protocol_version"),
        sources.text("ssl_max_protocol_version"),
    ) {
        (Some("TLSv1.3"), Some("TLSv1.2")) => {
            return unsupported("ssl_max_protocol_version", "it is below the lowest one");
        }
        (Some("TLSv1.3"), _) => TlsVersions::Only13,
        (_, Some("TLSv1.2")) => TlsVersions::Only12,
        _ => TlsVersions::Both,
    };
    Ok(TlsSettings {
        mode,
        direct,
        root,
        certificate: sources
            .file("sslcert", ".postgresql/postgresql.crt")
            .filter(|_| with_certificate),
        key: sources
            .file("sslkey", ".postgresql/postgresql.key")
            .map(|(path, _)| path),
        revoked: sources.file("sslcrl", ".postgresql/root.crl"),
        server_name: sources.number("sslsni") != Some(0),
        versions,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conninfo::ConnInfo;

    fn settings(text: &str) -> Settings {
        let environment = Environment::empty()
            .with_user("me")
            .with_socket_directories(&[Path::new("/nowhere")]);
        resolve_in(text, environment)
    }

    fn resolve_in(text: &str, environment: Environment) -> Settings {
        let conninfo = ConnInfo::parse(text).expect(text);
        conninfo
            .with_environment(environment)
            .resolve()
            .expect(text)
    }

    #[test]
    fn everything_has_a_default() {
        let s = settings("");
        assert_eq!((s.user.as_str(), s.dbname.as_str()), ("me", "me"));
        assert_eq!(s.endpoints[0].host, Host::Name("localhost".to_owned()));
        assert_eq!(s.endpoints[0].port, 5432);
        assert_eq!(s.connect_timeout, Some(Duration::from_secs(15)));
        assert!(s.keepalives);
        assert_eq!(s.keepalives_idle, Some(Duration::from_secs(240)));
        assert_eq!(s.keepalives_interval, Some(Duration::from_secs(15)));
        assert_eq!(s.keepalives_count, Some(4));
        assert_eq!(s.tcp_user_timeout, None);
        assert_eq!(s.tls.mode, SslMode::Prefer);
        assert_eq!((s.application_name, s.options), (None, None));
    }

    #[test]
    fn each_variable_stands_in_for_its_option() {
        let shown = |s: Settings| {
            let password = s.endpoints[0].password.as_ref().map(|p| p.0.clone());
            let names = (s.user, s.dbname, password, s.options, s.application_name);
            let rest = (s.connect_timeout, s.target, s.channel_binding, s.tls);
            format!("{:?}", (s.endpoints, s.shuffle, names, rest))
        };
        for (variable, option, value) in [
            ("PGHOST", "host", "db1"),
            ("PGHOSTADDR", "hostaddr", "10.0.0.9"),
            ("PGPORT", "port", "7"),
            ("PGDATABASE", "dbname", "d"),
            ("PGUSER", "user", "u"),
            ("PGPASSWORD", "password", "p"),
            ("PGOPTIONS", "options", "-cx=y"),
            ("PGAPPNAME", "application_name", "a"),
            ("PGCONNECT_TIMEOUT", "connect_timeout", "30"),
            ("PGTARGETSESSIONATTRS", "target_session_attrs", "standby"),
            ("PGLOADBALANCEHOSTS", "load_balance_hosts", "random"),
            ("PGCHANNELBINDING", "channel_binding", "require"),
            ("PGSSLMODE", "sslmode", "require"),
            ("PGSSLROOTCERT", "sslrootcert", "/r"),
            ("PGSSLCERT", "sslcert", "/c"),
            ("PGSSLKEY", "sslkey", "/k"),
            ("PGSSLCRL", "sslcrl", "/l"),
        ] {
            let none = Environment::empty()
                .with_user("me")
                .with_socket_directories(&[Path::new("/nowhere")]);
            let set = shown(resolve_in("", none.with_variable(variable, value)));
            assert_ne!(set, shown(settings("")), "{variable}");
            let text = format!("{option}={value}");
            assert_eq!(set, shown(settings(&text)), "{variable}");
        }
    }

    #[test]
    fn numbers_mean_what_they_mean_to_libpq() {
        let s = settings(
            "tcp_user_timeout=2500 keepalives=0 keepalives_idle=10 keepalives_interval=0 \
             keepalives_count=7 connect_timeout=1",
        );
        assert_eq!(s.tcp_user_timeout, Some(Duration::from_millis(2500)));
        assert!(!s.keepalives);
        assert_eq!(s.keepalives_idle, Some(Duration::from_secs(10)));
        assert_eq!(s.keepalives_interval, None, "0 is the system's default");
        assert_eq!(s.keepalives_count, Some(7));
        assert_eq!(s.connect_timeout, Some(Duration::from_secs(2)));
        for forever in ["connect_timeout=0", "connect_timeout=-1"] {
            assert_eq!(settings(forever).connect_timeout, None);
        }
        let from_environment = Environment::empty()
            .with_user("me")
            .with_variable("PGCONNECT_TIMEOUT", "30");
        let s = resolve_in("", from_environment);
        assert_eq!(s.connect_timeout, Some(Duration::from_secs(30)));
    }

    #[test]
    fn hosts_addresses_and_ports_are_taken_in_step() {
        let endpoints = |text: &str| settings(text).endpoints;
        let shown = |text: &str| -> Vec<String> {
            endpoints(text).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            shown("host=a,/tmp,b,c hostaddr=,,::1, port=1,2,,4"),
            [
                "server at \"a\", port 1",
                "server on socket \"/tmp/.s.PGSQL.2\"",
                "server at \"b\" (::1), port 5432",
                "server at \"c\", port 4",
            ]
        );
        assert_eq!(
            shown("hostaddr=10.0.0.1,10.0.0.2 port=7"),
            [
                "server at \"10.0.0.1\", port 7",
                "server at \"10.0.0.2\", port 7"
            ]
        );
        // Of two values the last counts.
        assert_eq!(shown("host=a host=b"), ["server at \"b\", port 5432"]);
    }

    #[test]
    fn sockets_are_local_to_the_password_file_only_in_the_usual_places() {
        let usual = [PathBuf::from("/var/run/postgresql")];
        for (host, name) in [
            (
                Host::Socket(PathBuf::from("/var/run/postgresql")),
                "localhost",
            ),
            (Host::Socket(PathBuf::from("/srv/sockets")), "/srv/sockets"),
            (Host::Name("db".to_owned()), "db"),
            (
                Host::Address([10, 0, 0, 1].into(), Some("db".to_owned())),
                "db",
            ),
            (Host::Address([10, 0, 0, 1].into(), None), "10.0.0.1"),
        ] {
            assert_eq!(passfile_host(&host, &usual), name);
        }
    }

    #[test]
    fn direct_negotiation_needs_a_mode_that_insists_on_tls() {
        let conninfo = ConnInfo::parse("sslnegotiation=direct").expect("known");
        let here = Environment::empty().with_user("me");
        assert!(conninfo.with_environment(here).resolve().is_err());
        assert!(settings("sslnegotiation=direct sslmode=require").tls.direct);
    }
}
