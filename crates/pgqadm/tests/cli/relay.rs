//! A network between the program and the server that can be cut.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use testkit::TestResult;

/// Forwards connections to a port of this machine.
pub(crate) struct Relay {
    port: u16,
    network: Arc<Network>,
}

#[derive(Default)]
struct Network {
    state: Mutex<State>,
    changed: Condvar,
    connections: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Connections up to this number are dead: nothing passes, nobody is told.
    dead_up_to: usize,
    /// Nothing passes at all for now.
    is_frozen: bool,
}

impl Relay {
    pub(crate) fn to(server: u16) -> TestResult<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let network = Arc::new(Network::default());
        let shared = Arc::clone(&network);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down: the client sees the end.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) {
                    let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                    let _ = shared.join(number, client, server);
                }
            }
        });
        Ok(Relay { port, network })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Kills the connections that exist, without a word to either side; new ones work.
    pub(crate) fn cut(&self) {
        let number = self.network.connections.load(Ordering::SeqCst);
        self.network.change(|state| state.dead_up_to = number);
    }

    /// Holds back everything, or lets it pass again.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.network.change(|state| state.is_frozen = is_frozen);
    }
}

impl Network {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn join(
        self: &Arc<Network>,
        number: usize,
        client: TcpStream,
        server: TcpStream,
    ) -> io::Result<()> {
        let back = (server.try_clone()?, client.try_clone()?);
        for (mut from, mut to) in [(client, server), back] {
            let network = Arc::clone(self);
            std::thread::spawn(move || network.forward(number, &mut from, &mut to));
        }
        Ok(())
    }

    fn forward(&self, number: usize, from: &mut TcpStream, to: &mut TcpStream) {
        let mut buffer = [0; 8192];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            // The end of a connection is held back like the rest.
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let held = |state: &mut State| state.is_frozen || number <= state.dead_up_to;
            drop(self.changed.wait_while(state, held));
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
