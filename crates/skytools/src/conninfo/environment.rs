//! What surrounds a program and fills the gaps of a connect string.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Directories in which servers put their sockets, in the order they are tried.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/run/postgresql", "/tmp"];

/// Environment variables, home directory and user name that fill the gaps of a connect string.
///
/// The process's own is taken when nothing else is given. Another one serves tests, and programs
/// that must not depend on who starts them.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
    user: Option<String>,
    socket_directories: Vec<PathBuf>,
}

impl Environment {
    /// The process's own.
    pub fn process() -> Environment {
        Environment {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .filter(|(name, _)| name.starts_with("PG"))
                .filter_map(|(name, value)| Some((name, value.into_string().ok()?)))
                .collect(),
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            user: whoami::username().ok(),
            socket_directories: SOCKET_DIRECTORIES.iter().map(PathBuf::from).collect(),
        }
    }

    /// No variables, no home directory, no user, and libpq's socket directories.
    pub fn empty() -> Environment {
        Environment {
            variables: BTreeMap::new(),
            home: None,
            user: None,
            socket_directories: SOCKET_DIRECTORIES.iter().map(PathBuf::from).collect(),
        }
    }

    /// Sets a variable, such as `PGHOST`.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Environment {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the home directory, where `.pgpass`, `.pg_service.conf` and `.postgresql` are.
    #[must_use]
    pub fn with_home(mut self, home: &Path) -> Environment {
        self.home = Some(home.to_owned());
        self
    }

    /// Sets the operating system user, the default of `user`.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Environment {
        self.user = Some(user.to_owned());
        self
    }

    /// Sets the directories in which a socket is sought when no host is given.
    #[must_use]
    pub fn with_socket_directories(mut self, directories: &[&Path]) -> Environment {
        self.socket_directories = directories.iter().map(PathBuf::from).collect();
        self
    }

    /// A variable's value; unset and empty are the same.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(super) fn home_file(&self, name: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(name))
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(super) fn socket_directories(&self) -> &[PathBuf] {
        &self.socket_directories
    }
}

/// Without the values, some of which are secret.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("home", &self.home)
            .field("user", &self.user)
            .finish()
    }
}
