//! A PostgreSQL server of a test's own: cached initdb, copied, on a socket in a temporary directory.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::installation;
use crate::owner::Owner;
use crate::watcher::Watcher;
use crate::{SUBSCRIBER_BINDIR_VARIABLE, Server, TestResult, find_server, server_in, wait_until};

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Disconnects everybody and writes a checkpoint.
    Fast,
    /// Stops without a checkpoint; the next start recovers.
    Immediate,
    /// SIGKILL to the postmaster and all its children, as a power cut.
    Kill,
}

/// A running server; stopped and deleted when dropped.
#[derive(Debug)]
pub struct Cluster {
    dir: TempDir,
    server: Server,
    owner: Owner,
    port: u16,
    tcp: bool,
    postmaster: Option<Child>,
    watcher: Option<Watcher>,
}

/// What a cluster is made of.
#[derive(Debug, Default, Clone)]
pub struct ClusterBuilder {
    major: Option<u32>,
    settings: Vec<(String, String)>,
    hba: Option<String>,
    tcp: bool,
    parent: Option<PathBuf>,
    subscriber: bool,
    segment_megabytes: Option<u32>,
}

impl ClusterBuilder {
    /// Asks for a major version instead of the preferred one.
    #[must_use]
    pub fn major(mut self, major: u32) -> Self {
        self.major = Some(major);
        self
    }

    /// Replicates from a cluster that is not: tests may run with two versions.
    #[must_use]
    pub fn subscriber(mut self) -> Self {
        self.subscriber = true;
        self
    }

    /// Adds a line to `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces `pg_hba.conf`; the default trusts everybody.
    #[must_use]
    pub fn hba(mut self, text: &str) -> Self {
        self.hba = Some(text.to_owned());
        self
    }

    /// Listens on a free port of 127.0.0.1 beside the socket.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Puts the cluster's directory into `parent` instead of the system's temporary directory.
    #[must_use]
    pub fn below(mut self, parent: &Path) -> Self {
        self.parent = Some(parent.to_owned());
        self
    }

    /// Has WAL in segments of so many megabytes, instead of one.
    #[must_use]
    pub fn segment_megabytes(mut self, megabytes: u32) -> Self {
        self.segment_megabytes = Some(megabytes);
        self
    }

    /// Makes the cluster and starts it.
    ///
    /// # Errors
    /// There are no server programs, or the server does not start; its log is in the message.
    pub fn start(self) -> TestResult<Cluster> {
        let server = match std::env::var_os(SUBSCRIBER_BINDIR_VARIABLE) {
            Some(bindir) if self.subscriber => server_in(Path::new(&bindir))?,
            _ => find_server(self.major)?,
        };
        let owner = Owner::choose()?;
        // Small segments: the copy that every cluster starts with is half as large.
        let template = template(&server, owner, self.segment_megabytes.unwrap_or(1))?;
        // Links resolved, so that processes are recognised by the directory they work in.
        let parent = self
            .parent
            .unwrap_or_else(std::env::temp_dir)
            .canonicalize()?;
        let dir = tempfile::Builder::new().prefix("pg").tempdir_in(&parent)?;
        // sun_path holds 107 bytes, and the socket is called s/.s.PGSQL.NNNNN.
        if dir.path().as_os_str().len() > 85 {
            return Err(format!(
                "{} is too long for the path of a socket; set TMPDIR",
                parent.display()
            )
            .into());
        }
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
        let port = if self.tcp { free_port()? } else { 5432 };
        let mut cluster = Cluster {
            dir,
            server,
            owner,
            port,
            tcp: self.tcp,
            postmaster: None,
            watcher: None,
        };
        let sockets = cluster.socket_dir();
        fs::create_dir(&sockets)?;
        owner.give(&sockets)?;
        fs::set_permissions(&sockets, Permissions::from_mode(0o777))?;
        run(Command::new("cp")
            .arg("-a")
            .arg(&template)
            .arg(cluster.data_dir()))?;
        let mut conf = format!(
            "listen_addresses = '{}'\nport = {port}\nunix_socket_directories = '{}'\n\
             fsync = off\nfull_page_writes = off\nshared_buffers = 16MB\nmax_connections = 50\n\
             log_line_prefix = '%m [%p] %q%a '\nlc_messages = 'C'\n",
            if self.tcp { "127.0.0.1" } else { "" },
            sockets.display(),
        );
        for (name, value) in &self.settings {
            conf.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        cluster.append_conf(&conf)?;
        if let Some(hba) = &self.hba {
            fs::write(cluster.data_dir().join("pg_hba.conf"), hba)?;
        }
        cluster.start_again()?;
        Ok(cluster)
    }
}

impl Cluster {
    /// Starts a cluster of the preferred version with default settings.
    ///
    /// # Errors
    /// As [`ClusterBuilder::start`].
    pub fn start() -> TestResult<Cluster> {
        Cluster::builder().start()
    }

