//! `synch-standby`: which standbys a commit waits for, if they are there.

use std::fmt;

use skytools::db::{Connection, During};
use tracing::{info, warn};

use super::Work;
use crate::Error;
use crate::config::MasterConfig;
use crate::init::locate::Located;
use crate::server::change::{Change, Setting};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Value of `synchronous_standby_names`; empty: commits wait for nobody
    pub(super) names: String,
}

pub(super) fn run(work: &mut Work<'_>, args: &Args) -> Result<(), Error> {
    let config = work.master("synch-standby")?;
    apply(config, &args.names, work.options.not_really)
}

/// Without a configuration: the server of a data directory that is found.
pub(super) fn run_located(located: Located, names: &str, dry_run: bool) -> Result<(), Error> {
    apply(&MasterConfig::of_server(located)?, names, dry_run)
}

fn apply(config: &MasterConfig, names: &str, dry_run: bool) -> Result<(), Error> {
    let wanted = Wanted::parse(names)
        .map_err(|problem| Error::Refused(format!("synchronous_standby_names: {problem}")))?;
    let mut db = Connection::open("master_db", config.need_db()?)?;
    let rows = db
        .query("select application_name from pg_stat_replication", &[])
        .during("look for standbys")?;
    let connected: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    wanted.check(&connected)?;
    drop(db);
    let mut change = Change::begin(config)?;
    let settings = [Setting::new("synchronous_standby_names", names)];
    if dry_run {
        return Ok(skytools::app::output(change.show(&settings)?)?);
    }
    change.apply(&settings)?;
    change.reload()?;
    change.verify(&settings)?;
    info!("commits wait for {wanted}");
    Ok(())
}

/// What a value of `synchronous_standby_names` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// Standbys that have to answer.
    number: usize,
    /// In any letters; `*` is everybody.
    names: Vec<String>,
}

impl Wanted {
    /// `a, "b c"`, `2 (a, b)`, `FIRST 2 (a, b)`, `ANY 2 (a, b)`, `*`, or nothing.
    fn parse(text: &str) -> Result<Wanted, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Wanted {
                number: 0,
                names: Vec::new(),
            });
        }
        let (number, list) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((head, list)) => {
                let words: Vec<&str> = head.split_whitespace().collect();
                let number = match words.as_slice() {
                    [number] => number,
                    [how, number]
                        if how.eq_ignore_ascii_case("first") || how.eq_ignore_ascii_case("any") =>
                    {
                        number
                    }
                    _ => return Err(format!("'{head}' is neither FIRST n, ANY n nor n")),
                };
                let number: usize = number
                    .parse()
                    .ok()
                    .filter(|number| *number > 0)
                    .ok_or_else(|| format!("'{number}' is no number of standbys"))?;
                (number, list)
            }
            None => (1, text),
        };
        Ok(Wanted {
            number,
            names: parse_names(list)?,
        })
    }

    /// Whether so many are there that commits do not wait for ever.
    fn check(&self, connected: &[String]) -> Result<(), Error> {
        let there = |name: &String| {
            connected
                .iter()
                .any(|other| other.eq_ignore_ascii_case(name))
        };
        let count = match self.names.iter().any(|name| name == "*") {
            true => connected.len(),
            false => connected
                .iter()
                .filter(|other| {
                    self.names
                        .iter()
                        .any(|name| name.eq_ignore_ascii_case(other))
                })
                .count(),
        };
        let missing: Vec<&str> = self
            .names
            .iter()
            .filter(|name| *name != "*" && !there(name))
            .map(String::as_str)
            .collect();
        if count < self.number {
            return Err(Error::Refused(format!(
                "{} of {} standbys are connected ({}), and every commit would wait: connected are {}",
                count,
                self.number,
                self,
                match connected.is_empty() {
                    true => "none".to_owned(),
                    false => connected.join(", "),
                }
            )));
        }
        if !missing.is_empty() {
            warn!("not connected: {}", missing.join(", "));
        }
        Ok(())
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names.as_slice() {
            [] => f.write_str("no standby"),
            names => write!(f, "{} of: {}", self.number, names.join(", ")),
        }
    }
}

/// Names parted by commas, as the server reads them: in double quotes, which are doubled inside, or plain.
fn parse_names(list: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let mut rest = list.trim();
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut name = String::new();
                let mut chars = quoted.char_indices();
                let end = loop {
                    match chars.next() {
                        Some((at, '"')) if quoted[at + 1..].starts_with('"') => {
                            chars.next();
                            name.push('"');
                        }
                        Some((at, '"')) => break at + 1,
                        Some((_, c)) => name.push(c),
                        None => return Err("a quote does not close".to_owned()),
                    }
                };
                (name, quoted[end..].trim_start())
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let name = rest[..end].trim().to_owned();
                let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
                let is_name =
                    name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit());
                if name != "*" && !is_name {
                    return Err(format!("'{name}' is no name: put it in double quotes"));
                }
                (name, &rest[end..])
            }
        };
        if name.is_empty() {
            return Err("a name is empty".to_owned());
        }
        names.push(name);
        match after.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if after.is_empty() => return Ok(names),
            None => return Err(format!("'{after}' follows a name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn every_form_of_the_server_is_understood() {
        for (text, number, names) in [
            ("", 0, &[][..]),
            ("*", 1, &["*"][..]),
            ("a, B", 1, &["a", "B"]),
            ("2 (a, b)", 2, &["a", "b"]),
            ("first 2 (a,\"b, \"\"c\")", 2, &["a", "b, \"c"]),
            ("ANY 1(*)", 1, &["*"]),
        ] {
            let wanted = Wanted::parse(text).expect(text);
            assert_eq!(
                (wanted.number, wanted.names),
                (number, names.iter().map(|n| (*n).to_owned()).collect())
            );
        }
        for wrong in [
            "a b",
            "my-host",
            "a,",
            "ANY x (a)",
            "LAST 1 (a)",
            "0 (a)",
            "\"a",
            "\"a\" b",
            "2 ()",
        ] {
            assert!(Wanted::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commits_wait_only_for_standbys_that_are_there() {
        let check = |text: &str, connected: &[&str]| {
            let connected: Vec<String> = connected.iter().map(|name| (*name).to_owned()).collect();
            Wanted::parse(text).expect(text).check(&connected).is_ok()
        };
        assert!(check("", &[]) && check("*", &["x"]) && check("A, b", &["a"]));
        assert!(check("ANY 2 (a, b, c)", &["c", "a"]) && check("2 (*)", &["x", "y"]));
        assert!(!check("*", &[]) && !check("a", &["b"]) && !check("ANY 2 (a, b)", &["a"]));
        assert!(!check("FIRST 2 (a, b)", &["a", "c"]));
    }
}
