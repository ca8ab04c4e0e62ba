use std::time::Duration;

use serde::Deserialize;
use skytools::config;

/// Keys of the section `[scriptmgr]`, beside those every program has.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Patterns that name the configurations of the jobs.
    pub(crate) config_list: Vec<String>,
    /// How long a program may take to go to the background, in seconds; 0: any time.
    #[serde(default = "a_minute", with = "config::seconds")]
    pub(crate) launch_timeout: Duration,
    /// How long a job in the background may take to write its pidfile, in seconds.
    #[serde(default = "five_seconds", with = "config::seconds")]
    pub(crate) start_timeout: Duration,
    /// How long jobs may take to end, in seconds; 0: nobody waits.
    #[serde(default = "a_minute", with = "config::seconds")]
    pub(crate) stop_timeout: Duration,
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}
