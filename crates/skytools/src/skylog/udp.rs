//! One datagram per record, in JSON.

use std::io;
use std::net::{ToSocketAddrs, UdpSocket};

use serde::Serialize;
use tracing::Level;

use crate::log::format::Record;
use crate::log::host;

/// Longest message, in characters: a datagram has its limits.
const LONGEST: usize = 1024;

/// What a log server of old expects, in this order.
#[derive(Serialize)]
struct Message<'a> {
    logger: &'static str,
    /// Milliseconds since 1970.
    timestamp: i64,
    level: &'static str,
    thread: Option<()>,
    message: &'a str,
    properties: Properties<'a>,
}

#[derive(Serialize)]
struct Properties<'a> {
    application: &'a str,
    apptype: &'a str,
    r#type: &'static str,
    hostname: &'static str,
    hostaddr: &'static str,
}

/// Sends a record, formatted as `text`.
pub(super) fn send(host: &str, port: u16, record: &Record<'_>, text: &str) -> io::Result<()> {
    let end = text.char_indices().nth(LONGEST).map(|(end, _)| end);
    let message = Message {
        logger: "skytools.UdpLogServer",
        timestamp: record.time.timestamp().as_millisecond(),
        level: match record.level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        },
        thread: None,
        message: &text[..end.unwrap_or(text.len())],
        properties: Properties {
            application: record.job,
            apptype: record.service,
            r#type: "sys",
            hostname: host::name(),
            hostaddr: host::address(),
        },
    };
    let bytes = serde_json::to_vec(&message)?;
    socket_to(host, port)?.send(&bytes)?;
    Ok(())
}

/// A socket to the first address of a host that can be reached.
pub(super) fn socket_to(host: &str, port: u16) -> io::Result<UdpSocket> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any).and_then(|socket| {
            socket.connect(address)?;
            Ok(socket)
        });
        match socket {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
