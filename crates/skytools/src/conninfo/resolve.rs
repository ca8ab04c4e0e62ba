//! From what was written to a value for every setting.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::parse::Setting;
use super::passfile::{Key, PassFile};
use super::{ConnInfoError, Environment, options, service};

/// Seconds that one attempt may take when nothing else is said.
const CONNECT_TIMEOUT_SECONDS: i32 = 15;
/// Keepalive of TCP connections when nothing else is said: seconds idle, seconds between probes,
/// and probes.
const KEEPALIVE: (i32, i32, i32) = (240, 15, 4);

/// Every setting of a connection, with a value.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Servers in the order they are tried; at least one.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Try them in random order instead.
    pub(crate) shuffle: bool,
    pub(crate) user: String,
    pub(crate) dbname: String,
    pub(crate) options: Option<String>,
    pub(crate) application_name: Option<String>,
    /// For one address; none waits for ever.
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) keepalives: bool,
    pub(crate) keepalives_idle: Option<Duration>,
    pub(crate) keepalives_interval: Option<Duration>,
    pub(crate) keepalives_count: Option<u32>,
    pub(crate) tcp_user_timeout: Option<Duration>,
    pub(crate) target: Target,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) tls: TlsSettings,
}

/// A server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) password: Option<Password>,
}

/// A password; shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(pub(crate) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[...]")
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// Directory of its socket.
    Socket(PathBuf),
    /// Name to look up, and to find in the server's certificate.
    Name(String),
    /// Address; the name, if there is one, is for the certificate only.
    Address(IpAddr, Option<String>),
}

/// Which server of several will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Certificates that a server's chain may end in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    /// The platform's.
    System,
    /// Those of a file, which must exist if a mode needs it.
    File(PathBuf),
    /// There is no home directory to look in.
    Nowhere,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) mode: SslMode,
    /// TLS from the first byte, without asking first.
    pub(crate) direct: bool,
    pub(crate) root: Root,
    /// Own certificate; whether it was asked for, so that the file must exist.
    pub(crate) certificate: Option<(PathBuf, bool)>,
    pub(crate) key: Option<PathBuf>,
    /// Revoked certificates; whether the list was asked for.
    pub(crate) revoked: Option<(PathBuf, bool)>,
    /// Tell the server which name it is asked for.
    pub(crate) server_name: bool,
    pub(crate) versions: TlsVersions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersions {
    Both,
    Only12,
    Only13,
}

/// Settings by name, from the most explicit source that has them.
struct Sources<'a> {
    values: BTreeMap<String, String>,
    environment: &'a Environment,
}

pub(super) fn resolve(
    explicit: &[Setting],
    application_name: Option<&str>,
    environment: &Environment,
) -> Result<Settings, ConnInfoError> {
    let sources = Sources::collect(explicit, environment)?;
    let user = match sources.text("user") {
        Some(user) => user.to_owned(),
        None => environment.user().ok_or(ConnInfoError::NoUser)?.to_owned(),
    };
    let dbname = sources.text("dbname").unwrap_or(&user).to_owned();
    let application_name = sources
        .text("application_name")
        .or_else(|| sources.text("fallback_application_name"))
        .or(application_name)
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

impl Endpoint {
    /// Whether TLS is out of the question: libpq ignores it on sockets.
    pub(crate) fn is_socket(&self) -> bool {
        matches!(self.host, Host::Socket(_))
    }
}

/// As libpq names it: `server at "db1", port 5432`, `server on socket "/tmp/.s.PGSQL.5432"`.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Socket(directory) => {
                let path: &Path = &directory.join(format!(".s.PGSQL.{port}"));
                write!(f, "server on socket \"{}\"", path.display())
            }
            Host::Name(name) => write!(f, "server at \"{name}\", port {port}"),
            Host::Address(address, None) => write!(f, "server at \"{address}\", port {port}"),
            Host::Address(address, Some(name)) => {
                write!(f, "server at \"{name}\" ({address}), port {port}")
            }
        }
    }
}
