use std::path::Path;

use pgq::health::Problem;

/// What to type about a problem, with this program where it can help.
#[derive(Clone, Default)]
pub(super) struct Advice {
    /// The program with its configuration, and the database if it has to be named.
    words: Vec<String>,
}

impl Advice {
    pub(super) fn new(config: &Path, dbname: Option<&str>) -> Advice {
        let words = vec!["pgqadm".to_owned(), config.display().to_string()];
        Advice { words }.of(dbname)
    }

    /// The same for one of many databases.
    pub(super) fn of(&self, dbname: Option<&str>) -> Advice {
        let mut words = self.words.clone();
        words.extend(dbname.map(|name| format!("--dbname={name}")));
        Advice { words }
    }

    /// A command line, for a shell.
    pub(super) fn command(&self, command: &[&str]) -> String {
        let own = self.words.iter().map(String::as_str);
        let quoted: Vec<String> = own.chain(command.iter().copied()).map(quote).collect();
        quoted.join(" ")
    }

    /// What to do about a problem.
    pub(super) fn on(&self, problem: &Problem) -> String {
        let queue = problem.queue.as_ref().map_or("", |queue| queue.as_str());
        let consumer = problem.consumer.as_ref().map_or("", |name| name.as_str());
        self.own(&problem.problem, queue, consumer)
            .unwrap_or_else(|| problem.advice.clone())
    }

    /// What this program can do about a kind of problem.
    fn own(&self, problem: &str, queue: &str, consumer: &str) -> Option<String> {
        Some(match problem {
            "no_ticker" | "no_maintenance" => {
                // One ticker serves all databases of the configuration.
                let words = self.words.iter().take(2).cloned().collect();
                let ticker = Advice { words }.command(&["-d", "--ensure", "ticker"]);
                format!("{ticker}; if it runs, look into its log")
            }
            "paused" => self.command(&["resume", queue]),
            "rotation_consumer" | "consumer_gone" => format!(
                "start the consumer, or, if nobody needs it: {}",
                self.command(&["unregister", queue, consumer])
            ),
            "consumer_silent" | "consumer_behind" => format!(
                "look into its log; {}",
                self.command(&["batch", queue, consumer])
            ),
            "consumer_lost" => format!(
                "{}; copy what it missed; register it again",
                self.command(&["unregister", queue, consumer])
            ),
            "failed_events" => format!(
                "{}; then failed retry, or failed delete",
                self.command(&["failed", "list", queue, consumer])
            ),
            _ => return None,
        })
    }
}

/// A word for a shell.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let advice = Advice::new(Path::new("my conf/t.ini"), None).of(Some("it's"));
        assert_eq!(
            advice.command(&["resume", "", "a.b"]),
            r"pgqadm 'my conf/t.ini' '--dbname=it'\''s' resume '' a.b"
        );
    }

    #[test]
    fn every_problem_that_this_program_can_help_with_has_its_command() {
        let advice = Advice::new(Path::new("t.ini"), Some("shop"));
        let ticker = "pgqadm t.ini -d --ensure ticker; if it runs, look into its log";
        let unregister = "pgqadm t.ini --dbname=shop unregister q c";
        let start = format!("start the consumer, or, if nobody needs it: {unregister}");
        let batch = "look into its log; pgqadm t.ini --dbname=shop batch q c";
        let lost = format!("{unregister}; copy what it missed; register it again");
        let failed =
            "pgqadm t.ini --dbname=shop failed list q c; then failed retry, or failed delete";
        let known = [
            ("no_ticker", ticker),
            ("no_maintenance", ticker),
            ("paused", "pgqadm t.ini --dbname=shop resume q"),
            ("rotation_consumer", &start),
            ("consumer_gone", &start),
            ("consumer_silent", batch),
            ("consumer_behind", batch),
            ("consumer_lost", &lost),
            ("failed_events", failed),
        ];
        for (problem, expected) in known {
            assert_eq!(
                advice.own(problem, "q", "c").as_deref(),
                Some(expected),
                "{problem}"
            );
        }
        // Of the others the server says what to do. Both kinds are in the manual.
        let page = include_str!("../../../../../docs/pgqadm.md");
        for (problem, _) in known {
            assert!(page.contains(&format!("`{problem}`")), "{problem}");
        }
        for problem in [
            "txid_behind",
            "not_ticked",
            "rotation_lock",
            "capture",
            "blind",
        ] {
            assert_eq!(advice.own(problem, "q", ""), None, "{problem}");
            assert!(page.contains(&format!("`{problem}`")), "{problem}");
        }
    }
}
