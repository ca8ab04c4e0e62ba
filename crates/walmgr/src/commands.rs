//! The commands: one file each.

mod backup;
mod boot;
mod check;
mod cleanup;
mod createslave;
mod expire;
mod listbackups;
mod pause;
mod periodic;
mod rejoin;
mod restore;
mod setup;
mod status;
mod stop;
mod switchover;
mod sync;
mod synch_standby;
mod verify;
mod xarchive;
mod xbackup;
mod xlock;
mod xpartial;
mod xpurge;
mod xreceive;
mod xrestore;
mod xrstpt;
mod xserve;
mod xstopped;

use std::process::ExitCode;

use skytools::app::{Program, UsageError};
use skytools::daemon::{self, Context};
use skytools::pidfile;

use crate::args::{Args, FirstSteps, Options};
use crate::config::{MasterConfig, Role, SlaveConfig};
use crate::init::locate::Located;
use crate::{Config, Error, init};

/// What the program is asked to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Configure archiving on the master, make directories on the slave
    Setup,
    /// Switch archiving off
    Stop(stop::Args),
    /// Take a base backup
    Backup(backup::Args),
    /// Show base backups
    Listbackups,
    /// Put a base backup into service as a standby
    Restore(restore::Args),
    /// Make a standby that streams, straight from the master
    Createslave,
    /// Ship unfinished WAL once; also from the files of a master that is dead
    Sync,
    /// Ship unfinished WAL every `loop_delay` seconds; on the slave, stream it
    Syncdaemon,
    /// End recovery, and open the standby for writes
    Boot,
    /// Change roles with a master that is well: wait for its clean shutdown, and open the standby
    Switchover(switchover::Args),
    /// Make a server that was the master a standby of the one that took over
    Rejoin(rejoin::Args),
    /// Hold replay
    Pause,
    /// Go on with replay
    Continue,
    /// Look whether all is in order; exit code 3 if it is not
    Check(check::Args),
    /// Show how far archiving and replay are
    Status,
    /// Compare base backups and WAL with what they were; exit code 3 if something differs
    Verify(verify::Args),
    /// Delete base backups and WAL that need not be kept
    Expire,
    /// Have commits on the master wait for standbys
    SynchStandby(synch_standby::Args),
    /// Remove what this program has made on this host, after stop
    Cleanup,
    /// Run `periodic_command` if it is due
    Periodic,
    /// Write a configuration for the master on this host, as INI
    #[command(name = "init_master")]
    InitMaster,
    /// Write a configuration for the slave on this host, as INI
    #[command(name = "init_slave")]
    InitSlave,
    /// Archive a file: for `archive_command`
    Xarchive(xarchive::Args),
    /// Hand out an archived file: for `restore_command`
    Xrestore(xrestore::Args),
    /// Delete WAL that nobody needs: for `archive_cleanup_command`
    Xcleanup(xpurge::CleanupArgs),
    /// Take one file into the archive
    #[command(hide = true)]
    Xreceive(xreceive::Args),
    /// Take what comes on stdin: many files, one after the other
    #[command(hide = true)]
    Xserve,
    /// Take the backup lock
    #[command(hide = true)]
    Xlock(xlock::Args),
    /// Release the backup lock
    #[command(hide = true)]
    Xrelease,
    /// Make room for a new base backup
    #[command(hide = true)]
    Xrotate,
    /// Delete WAL that no base backup needs
    #[command(hide = true)]
    Xpurgewals,
    /// Take bytes of an unfinished segment
    #[command(hide = true)]
    Xpartialsync(xpartial::Args),
    /// Show which WAL is here
    #[command(hide = true)]
    Xwals,
    /// Show which set a restore on the master takes
    #[command(hide = true)]
    Xset(restore::Args),
    /// Show where the server would begin to replay
    #[command(hide = true)]
    Xrstpt,
    /// Note that archiving is off
    #[command(hide = true)]
    Xstopped,
    /// Make a place for a base backup
    #[command(hide = true)]
    XbackupBegin(xbackup::BeginArgs),
    /// Fetch a copy of the master
    #[command(hide = true)]
    XbackupFetch(xbackup::FetchArgs),
    /// Make a set of a base backup that has been copied
    #[command(hide = true)]
    XbackupCommit(xbackup::CommitArgs),
}

/// Those that a server runs again and again.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ServerCommand {
    Xarchive(xarchive::Args),
    Xrestore(xrestore::Args),
    Xcleanup(xpurge::CleanupArgs),
}

impl From<ServerCommand> for Command {
    fn from(command: ServerCommand) -> Command {
        match command {
            ServerCommand::Xarchive(args) => Command::Xarchive(args),
            ServerCommand::Xrestore(args) => Command::Xrestore(args),
            ServerCommand::Xcleanup(args) => Command::Xcleanup(args),
        }
    }
}

impl Command {
    fn synch_standby(names: String) -> Command {
        Command::SynchStandby(synch_standby::Args { names })
    }
}

/// One side, with its keys.
enum Node {
    Master(Box<MasterConfig>),
    Slave(Box<SlaveConfig>),
}

/// What a command finds around it.
struct Work<'a> {
    job: &'a daemon::Job<Config>,
    node: Node,
    options: &'a Options,
    first: &'a FirstSteps,
    context: &'a mut Context,
}

