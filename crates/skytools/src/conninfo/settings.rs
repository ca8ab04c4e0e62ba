//! What is known about a connection once every setting has a value.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

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
                let path = directory.join(format!(".s.PGSQL.{port}"));
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
