//! Records for the system's log: one datagram each.

use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::args::severity;
use super::udp::socket_to;
use crate::log::format::Record;
use crate::log::host;

/// A socket older than this is made anew: the host may have another address by now.
const FRESH: Duration = Duration::from_secs(1);

/// Where the system's log is.
pub(super) enum Address {
    Udp(String, u16),
    Unix(PathBuf),
}

/// A connection to it, made when there is something to say.
pub(super) struct Syslog {
    address: Address,
    facility: i64,
    /// Whether host and service precede the message.
    with_host: bool,
    udp: Option<(UdpSocket, Instant)>,
    unix: Option<UnixDatagram>,
}

impl Syslog {
    pub(super) fn new(address: Address, facility: i64, with_host: bool) -> Syslog {
        Syslog {
            address,
            facility,
            with_host,
            udp: None,
            unix: None,
        }
    }

    /// Sends a record, formatted as `text`.
    pub(super) fn send(&mut self, record: &Record<'_>, text: &str) -> io::Result<()> {
        let priority = self.facility * 8 + severity(record.level);
        let datagram = if self.with_host {
            let (host, service) = (host::name(), record.service);
            format!("<{priority}> {host} {service} {text}\0")
        } else {
            format!("<{priority}>{text}\0")
        };
        match &self.address {
            Address::Udp(host, port) => {
                let socket = match self.udp.take() {
                    Some((socket, made)) if made.elapsed() <= FRESH => (socket, made),
                    _ => (socket_to(host, *port)?, Instant::now()),
                };
                let sent = socket.0.send(datagram.as_bytes());
                self.udp = Some(socket);
                sent.map(|_| ())
            }
            Address::Unix(path) => {
                if let Some(socket) = &self.unix
                    && socket.send(datagram.as_bytes()).is_ok()
                {
                    return Ok(());
                }
                self.unix = None;
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.send(datagram.as_bytes())?;
                self.unix = Some(socket);
                Ok(())
            }
        }
    }
}