impl Work<'_> {
    /// For a command of the master alone.
    fn master(&self, command: &'static str) -> Result<&MasterConfig, Error> {
        match &self.node {
            Node::Master(config) => Ok(config),
            Node::Slave(_) => Err(Error::WrongRole(command)),
        }
    }

    /// For a command of the slave alone.
    fn slave(&self, command: &'static str) -> Result<&SlaveConfig, Error> {
        match &self.node {
            Node::Slave(config) => Ok(config),
            Node::Master(_) => Err(Error::WrongRole(command)),
        }
    }
}

/// The side that a configuration is to be written for, as a switch or as a command.
fn side_to_init(args: &Args) -> Option<Role> {
    match args.command {
        Some(Command::InitMaster) => Some(Role::Master),
        Some(Command::InitSlave) => Some(Role::Slave),
        _ if args.first.init_master => Some(Role::Master),
        _ if args.first.init_slave => Some(Role::Slave),
        _ => None,
    }
}

/// Runs the program.
pub(crate) fn run(args: Args) -> Result<ExitCode, Error> {
    if let Some(role) = side_to_init(&args) {
        init::run(role, args.common(), &args.first, &args.options)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(names), None) = (&args.first.synch_standby, &args.common().config) {
        let located = Located::find(args.first.pgdata.as_deref())?;
        synch_standby::run_located(located, names, args.options.not_really)?;
        return Ok(ExitCode::SUCCESS);
    }
    let job: daemon::Job<Config> = daemon::Job::open(&args)?;
    if let Some(signal) = job.signal_request() {
        job.deliver(signal);
        return Ok(ExitCode::SUCCESS);
    }
    let as_switch = args.first.synch_standby.clone().map(Command::synch_standby);
    let command = args.command.or(as_switch).ok_or(UsageError::NeedCommand)?;
    let node = match job.config.role(&job.settings)? {
        Role::Master => Node::Master(Box::new(MasterConfig::new(&job.config)?)),
        Role::Slave => Node::Slave(Box::new(SlaveConfig::new(
            &job.config,
            job.settings.path(),
        )?)),
    };
    // Only what ships WAL again and again has to be alone.
    if matches!(command, Command::Syncdaemon) && !args.options.not_really {
        return match node {
            Node::Master(config) => sync::daemon(job, *config).map(|()| ExitCode::SUCCESS),
            Node::Slave(config) => sync::receiver(job, *config).map(|()| ExitCode::SUCCESS),
        };
    }
    if matches!(command, Command::Sync)
        && let Some(path) = &job.common.pidfile
        && let Ok(pidfile::Status::Running(pid)) = pidfile::status(path)
    {
        return Err(Error::Refused(format!(
            "process {pid} ships unfinished WAL already; if the server is gone for good, end it first: walmgr {} \
             syncdaemon -s",
            job.settings.path().display()
        )));
    }
    let job = match command {
        Command::Sync => job,
        _ => job.without_pidfile(),
    };
    let code = job.run_command(|job, context| {
        dispatch(
            &command,
            &mut Work {
                job,
                node,
                options: &args.options,
                first: &args.first,
                context,
            },
        )
    })?;
    Ok(code)
}

fn dispatch(command: &Command, work: &mut Work<'_>) -> Result<ExitCode, Error> {
    let done = match command {
        Command::Setup => setup::run(work),
        Command::Stop(args) => stop::run(work, args),
        Command::Backup(args) => backup::run(work, args),
        Command::Listbackups => listbackups::run(work),
        Command::Restore(args) => restore::run(work, args),
        // The second is no command that ends, except to show what it would do.
        Command::Createslave => createslave::run(work),
        Command::Sync | Command::Syncdaemon => sync::run(work),
        Command::Boot => boot::run(work),
        Command::Switchover(args) => switchover::run(work, args),
        Command::Rejoin(args) => rejoin::run(work, args),
        Command::Pause => pause::pause(work),
        Command::Continue => pause::go_on(work),
        Command::Check(args) => return check::run(work, args),
        Command::Status => status::run(work),
        Command::Verify(args) => return verify::run(work, args),
        Command::Expire => expire::run(work),
        Command::SynchStandby(args) => synch_standby::run(work, args),
        Command::Cleanup => cleanup::run(work),
        Command::Periodic => periodic::run(work),
        // They have no configuration yet.
        Command::InitMaster | Command::InitSlave => Ok(()),
        Command::Xarchive(args) => xarchive::run(work, args),
        Command::Xrestore(args) => return xrestore::run(work, args),
        Command::Xcleanup(args) => xpurge::cleanup(work, args),
        Command::Xreceive(args) => xreceive::run(work, args),
        Command::Xserve => xserve::run(work),
        Command::Xlock(args) => return xlock::run(work, args),
        Command::Xrelease => xlock::release(work),
        Command::Xrotate => xpurge::rotate(work),
        Command::Xpurgewals => xpurge::run(work),
        Command::Xpartialsync(args) => xpartial::run(work, args),
        Command::Xwals => xpartial::list(work),
        Command::Xset(args) => restore::offer(work, args),
        Command::Xrstpt => xrstpt::run(work),
        Command::Xstopped => xstopped::run(work),
        Command::XbackupBegin(args) => xbackup::begin(work, args),
        Command::XbackupFetch(args) => xbackup::fetch(work, args),
        Command::XbackupCommit(args) => xbackup::commit(work, args),
    };
    done.map(|()| ExitCode::SUCCESS)
}
