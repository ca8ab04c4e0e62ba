//! What this machine is called.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::OnceLock;

/// Its name.
pub(crate) fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let host = rustix::system::uname();
        host.nodename().to_string_lossy().into_owned()
    })
}

/// The address of its name, `0.0.0.0` if it has none.
pub(crate) fn address() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| {
        let addresses = (name(), 0).to_socket_addrs();
        let mut addresses: Vec<IpAddr> = addresses.into_iter().flatten().map(|a| a.ip()).collect();
        addresses.sort_by_key(|address| !address.is_ipv4());
        match addresses.first() {
            Some(address) => address.to_string(),
            None => "0.0.0.0".to_owned(),
        }
    })
}
