//! What there is instead of commands that this program does not have: those of Londiste 3, and those of a side without
//! its name.

/// What to do instead of giving such a command, to follow "Unknown command 'x', "; `None` if it is just unknown.
pub(super) fn instead_of(command: &str) -> Option<String> {
    let instead = |commands: &[&str]| {
        let commands: Vec<String> = (commands.iter())
            .map(|command| format!("\"londiste INI {command}\""))
            .collect();
        format!("use {} instead", commands.join(" or "))
    };
    if let Some(sides) = sides_of(command) {
        let commands: Vec<String> = sides
            .iter()
            .map(|side| format!("{side} {command}"))
            .collect();
        return Some(instead(
            &commands.iter().map(String::as_str).collect::<Vec<_>>(),
        ));
    }
    let instead = match of_londiste_3(command)? {
        [] => "for which there is nothing here".to_owned(),
        commands => instead(commands),
    };
    Some(format!(
        "{instead}; docs/moving.md tells how to take over from Londiste 3"
    ))
}

/// The sides that have the command.
fn sides_of(command: &str) -> Option<&'static [&'static str]> {
    Some(match command {
        "install" | "add" | "remove" | "tables" | "add-seq" | "remove-seq" | "seqs" | "check" => {
            &["provider", "subscriber"]
        }
        "refresh" | "execute" | "promote" | "demote" | "resurrect" => &["provider"],
        "resync" | "missing" | "fkeys" | "triggers" | "restore-triggers" | "wait-sync"
        | "register" | "unregister" | "relay-init" | "change-provider" => &["subscriber"],
        _ => return None,
    })
}

/// What does the work of a command of Londiste 3 of another name.
fn of_londiste_3(command: &str) -> Option<&'static [&'static str]> {
    Some(match command {
        "add-table" => &["provider add", "subscriber add"],
        "remove-table" => &["provider remove", "subscriber remove"],
        "create-root" => &["provider install"],
        "create-leaf" => &["subscriber install"],
        "create-branch" => &["subscriber relay-init"],
        "drop-node" => &["subscriber unregister"],
        "takeover" => &["provider promote", "subscriber change-provider"],
        "members" | "node-status" | "node-info" => &["node status"],
        "show-consumers" | "wait-root" | "wait-provider" => &["status"],
        "worker" | "resume" => &["replay -d"],
        "pause" => &["-s"],
        "rename-node" | "tag-dead" | "tag-alive" | "change-handler" | "show-handlers" => &[],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Args;
    use super::*;

    #[test]
    fn what_is_told_exists_and_what_exists_is_not_told() {
        let program = Args::command();
        let side = |name: &str| program.find_subcommand(name).unwrap();
        for command in ["provider", "subscriber"]
            .into_iter()
            .flat_map(|name| side(name).get_subcommands())
        {
            let name = command.get_name();
            let known = program.find_subcommand(name).is_some();
            assert_eq!(sides_of(name).is_none(), known, "{name}");
            for name_of_side in sides_of(name).unwrap_or_default() {
                assert!(side(name_of_side).find_subcommand(name).is_some(), "{name}");
            }
        }
        for command in [
            "add-table",
            "remove-table",
            "create-root",
            "create-leaf",
            "create-branch",
            "drop-node",
            "takeover",
            "members",
            "show-consumers",
            "worker",
            "pause",
            "resume",
            "rename-node",
        ] {
            assert!(program.find_subcommand(command).is_none());
            for instead in of_londiste_3(command).unwrap() {
                let mut at = &program;
                for word in instead.split(' ').filter(|word| !word.starts_with('-')) {
                    at = at
                        .find_subcommand(word)
                        .unwrap_or_else(|| panic!("{command}: {instead}"));
                }
            }
        }
    }
}
