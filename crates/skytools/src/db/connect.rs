//! Making a connection: servers in turn, addresses in turn, each within its time.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use postgres::config::SslNegotiation;
use postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::deadline::{Elapsed, within};
use super::driver::{Client, runtime};
use super::error::describe;
use crate::conninfo::{
    ChannelBinding, ConnInfo, ConnInfoError, Endpoint, Host, Settings, SslMode, Target,
};
use crate::tls::{self, TlsError};

/// How a connection was protected, to reach the same server again.
#[derive(Clone)]
pub(super) enum Transport {
    Plain,
    Tls(MakeRustlsConnect),
}

/// A connection on which the session has been set up.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) transport: Transport,
    pub(super) server_version: i32,
    standby: bool,
    read_only: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    Settings(ConnInfoError),
    /// One failure or more, in the order of the attempts.
    Attempts(Vec<Attempt>),
}

/// A server that was tried in vain.
#[derive(Debug)]
pub(super) struct Attempt {
    endpoint: Endpoint,
    failure: Failure,
}

#[derive(Debug)]
enum Failure {
    Driver(postgres::Error),
    Tls(TlsError),
    Lookup(String),
    Elapsed(Elapsed),
    /// The server is not of the kind asked for.
    Unwanted(&'static str),
}

impl ConnectError {
    pub(super) fn sql_state(&self) -> Option<&SqlState> {
        let ConnectError::Attempts(attempts) = self else {
            return None;
        };
        attempts
            .iter()
            .rev()
            .find_map(|attempt| attempt.failure.sql_state())
    }
}

impl Failure {
    fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Failure::Driver(error) => error.code(),
            _ => None,
        }
    }

    /// Whether the server refused for a reason that other servers share: as libpq, a wrong password
    /// is not tried everywhere.
    fn is_final(&self) -> bool {
        self.sql_state()
            .is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW)
    }

    /// Whether `pg_hba.conf` has no line for this kind of connection.
    fn is_refused_kind(&self) -> bool {
        self.sql_state() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    }

    /// Whether the two sides did not come to terms about TLS.
    fn is_about_tls(&self) -> bool {
        match self {
            Failure::Tls(_) => true,
            Failure::Driver(error) => std::error::Error::source(error)
                .and_then(|source| source.downcast_ref::<io::Error>())
                .is_some_and(|error| {
                    matches!(
                        error.kind(),
                        io::ErrorKind::InvalidData
                            | io::ErrorKind::InvalidInput
                            | io::ErrorKind::UnexpectedEof
                            | io::ErrorKind::ConnectionReset
                    )
                }),
            _ => false,
        }
    }
}

/// Opens a session on the first server that will do.
pub(super) fn connect(conninfo: &ConnInfo) -> Result<Session, ConnectError> {
    let settings = conninfo.resolve().map_err(ConnectError::Settings)?;
    let mut endpoints = settings.endpoints.clone();
    if settings.shuffle {
        shuffle(&mut endpoints);
    }
    let mut attempts = Vec::new();
    let passes: &[Target] = match settings.target {
        Target::PreferStandby => &[Target::Standby, Target::Any],
        ref other => std::slice::from_ref(other),
    };
    for target in passes {
        attempts.clear();
        for endpoint in &endpoints {
            match connect_endpoint(&settings, endpoint, *target) {
                Ok(session) => return Ok(session),
                Err(failure) => {
                    let is_final = failure.is_final();
                    attempts.push(Attempt {
                        endpoint: endpoint.clone(),
                        failure,
                    });
                    if is_final {
                        return Err(ConnectError::Attempts(attempts));
                    }
                }
            }
        }
    }
    Err(ConnectError::Attempts(attempts))
}

fn shuffle<T>(list: &mut [T]) {
    // Good enough to spread load, without a crate for random numbers.
    let state = RandomState::new();
    for i in (1..list.len()).rev() {
        let random = usize::try_from(state.hash_one(i) >> 32).unwrap_or(0);
        list.swap(i, random % (i + 1));
    }
}

/// Tries all addresses of a server.
fn connect_endpoint(
    settings: &Settings,
    endpoint: &Endpoint,
    target: Target,
) -> Result<Session, Failure> {
    let Host::Name(name) = &endpoint.host else {
        return connect_address(settings, endpoint, target);
    };
    let mut last = None;
    for address in look_up(name, endpoint.port, settings.connect_timeout)? {
        let at_address = Endpoint {
            host: Host::Address(address, Some(name.clone())),
            ..endpoint.clone()
        };
        match connect_address(settings, &at_address, target) {
            Err(failure) if !failure.is_final() => last = Some(failure),
            decided => return decided,
        }
    }
    Err(last.unwrap_or_else(|| Failure::Lookup("the name has no address".to_owned())))
}

fn look_up(name: &str, port: u16, timeout: Option<Duration>) -> Result<Vec<IpAddr>, Failure> {
    let owned = name.to_owned();
    let addresses = within(timeout, move || {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in (owned.as_str(), port).to_socket_addrs()? {
            if !addresses.contains(&address.ip()) {
                addresses.push(address.ip());
            }
        }
        Ok(addresses)
    })
    .map_err(Failure::Elapsed)?;
    addresses.map_err(|error: io::Error| {
        Failure::Lookup(format!(
            "could not translate host name \"{name}\" to address: {error}"
        ))
    })
}

