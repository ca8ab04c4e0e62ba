//! `main()` of every program: parse, answer `-V` and `--ini`, run, report, exit code.

mod args;
mod count;
mod output;
mod sample;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{ExitCode, Termination};

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

pub use args::{CommonArgs, Override};
pub use output::{json, output, output_json, output_more};
pub use watch::Watch;

use crate::daemon::Reported;

/// What a program is called and how its sample configuration reads.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Name in `-V`, in log lines and the main section of the configuration: `londiste`.
    pub name: &'static str,
    /// Sections accepted as the main one, best first: `["londiste", "londiste3"]`.
    pub sections: &'static [&'static str],
    /// Commented sample configuration, as `--ini` prints it: the file in `examples/`.
    pub sample: &'static str,
}

/// A command line: the options of the program beside those all programs share.
///
/// ```
/// # use skytools::app::{CommonArgs, Program, Service};
/// /// Moves the events of one queue into another
/// #[derive(Debug, clap::Parser)]
/// struct Args {
///     #[command(flatten)]
///     common: CommonArgs,
///     #[command(subcommand)]
///     command: Option<Command>,
/// }
///
/// #[derive(Debug, clap::Subcommand)]
/// enum Command {
///     /// Run until stopped
///     Replay,
/// }
///
/// impl Program for Args {
///     const SERVICE: Service = Service {
///         name: "mover",
///         sections: &["mover"],
///         sample: "[mover]\n",
///     };
///
///     fn common(&self) -> &CommonArgs {
///         &self.common
///     }
/// }
/// ```
pub trait Program: Parser {
    /// The program's name, sections and sample.
    const SERVICE: Service;

    /// The shared options.
    fn common(&self) -> &CommonArgs;

    /// Tried before anything else: a command line that is understood without all commands of the program, for one that
    /// is started again and again. `None` for every other, and for one with anything wrong.
    fn parse_quickly(_args: &[OsString]) -> Option<Self> {
        None
    }

    /// What to say about a command that the program does not have.
    fn unknown_command(name: &str) -> String {
        format!("unknown command '{name}', use --help for help")
    }
}

/// A command line that parses, but asks for nothing that can be done. Exit code 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// The first positional argument is missing.
    #[error("need config file, use --help for help.")]
    NeedConfigFile,
    /// A program with commands was given none.
    #[error("need command, use --help for help")]
    NeedCommand,
    /// The text of the program about a command that it does not have.
    #[error("{0}")]
    UnknownCommand(String),
}

/// Parses the command line, runs the program and turns its result into an exit code.
///
/// Prints the chain of an error once, on stderr; `-h`, `-V` and `--ini` never reach `run`.
pub fn main<P, T, E>(run: fn(P) -> Result<T, E>) -> ExitCode
where
    P: Program,
    T: Termination,
    E: std::error::Error,
{
    let program = match parse::<P>(std::env::args_os().collect()) {
        Ok(program) => program,
        Err(code) => return code,
    };
    let common = program.common();
    if common.ini {
        let sample = sample::with_overrides(P::SERVICE.sample, &common.set);
        return finish(output(sample));
    }
    if let Some(form) = common.generate {
        return finish(args::generate(form, command::<P>(), P::SERVICE.name));
    }
    let code = match run(program) {
        Ok(value) => value.report(),
        Err(error) => match Reported::code_of(&error) {
            Some(code) => ExitCode::from(code),
            None => {
                report(&error);
                ExitCode::FAILURE
            }
        },
    };
    crate::log::close();
    code
}

/// The command line as clap sees it, with what all programs have in common.
fn command<P: Program>() -> clap::Command {
    let command = P::command()
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .infer_long_args(true)
        .args_override_self(true);
    if !command.has_subcommands() {
        return command;
    }
    // The configuration file is optional for clap, since `--ini` needs none, and so it would leave
    // it out of the usage of commands, which does not work without.
    let name = P::SERVICE.name;
    command
        .bin_name(format!("{name} INI"))
        .override_usage(format!("{name} [OPTIONS] INI COMMAND [ARGUMENTS]"))
}

