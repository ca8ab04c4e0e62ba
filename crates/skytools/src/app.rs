//! `main()` of every program: parse, answer `-V` and `--ini`, run, report, exit code.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Termination};

use clap::Parser;

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
pub trait Program: Parser {
    /// The program's name, sections and sample.
    const SERVICE: Service;

    /// The shared options.
    fn common(&self) -> &CommonArgs;

    /// Path of the configuration file, the first positional argument.
    fn config_path(&self) -> Option<&Path>;
}

/// Options every program understands, in any position.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CommonArgs {
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
    let _ = run;
    unimplemented!("owner: process helper")
}

/// A key of the main section given on the command line: `--set PARAM=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Key, lower case.
    pub key: String,
    /// Value, trimmed; takes part in interpolation.
    pub value: String,
}

/// Expands a leading `~` or `~user`.
pub fn expand_home(path: &str) -> PathBuf {
    PathBuf::from(path)
}
