//! The users that jobs run as.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use skytools::shell;

/// An account of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) home: PathBuf,
    shell: String,
}

impl Account {
    /// Looks an account up; `None` if the system does not know it.
    pub(crate) fn find(name: &str) -> Option<Account> {
        let file = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Account::of(&file, name).or_else(|| {
            // It knows directories of users, too.
            let output = Command::new("getent").args(["passwd", "--", name]).output();
            Account::of(&String::from_utf8_lossy(&output.ok()?.stdout), name)
        })
    }

    /// Finds it in the text of a password file.
    fn of(file: &str, name: &str) -> Option<Account> {
        file.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields[..] {
                [known, _, uid, _, _, home, shell] if known == name => Some(Account {
                    name: name.to_owned(),
                    uid: uid.parse().ok()?,
                    home: home.into(),
                    shell: shell.to_owned(),
                }),
                _ => None,
            }
        })
    }

    /// How to run something as this user.
    pub(crate) fn way(&self) -> Way<'_> {
        let own = rustix::process::geteuid();
        if own.as_raw() == self.uid {
            return Way::Already;
        }
        match find_program("runuser").filter(|_| own.is_root()) {
            Some(program) => Way::Runuser(self, program),
            None => Way::Sudo(self),
        }
    }
}

/// A way to run something as another user.
#[derive(Debug)]
pub(crate) enum Way<'a> {
    /// It is the user that runs us.
    Already,
    /// As root, without asking anybody, by this program: cron looks for it in too few places.
    Runuser(&'a Account, PathBuf),
    /// As the rules of sudo allow.
    Sudo(&'a Account),
}

impl Way<'_> {
    /// The text that a shell runs so that another one, of this user, runs `text`.
    pub(crate) fn wrap(&self, text: OsString) -> OsString {
        let mut line = OsString::new();
        match self {
            Way::Already => {}
            Way::Runuser(account, program) => {
                line.push("exec ");
                line.push(shell::quote(program));
                line.push(" -u ");
                line.push(shell::quote(&account.name));
                line.push(" -- sh -c ");
                line.push(shell::quote(text));
                return line;
            }
            Way::Sudo(account) => {
                line.push("sudo -nH -u ");
                line.push(shell::quote(&account.name));
                line.push(" ");
                // A plain command goes to sudo itself, whose rules may know it.
                if !shell::is_plain(&text) {
                    line.push("sh -c ");
                    line.push(shell::quote(text));
                    return line;
                }
            }
        }
        line.push(text);
        line
    }

    /// The variables that differ from ours; sudo sets them itself.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        match self {
            Way::Already | Way::Sudo(_) => Vec::new(),
            Way::Runuser(account, _) => vec![
                ("HOME", account.home.clone().into()),
                ("USER", account.name.clone().into()),
                ("LOGNAME", account.name.clone().into()),
                ("SHELL", account.shell.clone().into()),
            ],
        }
    }
}

/// A program on the path, or where the system's administration has its own.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| is_executable(program))
}

fn is_executable(program: &Path) -> bool {
    rustix::fs::access(program, rustix::fs::Access::EXEC_OK).is_ok() && program.is_file()
}

/// A leading `~` of a job's path is the home of the user that runs the job.
pub(crate) fn expand_home(path: &str, account: Option<&Account>) -> PathBuf {
    match (path.strip_prefix('~'), account) {
        (Some(""), Some(account)) => account.home.clone(),
        (Some(rest), Some(account)) if rest.starts_with('/') => {
            let mut home = OsString::from(&account.home);
            home.push(OsStr::new(rest));
            home.into()
        }
        _ => skytools::app::expand_home(path),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Account, expand_home};

    const FILE: &str = "root:x:0:0:root:/root:/bin/bash\n\
                        broken:x\n\
                        mover:x:1007:1008:Mover,,,:/srv/mover:/bin/sh\n";

    #[test]
    fn accounts_are_found_by_name() {
        let mover = Account::of(FILE, "mover").expect("is there");
        assert_eq!(
            (mover.uid, mover.home.as_path()),
            (1007, Path::new("/srv/mover"))
        );
        assert_eq!(Account::of(FILE, "broken"), None);
        assert_eq!(Account::of(FILE, "Mover"), None);
        assert_eq!(Account::find("no such user"), None);
        assert_eq!(Account::find("root").map(|root| root.uid), Some(0));
    }

    #[test]
    fn a_tilde_is_the_home_of_the_job() {
        let mover = Account::of(FILE, "mover");
        for (path, expected) in [
            ("~", "/srv/mover"),
            ("~/x.pid", "/srv/mover/x.pid"),
            ("/~/x.pid", "/~/x.pid"),
            ("~root/x.pid", "/root/x.pid"),
        ] {
            assert_eq!(expand_home(path, mover.as_ref()), Path::new(expected));
        }
    }
}
