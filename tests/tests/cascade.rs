//! The procedures of the cascade in docs/londiste.md, as they are typed there, under load.

use std::fs;
use std::path::Path;

use e2e::{Load, TIMEOUT};
use postgres::Client;
use tempfile::TempDir;
use testkit::{Cluster, Job, Program, Shutdown, TestResult, wait_until};

const PAGE: &str = include_str!("../../docs/londiste.md");

const ROOT: usize = 0;
const RELAY: usize = 1;
const SIBLING: usize = 2;
const LEAF: usize = 3;

/// A root, two relays of it, and a leaf of the first.
struct Cascade {
    // Killed before the servers go.
    jobs: Vec<Job>,
    nodes: Vec<Cluster>,
    dir: TempDir,
}

impl Cascade {
    fn start() -> TestResult<Cascade> {
        let mut nodes = Vec::new();
        for number in 0..4 {
            let node = match number % 2 {
                0 => Cluster::start()?,
                _ => Cluster::builder().subscriber().start()?,
            };
            node.create_database("shop")?.batch_execute(Load::TABLES)?;
            nodes.push(node);
        }
        let dir = tempfile::tempdir()?;
        let jobs = [
            "relay",
            "sibling",
            "leaf",
            "back",
            "root_ticker",
            "relay_ticker",
        ]
        .iter()
        .map(|name| Job::new(dir.path().join(format!("{name}.pid"))))
        .collect();
        let it = Cascade { jobs, nodes, dir };
        it.londiste("relay", ROOT, RELAY, true)?;
        it.londiste("sibling", ROOT, SIBLING, true)?;
        it.londiste("leaf", RELAY, LEAF, false)?;
        it.londiste("back", RELAY, ROOT, true)?;
        it.pgqadm("root_ticker", ROOT)?;
        it.pgqadm("relay_ticker", RELAY)?;
        it.type_all(&[
            "pgqadm root_ticker.ini install",
            "pgqadm root_ticker.ini ticker -d",
            "londiste relay.ini provider install",
            "pgqadm root_ticker.ini config replic ticker_max_lag=0.2 ticker_idle_period=1",
            "londiste relay.ini provider add --all",
            "londiste relay.ini provider add-seq --all",
        ])?;
        it.db(ROOT)?.batch_execute(Load::ROWS)?;
        let relays = it.commands("londiste relay.ini subscriber install")?;
        assert_eq!(relays.len(), 8);
        it.type_all(&relays[..5])?;
        it.type_all(&["pgqadm relay_ticker.ini ticker -d"])?;
        for line in &relays[..5] {
            it.typed(&line.replace("relay.ini", "sibling.ini"))?;
        }
        it.type_all(&[
            "londiste relay.ini subscriber wait-sync",
            "londiste sibling.ini subscriber wait-sync",
        ])?;
        for node in [RELAY, SIBLING] {
            wait_until("the relay to publish its tables", TIMEOUT, || {
                let sql = "select count(*) = 4 from londiste.provider_table";
                Ok(it.db(node)?.query_one(sql, &[])?.get(0))
            })?;
        }
        it.type_all(&relays[5..])?;
        it.type_all(&["londiste leaf.ini subscriber wait-sync"])?;
        Ok(it)
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn db(&self, node: usize) -> TestResult<Client> {
        self.nodes[node].connect("shop")
    }

    fn londiste(&self, name: &str, from: usize, to: usize, relay: bool) -> TestResult {
        let mirror = if relay { "mirror_queue = replic\n" } else { "" };
        let text = format!(
            "[londiste]\njob_name = {name}\nprovider_db = {}\nsubscriber_db = {}\npgq_queue_name = replic\n\
             loop_delay = 0.1\nexception_sleep = 0.3\nlogfile = {name}.log\npidfile = {name}.pid\n{mirror}",
            self.nodes[from].conninfo("shop"),
            self.nodes[to].conninfo("shop"),
        );
        Ok(fs::write(self.path().join(format!("{name}.ini")), text)?)
    }

    fn pgqadm(&self, name: &str, node: usize) -> TestResult {
        let text = format!(
            "[pgqadm]\njob_name = {name}\ndb = {}\nloop_delay = 0.1\nqueue_refresh_period = 1\n\
             exception_sleep = 0.3\nlogfile = {name}.log\npidfile = {name}.pid\n",
            self.nodes[node].conninfo("shop"),
        );
        Ok(fs::write(self.path().join(format!("{name}.ini")), text)?)
    }

    /// The commands in the block of the page that begins with a line, without its comments.
    fn commands(&self, first: &str) -> TestResult<Vec<&'static str>> {
        let block = PAGE
            .split("```sh\n")
            .skip(1)
            .filter_map(|text| text.split_once("```"))
            .map(|(block, _)| block)
            .find(|block| block.lines().any(|line| line.starts_with(first)))
            .ok_or_else(|| format!("no block has {first}"))?;
        Ok(block
            .lines()
            .flat_map(|line| line.split('#').next().unwrap_or_default().split("&&"))
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect())
    }

