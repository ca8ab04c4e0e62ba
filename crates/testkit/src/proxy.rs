//! A network that can fail: a TCP proxy in front of a cluster.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{Cluster, TestResult};

/// What becomes of the bytes between clients and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Traffic {
    /// They pass.
    Flows = 0,
    /// They wait; connections stay open, and new ones are accepted and get no answer.
    Stalls = 1,
    /// All connections end, and new ones end at once.
    Cut = 2,
}

/// How often a connection looks what is to become of it.
const LOOK: Duration = Duration::from_millis(20);

/// A proxy; its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    traffic: Arc<AtomicU8>,
    over: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one in front of a cluster, on a free port of 127.0.0.1. The cluster may come and go.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start(cluster: &Cluster) -> TestResult<Proxy> {
        let socket = cluster
            .socket_dir()
            .join(format!(".s.PGSQL.{}", cluster.port()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let traffic = Arc::new(AtomicU8::new(Traffic::Flows as u8));
        let over = Arc::new(AtomicBool::new(false));
        let line = Line {
            socket,
            traffic: Arc::clone(&traffic),
            over: Arc::clone(&over),
        };
        let listener = thread::spawn(move || line.listen(&listener));
        Ok(Proxy {
            port,
            traffic,
            over,
            listener: Some(listener),
        })
    }

    /// Connect string of a database, for the superuser `postgres`, through the proxy.
    pub fn conninfo(&self, dbname: &str) -> String {
        format!(
            "host=127.0.0.1 port={} user=postgres dbname={dbname} sslmode=disable",
            self.port
        )
    }

    /// Changes what becomes of the bytes.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.store(traffic as u8, Ordering::Relaxed);
    }

    /// Changes it for a while, and lets bytes pass again.
    pub fn disturb(&self, traffic: Traffic, time: Duration) {
        self.set(traffic);
        thread::sleep(time);
        self.set(Traffic::Flows);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            // It has nothing to say.
            let _ = listener.join();
        }
    }
}

/// The way to the server.
#[derive(Debug, Clone)]
struct Line {
    socket: PathBuf,
    traffic: Arc<AtomicU8>,
    over: Arc<AtomicBool>,
}

impl Line {
    fn is(&self, traffic: Traffic) -> bool {
        self.traffic.load(Ordering::Relaxed) == traffic as u8
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.is(Traffic::Cut)
    }

    fn listen(&self, listener: &TcpListener) {
        while !self.over.load(Ordering::Relaxed) {
            let Ok((client, _)) = listener.accept() else {
                thread::sleep(LOOK);
                continue;
            };
            // One that cannot be served is closed by being dropped.
            if !self.is(Traffic::Cut) {
                let _ = self.serve(client, &self.socket);
            }
        }
    }

    fn serve(&self, client: TcpStream, socket: &Path) -> TestResult {
        let server = UnixStream::connect(socket)?;
        client.set_nonblocking(false)?;
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(LOOK))?;
        server.set_read_timeout(Some(LOOK))?;
        let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
        let (up, down) = (self.clone(), self.clone());
        thread::spawn(move || {
            up.pump(&client, &server);
            let _ = server.shutdown(Shutdown::Both);
            let _ = client.shutdown(Shutdown::Both);
        });
        thread::spawn(move || {
            down.pump(&server_too, &client_too);
            let _ = client_too.shutdown(Shutdown::Both);
            let _ = server_too.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    /// Passes bytes on until one side ends, or the line is cut.
    fn pump(&self, mut from: impl Read, mut to: impl Write) {
        let mut buffer = vec![0; 64 * 1024];
        while !self.is_over() {
            if self.is(Traffic::Stalls) {
                thread::sleep(LOOK);
                continue;
            }
            let length = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(_) => break,
            };
            // What was read as the stall began does not get through either.
            while self.is(Traffic::Stalls) && !self.is_over() {
                thread::sleep(LOOK);
            }
            if self.is_over() || to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
    }
}