fn parse<P: Program>(args: Vec<OsString>) -> Result<P, ExitCode> {
    if let Some(program) = P::parse_quickly(&args) {
        return Ok(program);
    }
    let args = args::overrides_first(&args);
    let parsed = try_parse::<P>(&args);
    let error = match parsed {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::DisplayVersion {
        let name = P::SERVICE.name;
        let version = env!("CARGO_PKG_VERSION");
        return Err(finish(output(format_args!(
            "{name}, Skytools version {version}\n"
        ))));
    }
    // A signal needs no command, so a wrong one does no harm.
    if error.exit_code() != 0
        && let Some(args) = args::signal_only(&args)
        && let Ok(program) = try_parse::<P>(&args)
    {
        return Ok(program);
    }
    Err(refuse::<P>(&args, &error))
}

fn try_parse<P: Program>(args: &[OsString]) -> Result<P, clap::Error> {
    let mut command = command::<P>();
    let mut matches = command.try_get_matches_from_mut(args)?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Prints what clap has to say. Code 2 is for options that do not parse; a command that is missing,
/// unknown or has the wrong number of arguments is 1.
fn refuse<P: Program>(args: &[OsString], error: &clap::Error) -> ExitCode {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => Some(name.as_str()),
        _ => None,
    };
    let code = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = named(ContextKind::InvalidSubcommand).unwrap_or_default();
            return unknown_command::<P>(name);
        }
        // What follows the configuration file, in clap's eyes.
        ErrorKind::UnknownArgument if !has_command::<P>(args) => {
            match named(ContextKind::InvalidArg).filter(|name| !name.starts_with('-')) {
                Some(name) => return unknown_command::<P>(name),
                None => 2,
            }
        }
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => 1,
        ErrorKind::UnknownArgument
            if named(ContextKind::InvalidArg).is_some_and(|name| !name.starts_with('-')) =>
        {
            1
        }
        _ => u8::try_from(error.exit_code()).unwrap_or(2),
    };
    match count::problem(command::<P>(), args).filter(|_| code == 1) {
        Some(problem) => {
            // The rest of what clap has to say: what to type.
            let text = error.to_string();
            let usage = text.find("Usage:").map_or("", |at| text[at..].trim_end());
            complain(&format!("{problem}\n\n{usage}"));
        }
        // Nobody is left to tell if the terminal is gone.
        None => drop(error.print()),
    }
    ExitCode::from(code)
}

fn unknown_command<P: Program>(name: &str) -> ExitCode {
    report(&UsageError::UnknownCommand(P::unknown_command(name)));
    ExitCode::FAILURE
}

/// Whether a command line that does not parse names a command, or its program has none.
fn has_command<P: Program>(args: &[OsString]) -> bool {
    let command = command::<P>();
    !command.has_subcommands()
        || command
            .ignore_errors(true)
            .try_get_matches_from(args)
            .is_ok_and(|matches| matches.subcommand_name().is_some())
}

fn finish(result: std::io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Says once what went wrong: in the log if there is one, else on stderr.
fn report<E: std::error::Error>(error: &E) {
    let text = account(error);
    if crate::log::is_open() {
        tracing::error!("{text}");
    } else {
        complain(&text);
    }
}

/// Writes a line to stderr; nobody is left to tell if the terminal is gone.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// An error and its causes on one line: `cannot register the consumer: ERROR: no such queue`.
pub fn chain<E: std::error::Error + ?Sized>(error: &E) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What [`chain`] says, and a line `SQLSTATE: 42501` if a server has refused: for who has typed a command. The
/// server's detail and hint have their lines already.
pub fn account<E: std::error::Error + ?Sized>(error: &E) -> String {
    let text = chain(error);
    match error.source().and_then(crate::db::sql_state_of) {
        Some(state) => format!("{text}\nSQLSTATE: {}", state.code()),
        None => text,
    }
}

/// Expands a leading `~` or `~user`; an unknown user stays as written.
pub fn expand_home(path: &str) -> PathBuf {
    let Some(rest) = path.strip_prefix('~') else {
        return PathBuf::from(path);
    };
    let (user, rest) = match rest.split_once('/') {
        Some((user, rest)) => (user, Some(rest)),
        None => (rest, None),
    };
    let home = if user.is_empty() {
        // `HOME`, else the password database.
        std::env::home_dir()
    } else {
        home_of(user)
    };
    match (home, rest) {
        (Some(home), Some(rest)) => home.join(rest),
        (Some(home), None) => home,
        (None, _) => PathBuf::from(path),
    }
}

fn home_of(user: &str) -> Option<PathBuf> {
    let database = std::fs::read_to_string("/etc/passwd").ok()?;
    database.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let home = fields.nth(4)?;
        (name == user).then(|| PathBuf::from(home))
    })
}