    /// Types a command as a shell would take it: connect strings are in variables.
    fn typed(&self, line: &str) -> TestResult<String> {
        let mut words = line.split(' ');
        let program = words.next().unwrap_or_default();
        let words = words.map(|word| match word {
            "\"$ROOT\"" => self.nodes[ROOT].conninfo("shop"),
            "\"$RELAY\"" => self.nodes[RELAY].conninfo("shop"),
            "\"$SIBLING\"" => self.nodes[SIBLING].conninfo("shop"),
            word => word.to_owned(),
        });
        let output = Program::new(program, self.path()).args(words).output()?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(format!("`{line}`: {}\n{}", output.status, output.stderr).into()),
        }
    }

    fn type_all(&self, lines: &[&str]) -> TestResult {
        lines.iter().try_for_each(|line| self.typed(line).map(drop))
    }

    /// Waits until a node has a new row of the root, and insists that it has all of its rows then.
    fn assert_same(&self, root: usize, node: usize, written: &[i64]) -> TestResult {
        let marker = i32::try_from(100 * root + node)?;
        let insert = "insert into marker values ($1) on conflict do nothing";
        self.db(root)?.execute(insert, &[&marker])?;
        wait_until("the last row to arrive", TIMEOUT, || {
            let sql = "select count(*) = 1 from marker where id = $1";
            Ok(self.db(node)?.query_one(sql, &[&marker])?.get(0))
        })?;
        let problems = Load::problems(&mut self.db(node)?, written)?;
        assert!(problems.is_empty(), "node {node}: {problems:#?}");
        for (table, key) in &Load::KEYS[..3] {
            let query = format!("select * from {table} order by {key}");
            let result = testkit::compare(&mut self.db(root)?, &mut self.db(node)?, &query)?;
            assert!(result.difference.is_none(), "{table} on {node}: {result:?}");
            assert!(result.left_rows > 0);
        }
        Ok(())
    }

    /// Waits until a row written now is on a node.
    fn wait_progress(&self, node: usize) -> TestResult {
        let sql = "select count(*) from ledger where writer > 0";
        let mut db = self.db(node)?;
        let before: i64 = db.query_one(sql, &[])?.get(0);
        wait_until("rows to be replicated", TIMEOUT, || {
            Ok(db.query_one(sql, &[])?.get::<_, i64>(0) > before + 100)
        })
    }

    fn dsn(&self, node: usize) -> String {
        self.nodes[node].conninfo("shop")
    }
}

#[test]
fn the_middle_and_then_the_root_die_and_what_the_manual_says_helps() -> TestResult {
    let mut it = Cascade::start()?;
    let load = Load::start(&it.dsn(ROOT), 2);
    it.wait_progress(LEAF)?;

    it.nodes[RELAY].stop(Shutdown::Kill)?;
    it.type_all(&it.commands("londiste leaf.ini subscriber change-provider")?)?;
    it.wait_progress(LEAF)?;
    it.nodes[RELAY].start_again()?;
    it.wait_progress(RELAY)?;
    it.typed("londiste leaf.ini subscriber change-provider \"$RELAY\"")?;
    it.wait_progress(LEAF)?;

    // So that the relay is the candidate.
    it.typed("londiste sibling.ini -s")?;
    it.jobs[1].wait_gone(TIMEOUT)?;
    it.wait_progress(RELAY)?;
    it.nodes[ROOT].stop(Shutdown::Kill)?;
    let lines = it.commands("londiste relay.ini node status")?;
    assert_eq!(lines.len(), 5);
    let nodes = it.typed(lines[0])?;
    let candidate = nodes
        .lines()
        .find(|line| line.contains("candidate for root"));
    assert!(
        candidate.is_some_and(|line| line.starts_with("relay")),
        "{nodes}"
    );
    it.type_all(&lines[1..])?;
    it.typed("londiste sibling.ini replay -d")?;
    load.redirect(&it.dsn(RELAY), true);
    for node in [SIBLING, LEAF] {
        it.wait_progress(node)?;
    }
    it.nodes[ROOT].start_again()?;
    it.type_all(&it.commands("londiste back.ini provider resurrect")?)?;
    let written = load.stop()?;
    it.typed("londiste back.ini subscriber wait-sync")?;
    for node in [SIBLING, LEAF, ROOT] {
        it.assert_same(RELAY, node, &written)?;
    }
    Ok(())
}

#[test]
fn root_and_relay_change_places_as_the_manual_says() -> TestResult {
    let it = Cascade::start()?;
    let load = Load::start(&it.dsn(ROOT), 2);
    it.wait_progress(LEAF)?;
    let lines = it.commands("londiste relay.ini provider demote")?;
    assert_eq!(lines.len(), 4);
    it.type_all(&lines)?;
    load.redirect(&it.dsn(RELAY), false);
    it.type_all(&it.commands("londiste back.ini provider resurrect")?)?;
    it.typed("londiste sibling.ini subscriber change-provider \"$RELAY\"")?;
    for node in [SIBLING, LEAF, ROOT] {
        it.wait_progress(node)?;
    }
    let written = load.stop()?;
    for node in [SIBLING, LEAF, ROOT] {
        it.assert_same(RELAY, node, &written)?;
    }
    assert!(!it.path().join("lost-events.json").exists());
    let log = fs::read_to_string(it.path().join("back.log"))?;
    assert!(!log.contains("Starting full copy"), "{log}");
    Ok(())
}