    /// Describes a cluster.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// Connect string of a database, for the superuser `postgres`, through the socket.
    pub fn conninfo(&self, dbname: &str) -> String {
        format!(
            "host={} port={} user=postgres dbname={dbname}",
            self.socket_dir().display(),
            self.port
        )
    }

    /// Port of the socket, and of 127.0.0.1 for a cluster made with [`ClusterBuilder::tcp`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Major version of the server.
    pub fn major(&self) -> u32 {
        self.server.major
    }

    /// Directory of `pg_resetwal`, `pg_dump` and others that come with the server.
    pub fn bindir(&self) -> &Path {
        &self.server.bindir
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Directory of the server's socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read(self.log_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Connects as superuser.
    ///
    /// # Errors
    /// The server is down or the database does not exist.
    pub fn connect(&self, dbname: &str) -> TestResult<Client> {
        Ok(Client::connect(&self.conninfo(dbname), NoTls)?)
    }

    /// Creates an empty database and connects to it.
    ///
    /// # Errors
    /// The name is taken.
    pub fn create_database(&self, name: &str) -> TestResult<Client> {
        self.connect("postgres")?.batch_execute(&format!(
            "create database \"{}\"",
            name.replace('"', "\"\"")
        ))?;
        self.connect(name)
    }

    /// Makes a tablespace in a directory of that name below `parent`.
    ///
    /// # Errors
    /// The name is taken, or the directory cannot be made.
    pub fn create_tablespace(&self, name: &str, parent: &Path) -> TestResult {
        let dir = parent.join(name);
        fs::create_dir(&dir)?;
        self.owner.give(&dir)?;
        self.connect("postgres")?.batch_execute(&format!(
            "create tablespace \"{name}\" location '{}'",
            dir.display()
        ))?;
        Ok(())
    }

    /// Adds lines to `postgresql.conf`; they count from the next start or reload.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append_conf(&self, lines: &str) -> TestResult {
        let path = self.data_dir().join("postgresql.conf");
        let mut conf = fs::read_to_string(&path)?;
        conf.push_str(lines);
        fs::write(&path, conf)?;
        Ok(())
    }

    /// Starts the server after [`Cluster::stop`].
    ///
    /// # Errors
    /// It does not answer within a minute, or ends; its log is in the message.
    pub fn start_again(&mut self) -> TestResult {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut command = Command::new(self.server.bindir.join("postgres"));
        command
            .arg("-D")
            .arg(self.data_dir())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C on the terminal is for the test, which then stops it.
            .process_group(0);
        self.owner.apply(&mut command);
        let postmaster = command.spawn()?;
        self.watcher = Some(Watcher::start(postmaster.id(), self.dir.path())?);
        self.postmaster = Some(postmaster);
        wait_until(
            "the server to accept connections",
            Duration::from_secs(60),
            || {
                if let Some(status) = self
                    .postmaster
                    .as_mut()
                    .and_then(|child| child.try_wait().transpose())
                {
                    return Err(format!("server ended with {}", status?).into());
                }
                Ok(self.connect("postgres").is_ok())
            },
        )
        .map_err(|error| format!("{error}\n{}", self.log()).into())
    }

    /// Stops the server and waits for its end.
    ///
    /// # Errors
    /// It was not running, or a signal could not be sent.
    pub fn stop(&mut self, how: Shutdown) -> TestResult {
        let mut postmaster = self.postmaster.take().ok_or("the server is not running")?;
        let pid = rustix::process::Pid::from_child(&postmaster);
        match how {
            Shutdown::Fast => rustix::process::kill_process(pid, rustix::process::Signal::INT)?,
            Shutdown::Immediate => {
                rustix::process::kill_process(pid, rustix::process::Signal::QUIT)?
            }
            Shutdown::Kill => rustix::process::kill_process(pid, rustix::process::Signal::KILL)?,
        }
        postmaster.wait()?;
        // Backends notice a killed postmaster in their own time, and until the last of them is gone
        // a new one finds the shared memory in use.
        let data = self.data_dir();
        wait_until("the backends to end", Duration::from_secs(30), || {
            let left = processes_in(&data);
            for backend in &left {
                // One that has ended by itself is as good.
                let _ = rustix::process::kill_process(*backend, rustix::process::Signal::KILL);
            }
            Ok(left.is_empty())
        })?;
        self.watcher = None;
        Ok(())
    }

