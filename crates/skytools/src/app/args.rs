//! The options all programs share.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Arg, Args, Command, FromArgMatches};

use crate::daemon::Signal;

/// The configuration file, and options every program understands in any position. To be flattened before other
/// positional arguments.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Configuration file
    #[arg(value_name = "INI", help_heading = None::<&str>)]
    pub config: Option<PathBuf>,
    /// Log warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log debug messages too; twice for traces
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Go to the background
    #[arg(short, long, global = true)]
    pub daemon: bool,
    /// Run one pass, then exit
    #[arg(long, global = true)]
    pub once: bool,
    /// Succeed silently if the program is running already
    #[arg(long, global = true)]
    pub ensure: bool,
    /// Ask the running program to read its configuration again
    #[arg(short, long, global = true, num_args = 0, default_missing_value = "")]
    #[arg(value_parser = Turn::parse)]
    reload: Option<Turn>,
    /// Ask the running program to end after its current batch
    #[arg(short, long, global = true, num_args = 0, default_missing_value = "")]
    #[arg(value_parser = Turn::parse)]
    stop: Option<Turn>,
    /// End the running program at once
    #[arg(short, long, global = true, num_args = 0, default_missing_value = "")]
    #[arg(value_parser = Turn::parse)]
    kill: Option<Turn>,
    /// Print a sample configuration
    #[arg(long, global = true)]
    pub(crate) ini: bool,
    /// Set a key of the main section, whatever the file says
    #[arg(long, global = true, value_name = "PARAM=VALUE", value_parser = Override::parse)]
    pub set: Vec<Override>,
    /// Print shell completions or the manual page
    #[arg(long, global = true, hide = true, value_name = "FORM")]
    pub(crate) generate: Option<Form>,
}

impl CommonArgs {
    /// What `-r`, `-s` and `-k` ask for; the last one counts.
    pub fn signal(&self) -> Option<Signal> {
        let wishes = [
            (self.reload, Signal::Reload),
            (self.stop, Signal::Stop),
            (self.kill, Signal::Kill),
        ];
        wishes
            .into_iter()
            .filter_map(|(turn, signal)| Some((turn?, signal)))
            .max_by_key(|(turn, _)| *turn)
            .map(|(_, signal)| signal)
    }
}

/// When a flag was met, counted over all of the command line.
///
/// Clap parses the part before a command and the part after it separately and then merges their
/// global options, so that it cannot tell itself which of two came last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn(usize);

impl Turn {
    #[expect(clippy::unnecessary_wraps, reason = "the shape of a value parser")]
    fn parse(_: &str) -> Result<Turn, std::convert::Infallible> {
        static TURNS: AtomicUsize = AtomicUsize::new(0);
        Ok(Turn(TURNS.fetch_add(1, Ordering::Relaxed)))
    }
}

/// A key of the main section given on the command line: `--set PARAM=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Key, lower case.
    pub key: String,
    /// Value, trimmed; takes part in interpolation.
    pub value: String,
}

impl Override {
    fn parse(text: &str) -> Result<Override, &'static str> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(Override {
                key: key.trim().to_lowercase(),
                value: value.trim().to_owned(),
            }),
            _ => Err("expected PARAM=VALUE"),
        }
    }
}

/// What `--generate` prints.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Form {
    Bash,
    Elvish,
    Fish,
    Man,
    Powershell,
    Zsh,
}

/// Prints completions or the manual page of a command line.
pub(crate) fn generate(form: Form, mut command: Command, name: &str) -> io::Result<()> {
    use clap_complete::{Shell, generate};
    let mut text = Vec::new();
    let mut complete = |shell: Shell| generate(shell, &mut command, name, &mut text);
    match form {
        Form::Bash => complete(Shell::Bash),
        Form::Elvish => complete(Shell::Elvish),
        Form::Fish => complete(Shell::Fish),
        Form::Powershell => complete(Shell::PowerShell),
        Form::Zsh => complete(Shell::Zsh),
        Form::Man => clap_mangen::Man::new(command).render(&mut text)?,
    }
    super::output(String::from_utf8_lossy(&text))
}

/// The same command line with all `--set` in front, in their order.
///
/// Of an option that is given before a command and after it, clap keeps what is after it.
pub(crate) fn overrides_first(args: &[OsString]) -> Vec<OsString> {
    let mut rest = args.iter();
    let mut sorted: Vec<_> = rest.next().cloned().into_iter().collect();
    let mut others = Vec::new();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            others.push(arg.clone());
            others.extend(rest.by_ref().cloned());
        } else if arg.as_encoded_bytes().starts_with(b"--set=") {
            sorted.push(arg.clone());
        } else if arg == "--set"
            && let Some(value) = rest.next()
        {
            sorted.extend([arg.clone(), value.clone()]);
        } else {
            others.push(arg.clone());
        }
    }
    sorted.append(&mut others);
    sorted
}

/// The same command line with nothing but the shared options and the configuration file, if it asks
/// for a signal.
pub(crate) fn signal_only(args: &[OsString]) -> Option<Vec<OsString>> {
    let command = CommonArgs::augment_args(Command::new("any"))
        .infer_long_args(true)
        .args_override_self(true)
        .arg(Arg::new("rest").num_args(0..));
    let matches = command.try_get_matches_from(args).ok()?;
    let common = CommonArgs::from_arg_matches(&matches).ok()?;
    let (signal, config) = (common.signal()?, common.config?);
    let flag = match signal {
        Signal::Reload => "--reload",
        Signal::Stop => "--stop",
        Signal::Kill => "--kill",
    };
    let mut short = vec![args.first()?.clone(), flag.into()];
    if common.quiet {
        short.push("--quiet".into());
    }
    short.extend((0..common.verbose).map(|_| "--verbose".into()));
    for set in &common.set {
        short.push(format!("--set={}={}", set.key, set.value).into());
    }
    short.push("--".into());
    short.push(config.into());
    Some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_come_first_up_to_two_dashes() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let line = args("program --set=a=1 x.ini -v work --set b=2 3 -- --set c=3");
        let sorted = args("program --set=a=1 --set b=2 x.ini -v work 3 -- --set c=3");
        assert_eq!(overrides_first(&line), sorted);
        let unfinished = args("program x.ini --set");
        assert_eq!(overrides_first(&unfinished), unfinished);
        assert!(overrides_first(&[]).is_empty());
    }
}
