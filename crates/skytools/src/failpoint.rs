//! Named steps at which a test makes a process die or pause.
//!
//! Compiled in with the feature `failpoints` only, and armed by the variable `FAILPOINTS`, in the
//! syntax of the crate `fail`: `replay.before_commit=return(kill-once:/tmp/a)`. Actions:
//!
//! * `return(kill)`: die at once, as by SIGKILL
//! * `return(kill-once:PATH)`: the same, if PATH could be created; a later process passes
//! * `return(hold:PATH)`: create PATH, then wait until it is deleted
//! * everything `fail` knows by itself, such as `sleep(500)`

/// Passes the step `name`.
#[cfg(not(feature = "failpoints"))]
pub fn step(_name: &str) {}

/// Passes the step `name`, or does there what `FAILPOINTS` says.
#[cfg(feature = "failpoints")]
pub fn step(name: &str) {
    armed::step(name);
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::fs::File;
    use std::path::Path;
    use std::sync::Once;
    use std::time::Duration;

    static SET_UP: Once = Once::new();

    pub(super) fn step(name: &str) {
        // Dropping the scenario would disarm the steps again.
        SET_UP.call_once(|| {
            // Without the variable, a test may have armed them by itself.
            if std::env::var_os("FAILPOINTS").is_some() {
                std::mem::forget(fail::FailScenario::setup());
            }
        });
        fail::eval(name, |action| {
            let action = action.unwrap_or_default();
            match action.split_once(':') {
                None if action == "kill" => die(name),
                Some(("kill-once", path)) => {
                    if File::create_new(path).is_ok() {
                        die(name);
                    }
                }
                Some(("hold", path)) => hold(Path::new(path)),
                _ => panic!("fail point {name}: unknown action {action:?}"),
            }
        });
    }

    fn die(name: &str) {
        tracing::warn!("fail point {name}: dying");
        std::process::abort();
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a held process is deaf to everything but the file"
    )]
    fn hold(path: &Path) {
        if File::create_new(path).is_ok() {
            while path.exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
