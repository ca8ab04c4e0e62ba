//! Commands with too few or too many arguments.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Command};

/// Takes the arguments that a command has no name for.
const REST: &str = "rest";

/// `command 'C' got N args, but expects M: arg1 arg2`, if that is what is wrong.
pub(super) fn problem(command: Command, args: &[OsString]) -> Option<String> {
    let mut lenient = lenient(command).ignore_errors(true);
    let matches = lenient.try_get_matches_from_mut(args).ok()?;
    let (mut command, mut matches) = (&lenient, &matches);
    while let Some((name, below)) = matches.subcommand() {
        command = command.find_subcommand(name)?;
        matches = below;
    }
    // The arguments of the program itself are no command's.
    if std::ptr::eq(command, &lenient) {
        return None;
    }
    let expected: Vec<String> = command
        .get_positionals()
        .filter(|arg| arg.get_id() != REST)
        .map(|arg| arg.get_id().to_string())
        .collect();
    let given: usize = command
        .get_positionals()
        .map(|arg| count(matches, arg.get_id().as_str()))
        .sum();
    let name = command.get_name();
    let number = expected.len();
    (given != number).then(|| {
        let names = expected.join(" ");
        let text = format!("command '{name}' got {given} args, but expects {number}: {names}");
        text.trim_end_matches([' ', ':']).to_owned()
    })
}

fn count(matches: &ArgMatches, id: &str) -> usize {
    match matches.try_get_raw(id) {
        Ok(Some(values)) => values.count(),
        _ => 0,
    }
}

/// The same commands, each of which takes any number of arguments.
fn lenient(command: Command) -> Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .collect();
    if !names.is_empty() {
        return names.into_iter().fold(command, |command, name| {
            command.mut_subcommand(name, lenient)
        });
    }
    let takes_many = command.get_positionals().any(|arg| {
        matches!(arg.get_action(), clap::ArgAction::Append)
            || arg
                .get_num_args()
                .is_some_and(|number| number.max_values() > 1)
    });
    let command = command.mut_args(|arg| match arg.is_positional() {
        true => arg.required(false),
        false => arg,
    });
    match takes_many {
        true => command,
        false => command.arg(Arg::new(REST).num_args(0..)),
    }
}