/// Tries one address, with and without TLS as the mode says.
fn connect_address(
    settings: &Settings,
    endpoint: &Endpoint,
    target: Target,
) -> Result<Session, Failure> {
    let with_tls = || {
        let has_name = !matches!(endpoint.host, Host::Address(_, None));
        let connector = tls::connector(&settings.tls, has_name).map_err(Failure::Tls)?;
        attempt(settings, endpoint, target, Transport::Tls(connector))
    };
    let plain = || attempt(settings, endpoint, target, Transport::Plain);
    match settings.tls.mode {
        _ if endpoint.is_socket() => plain(),
        SslMode::Disable => plain(),
        SslMode::Allow => plain().or_else(|failure| {
            if failure.is_refused_kind() {
                with_tls()
            } else {
                Err(failure)
            }
        }),
        SslMode::Prefer => with_tls().or_else(|failure| {
            if failure.is_refused_kind() || failure.is_about_tls() {
                tracing::debug!(server = %endpoint, "no connection with TLS, trying without");
                plain()
            } else {
                Err(failure)
            }
        }),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => with_tls(),
    }
}

/// Connects and sets the session up, within the time for it.
fn attempt(
    settings: &Settings,
    endpoint: &Endpoint,
    target: Target,
    transport: Transport,
) -> Result<Session, Failure> {
    let config = driver_config(settings, endpoint, &transport);
    let session = within(settings.connect_timeout, move || set_up(&config, transport))
        .map_err(Failure::Elapsed)??;
    let unwanted = match target {
        Target::ReadWrite if session.read_only => "session is read-only",
        Target::ReadOnly if !session.read_only => "session is not read-only",
        Target::Primary if session.standby => "server is in hot standby mode",
        Target::Standby if !session.standby => "server is not in hot standby mode",
        _ => return Ok(session),
    };
    Err(Failure::Unwanted(unwanted))
}

fn driver_config(settings: &Settings, endpoint: &Endpoint, transport: &Transport) -> Config {
    let mut config = Config::new();
    match &endpoint.host {
        Host::Socket(directory) => config.host_path(directory),
        Host::Name(name) => config.host(name),
        // The driver wants a name for TLS; an address is one.
        Host::Address(address, name) => {
            let name = name.clone().unwrap_or_else(|| address.to_string());
            config.host(&name).hostaddr(*address)
        }
    };
    config
        .port(endpoint.port)
        .user(&settings.user)
        .dbname(&settings.dbname)
        .keepalives(settings.keepalives)
        .channel_binding(match settings.channel_binding {
            ChannelBinding::Disable => postgres::config::ChannelBinding::Disable,
            ChannelBinding::Prefer => postgres::config::ChannelBinding::Prefer,
            ChannelBinding::Require => postgres::config::ChannelBinding::Require,
        })
        .ssl_mode(match (transport, settings.tls.mode) {
            (Transport::Plain, _) => postgres::config::SslMode::Disable,
            // The server may decline.
            (Transport::Tls(_), SslMode::Prefer) => postgres::config::SslMode::Prefer,
            (Transport::Tls(_), _) => postgres::config::SslMode::Require,
        });
    if settings.tls.direct {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    if let Some(password) = &endpoint.password {
        config.password(&password.0);
    }
    if let Some(options) = &settings.options {
        config.options(options);
    }
    if let Some(name) = &settings.application_name {
        config.application_name(name);
    }
    if let Some(timeout) = settings.connect_timeout {
        config.connect_timeout(timeout);
    }
    if let Some(timeout) = settings.tcp_user_timeout {
        config.tcp_user_timeout(timeout);
    }
    if let Some(idle) = settings.keepalives_idle {
        config.keepalives_idle(idle);
    }
    if let Some(interval) = settings.keepalives_interval {
        config.keepalives_interval(interval);
    }
    if let Some(count) = settings.keepalives_count {
        config.keepalives_retries(count);
    }
    config
}

fn set_up(config: &Config, transport: Transport) -> Result<Session, Failure> {
    let runtime = runtime().map_err(|error| Failure::Elapsed(Elapsed::NoRuntime(error)))?;
    let client = match &transport {
        Transport::Plain => Client::connect(runtime, config, NoTls),
        Transport::Tls(connector) => Client::connect(runtime, config, connector.clone()),
    };
    greet(client.map_err(Failure::Driver)?, transport).map_err(Failure::Driver)
}

/// Sets the session up.
fn greet(mut client: Client, transport: Transport) -> Result<Session, postgres::Error> {
    // ISO dates, so that a timestamp passed on as text means the same everywhere. The driver asks
    // for UTF-8, and so a SQL_ASCII server would refuse the very bytes that it has sent.
    let row = client.query_typed_one(
        "select pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
                pg_catalog.pg_is_in_recovery(),
                pg_catalog.current_setting('transaction_read_only') = 'on',
                pg_catalog.set_config('datestyle', 'ISO', false),
                case when pg_catalog.current_setting('server_encoding') = 'SQL_ASCII'
                     then pg_catalog.set_config('client_encoding', 'SQL_ASCII', false) end",
        &[],
    )?;
    Ok(Session {
        server_version: row.try_get(0)?,
        standby: row.try_get(1)?,
        read_only: row.try_get(2)?,
        client,
        transport,
    })
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Settings(error) => write!(f, "{error}"),
            ConnectError::Attempts(attempts) => {
                for (i, attempt) in attempts.iter().enumerate() {
                    if i > 0 {
                        f.write_str("; ")?;
                    }
                    write!(
                        f,
                        "connection to {} failed: {}",
                        attempt.endpoint, attempt.failure
                    )?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConnectError {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Driver(error) => f.write_str(&describe(error)),
            Failure::Tls(error) => write!(f, "{error}"),
            Failure::Lookup(problem) => f.write_str(problem),
            Failure::Elapsed(elapsed) => write!(f, "{elapsed}"),
            Failure::Unwanted(problem) => f.write_str(problem),
        }
    }
}