    /// Leaves the server running and its directory in place, and lets go of both.
    ///
    /// # Errors
    /// The server does not run.
    pub fn keep(mut self) -> TestResult {
        self.postmaster.take().ok_or("the server is not running")?;
        self.watcher = None;
        self.dir.disable_cleanup(true);
        Ok(())
    }

    /// Stops and starts the server.
    ///
    /// # Errors
    /// As [`Cluster::stop`] and [`Cluster::start_again`].
    pub fn restart(&mut self, how: Shutdown) -> TestResult {
        self.stop(how)?;
        self.start_again()
    }

    /// Makes the server read its configuration again.
    ///
    /// # Errors
    /// The server is down.
    pub fn reload(&self) -> TestResult {
        self.connect("postgres")?
            .batch_execute("select pg_reload_conf()")?;
        Ok(())
    }

    /// Restarts the server from a copy of its installation that offers more extensions: control files
    /// and scripts, name and text of each. The installation itself stays as it is.
    ///
    /// # Errors
    /// The installation cannot be copied, or the copy does not start.
    pub fn offer_extensions(&mut self, files: &[(String, String)]) -> TestResult {
        let mut db = self.connect("postgres")?;
        let mut setting = |name: &str| -> TestResult<PathBuf> {
            let row = db.query_one("select setting from pg_config where name = $1", &[&name])?;
            Ok(PathBuf::from(row.get::<_, String>(0)))
        };
        let (bin, share, lib) = (
            setting("BINDIR")?,
            setting("SHAREDIR")?,
            setting("PKGLIBDIR")?,
        );
        drop(db);
        // A server finds its files by where its program lies; links do not count.
        let copy = installation::copy(&self.dir.path().join("copy"), &bin, &share, &lib, files)?;
        self.stop(Shutdown::Fast)?;
        self.server.bindir = copy;
        self.start_again()
    }

    /// A program of the server's installation, run as the server's user: `pg_resetwal`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.server.bindir.join(program));
        self.owner.apply(&mut command);
        command
    }

    /// The user that the server runs as.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Name of the user that the server runs as.
    ///
    /// # Errors
    /// The user has no name.
    pub fn owner_name(&self) -> TestResult<String> {
        self.owner.name()
    }

    /// Whether the server listens on TCP too.
    pub fn has_tcp(&self) -> bool {
        self.tcp
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.postmaster.is_some() {
            // The directory goes away next, so a clean shutdown has no use.
            let _ = self.stop(Shutdown::Immediate);
        }
    }
}

/// A data directory fresh from initdb, made once per version and user and then copied.
fn template(server: &Server, owner: Owner, segment_megabytes: u32) -> TestResult<PathBuf> {
    let caller = rustix::process::geteuid().as_raw();
    let cache = std::env::temp_dir().join(format!("skytools-initdb-{caller}-{}", owner.uid));
    fs::create_dir_all(&cache)?;
    if fs::metadata(&cache)?.uid() != caller {
        return Err(format!("{} belongs to somebody else", cache.display()).into());
    }
    fs::set_permissions(&cache, Permissions::from_mode(0o755))?;
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    let mut key = server.bindir.to_string_lossy().replace('/', "_");
    if segment_megabytes > 1 {
        key.push_str(&format!(".{segment_megabytes}"));
    }
    let done = cache.join(&key);
    if done.exists() {
        return Ok(done);
    }
    let fresh = cache.join(format!("{key}.new"));
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir(&fresh)?;
    owner.give(&fresh)?;
    let mut initdb = Command::new(server.bindir.join("initdb"));
    initdb
        .args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ])
        .arg(format!("--wal-segsize={segment_megabytes}"))
        .args(["--no-sync", "--no-instructions", "-D"])
        .arg(&fresh);
    owner.apply(&mut initdb);
    run(&mut initdb)?;
    fs::rename(&fresh, &done)?;
    Ok(done)
}

fn run(command: &mut Command) -> TestResult {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

fn free_port() -> TestResult<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Processes whose working directory is `dir`.
fn processes_in(dir: &Path) -> Vec<rustix::process::Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw)
            && fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == dir)
        {
            found.push(pid);
        }
    }
    found
}
