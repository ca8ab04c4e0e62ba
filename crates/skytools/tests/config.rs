//! Configuration files, from text to typed structs.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;
use skytools::app::Override;
use skytools::config::{CommonConfig, ConfigError, Settings};
use testkit::TestResult;

/// A file in a directory of its own.
struct File {
    dir: tempfile::TempDir,
    name: &'static str,
}

impl File {
    fn new(name: &'static str, text: &str) -> TestResult<File> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join(name), text)?;
        Ok(File { dir, name })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    fn load(&self) -> Result<Settings, ConfigError> {
        Settings::load(&self.path(), &["job"], &[])
    }
}

fn ini(text: &str) -> TestResult<Settings> {
    Ok(File::new("x.ini", text)?.load()?)
}

fn toml(text: &str) -> TestResult<Settings> {
    Ok(File::new("x.toml", text)?.load()?)
}

/// One key of the main section.
fn get<T: serde::de::DeserializeOwned>(settings: &Settings, key: &str) -> Result<T, String> {
    let value = settings.main_section().get(key);
    value
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("{key} is not set"))
}

/// What is wrong with a file or a key, without the path that precedes it.
fn problem<T: serde::de::DeserializeOwned + std::fmt::Debug>(value: &str) -> TestResult<String> {
    let settings = ini(&format!("[job]\nkey = {value}\n"))?;
    let error = get::<T>(&settings, "key").expect_err("a bad value");
    let (_, problem) = error.split_once(": ").ok_or("no path")?;
    Ok(problem.to_owned())
}

#[test]
fn a_missing_file_or_section_is_named() -> TestResult {
    let missing = Settings::load("/nowhere/x.ini".as_ref(), &["job"], &[]);
    let error = missing.expect_err("there is no such file");
    assert_eq!(error.to_string(), "Config file not found: /nowhere/x.ini");

    let error = File::new("x.ini", "[other]\n")?
        .load()
        .expect_err("no section");
    let error = error.to_string();
    assert!(
        error.starts_with("Wrong config file, no section 'job' in ") && error.ends_with("x.ini"),
        "{error}"
    );

    let directory = tempfile::tempdir()?;
    let error = Settings::load(directory.path(), &["job"], &[]).expect_err("a directory");
    assert!(error.to_string().starts_with("cannot read "), "{error}");
    assert!(error.source().is_some());
    Ok(())
}

#[test]
fn all_bad_lines_are_reported_together() -> TestResult {
    let file = File::new("x.ini", "a = 1\n[job]\nb\nc = 1\n")?;
    let error = file.load().expect_err("bad lines").to_string();
    let path = file.path();
    assert_eq!(
        error,
        format!(
            "cannot parse {}\n  line 1: expected a [section] before the first key\n  \
             line 3: expected \"key = value\", a [section] or a comment",
            path.display()
        )
    );
    Ok(())
}

#[test]
fn text_in_another_encoding_is_refused() -> TestResult {
    let file = File::new("x.ini", "")?;
    std::fs::write(file.path(), b"[job]\na = \xe4\n")?;
    let error = file.load().expect_err("not UTF-8");
    assert!(
        error.to_string().ends_with("x.ini: line 2: expected UTF-8"),
        "{error}"
    );
    Ok(())
}

#[test]
fn the_first_section_of_the_list_is_the_main_one() -> TestResult {
    let file = File::new("x.ini", "[job3]\na = 3\n[job]\na = 2\n")?;
    let settings = Settings::load(&file.path(), &["job", "job3"], &[])?;
    assert_eq!(get::<String>(&settings, "a")?, "2");

    let file = File::new("x.ini", "[job3]\na = 3\n")?;
    let settings = Settings::load(&file.path(), &["job", "job3"], &[])?;
    assert_eq!(get::<String>(&settings, "a")?, "3");
    assert_eq!(settings.main::<CommonConfig>()?.job_name, "job3");
    Ok(())
}

#[test]
fn variables_come_from_the_section_then_default_then_built_in() -> TestResult {
    let settings = ini("[DEFAULT]
dir = /default
base = %(dir)s/base
[job]
dir = /job
log = %(base)s/%(JOB_NAME)s.log
percent = 100%%
host = %(host_name)s
file = %(config_file)s
in = %(config_dir)s/x.ini
service = %(service_name)s
[other]
job_name = twin
log = %(base)s/%(job_name)s.log
")?;
    assert_eq!(get::<String>(&settings, "log")?, "/job/base/job.log");
    assert_eq!(get::<String>(&settings, "percent")?, "100%");
    assert_eq!(get::<String>(&settings, "service")?, "job");
    assert_eq!(
        get::<String>(&settings, "in")?,
        get::<String>(&settings, "file")?
    );
    assert!(!get::<String>(&settings, "host")?.is_empty());
    let other = settings.section("other").ok_or("no section")?;
    assert_eq!(
        other.get::<String>("log")?.as_deref(),
        Some("/default/base/twin.log")
    );
    Ok(())
}

#[test]
fn variables_nest_ten_levels_deep() -> TestResult {
    let mut text = String::from("[job]\nv0 = end\n");
    for level in 1..=11 {
        text += &format!("v{level} = %(v{})s\n", level - 1);
    }
    let settings = ini(&text)?;
    assert_eq!(get::<String>(&settings, "v10")?, "end");
    let error = get::<String>(&settings, "v11").expect_err("too deep");
    assert!(
        error.ends_with("[job] v11: %(v0)s is nested deeper than 10 levels"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_bad_percent_sign_is_an_error_on_access_only() -> TestResult {
    let settings = ini("[job]\nd = %d\nname = %(name)s\nnone = %(nix)s\nopen = %(open\nok = 1\n")?;
    assert_eq!(get::<i32>(&settings, "ok")?, 1);
    for (key, problem) in [
        ("d", "expected %(name)s after '%', or %% for a plain '%'"),
        ("open", "expected %(name)s after '%', or %% for a plain '%'"),
        ("none", "unknown variable %(nix)s"),
        ("name", "%(name)s is nested deeper than 10 levels"),
    ] {
        let error = get::<String>(&settings, key).expect_err(key);
        assert!(
            error.ends_with(&format!("x.ini: [job] {key}: {problem}")),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn every_spelling_of_a_boolean_is_read() -> TestResult {
    for (text, value) in [
        ("1", true),
        ("yes", true),
        ("True", true),
        ("ON", true),
        ("0", false),
        ("No", false),
        ("false", false),
        ("off", false),
    ] {
        let settings = ini(&format!("[job]\nkey = {text}\n"))?;
        assert_eq!(get::<bool>(&settings, "key")?, value, "{text}");
    }
    assert_eq!(problem::<bool>("maybe")?, "[job] key: Not a boolean: maybe");
    assert_eq!(problem::<bool>("")?, "[job] key: Not a boolean: \"\"");
    Ok(())
}

#[test]
fn numbers_are_decimal() -> TestResult {
    let settings = ini("[job]\na = +7\nb = -8\nc = 2.5\nd = 1e3\ne = 12\n")?;
    assert_eq!(get::<i64>(&settings, "a")?, 7);
    assert_eq!(get::<i32>(&settings, "b")?, -8);
    assert!((get::<f64>(&settings, "c")? - 2.5).abs() < 1e-9);
    assert!((get::<f64>(&settings, "d")? - 1000.0).abs() < 1e-9);
    assert!((get::<f64>(&settings, "e")? - 12.0).abs() < 1e-9);
    for text in ["1.0", "0x10", "ten", "1 2", ""] {
        let problem = problem::<i64>(text)?;
        assert!(
            problem.starts_with("[job] key: expected an integer, found "),
            "{problem}"
        );
    }
    assert_eq!(
        problem::<u32>("-1")?,
        "[job] key: expected an integer, 0 or more, found -1"
    );
    assert_eq!(
        problem::<u8>("256")?,
        "[job] key: expected a smaller integer, found 256"
    );
    for text in ["inf", "nan", "1,5", ""] {
        let problem = problem::<f64>(text)?;
        assert!(
            problem.starts_with("[job] key: expected a number, found "),
            "{problem}"
        );
    }
    Ok(())
}

#[test]
fn lists_keep_empty_elements() -> TestResult {
    for (text, list) in [
        ("", &[] as &[&str]),
        ("a", &["a"]),
        (" a , b ", &["a", "b"]),
        ("a,,b", &["a", "", "b"]),
        ("a,", &["a", ""]),
        ("\n  a,\n  b", &["a", "b"]),
    ] {
        let settings = ini(&format!("[job]\nkey = {text}\n"))?;
        assert_eq!(get::<Vec<String>>(&settings, "key")?, list, "{text:?}");
    }
    let settings = ini("[job]\nkey = 1, 2\n")?;
    assert_eq!(get::<Vec<u8>>(&settings, "key")?, [1, 2]);
    assert_eq!(
        problem::<Vec<u8>>("1, x")?,
        "[job] key: expected an integer, found x"
    );
    Ok(())
}

#[test]
fn a_dict_element_without_colon_is_its_own_value() -> TestResult {
    let settings = ini("[job]\nkey = a:1, b : x:y , c\n")?;
    let dict: BTreeMap<String, String> = get(&settings, "key")?;
    let pairs: Vec<_> = dict.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(pairs, [("a", "1"), ("b", "x:y"), ("c", "c")]);
    Ok(())
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Off,
    Warn,
}

#[test]
fn an_enum_lists_its_values_when_none_fits() -> TestResult {
    let settings = ini("[job]\nkey = warn\n")?;
    assert_eq!(get::<Mode>(&settings, "key")?, Mode::Warn);
    assert_eq!(
        problem::<Mode>("loud")?,
        "[job] key: expected one of off, warn, found loud"
    );
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Paths {
    #[serde(with = "skytools::config::file")]
    file: PathBuf,
    #[serde(default, with = "skytools::config::optional_file")]
    optional: Option<PathBuf>,
    #[serde(with = "skytools::config::seconds")]
    pause: Duration,
    #[serde(with = "skytools::config::bytes")]
    size: u64,
}

#[test]
fn paths_durations_and_sizes_are_read() -> TestResult {
    let settings = ini("[job]\nfile = ~root/x\noptional =\npause = 0.25\nsize = 2k\n")?;
    let paths: Paths = settings.main()?;
    assert_eq!(paths.file, PathBuf::from("/root/x"));
    assert_eq!(paths.optional, None);
    assert_eq!(paths.pause, Duration::from_millis(250));
    assert_eq!(paths.size, 2048);

    let home = std::env::home_dir().ok_or("no home")?;
    for (text, path) in [
        ("~/x", home.join("x")),
        ("~", home.clone()),
        ("-", "-".into()),
        ("", "".into()),
        ("rel/x", "rel/x".into()),
        ("~nobody-of-that-name/x", "~nobody-of-that-name/x".into()),
    ] {
        let settings = ini(&format!("[job]\nfile = {text}\npause = 1\nsize = 1\n"))?;
        assert_eq!(settings.main::<Paths>()?.file, path, "{text:?}");
    }
    let settings = ini("[job]\nfile = x\npause = -1\nsize = 1\n")?;
    let error = settings.main::<Paths>().expect_err("negative").to_string();
    assert!(
        error.ends_with("[job] pause: expected a number of seconds, 0 or more, found -1"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_needed_key_that_is_not_set_is_named() -> TestResult {
    let settings = ini("[job]\nfile = x\n")?;
    let error = settings.main::<Paths>().expect_err("pause is missing");
    assert_eq!(error.to_string(), "Config value not set: pause");
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Aliased {
    #[serde(alias = "queue_name")]
    pgq_queue_name: String,
}

#[test]
fn both_names_of_a_field_work_but_not_at_once() -> TestResult {
    for key in ["pgq_queue_name", "queue_name"] {
        let settings = ini(&format!("[job]\n{key} = q\n"))?;
        assert_eq!(settings.main::<Aliased>()?.pgq_queue_name, "q");
    }
    let settings = ini("[job]\npgq_queue_name = q\nqueue_name = q\n")?;
    let error = settings.main::<Aliased>().expect_err("twice").to_string();
    assert!(
        error.contains("pgq_queue_name is set twice, under two of its names"),
        "{error}"
    );
    Ok(())
}

#[test]
fn errors_never_show_what_may_hold_a_password() -> TestResult {
    for (key, value) in [
        ("provider_db", "host=x secret"),
        ("db", "x"),
        ("remote_extra_connstr", "x"),
        ("smtp_password", "secret"),
        ("other", "host=x Password=secret"),
        ("other", "postgresql://me:secret@host/db"),
    ] {
        let settings = ini(&format!("[job]\n{key} = {value}\n"))?;
        let error = get::<i32>(&settings, key).expect_err("no number");
        assert!(
            error.ends_with(&format!("[job] {key}: expected an integer, found [...]")),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn the_common_keys_have_their_defaults() -> TestResult {
    let common: CommonConfig = ini("[job]\n")?.main()?;
    assert_eq!(common.job_name, "job");
    assert_eq!(common.pidfile, None);
    assert_eq!(common.logfile, None);
    assert_eq!(common.log_size, 10_485_760);
    assert_eq!(common.log_count, 3);
    assert_eq!(common.loop_delay, Duration::from_secs(1));
    assert_eq!(common.connection_lifetime, Duration::from_secs(1200));
    assert_eq!(common.exception_sleep, Duration::from_secs(20));

    let common: CommonConfig = ini(
        "[job]\njob_name = j\npidfile = ~/%(job_name)s.pid\nloop_delay = -1\nuse_skylog = 1\n",
    )?
    .main()?;
    assert_eq!(common.job_name, "j");
    assert!(
        common
            .pidfile
            .is_some_and(|path| path.is_absolute() && path.ends_with("j.pid"))
    );
    assert_eq!(common.loop_delay, Duration::ZERO);
    Ok(())
}

#[test]
fn bad_common_keys_are_refused() -> TestResult {
    for (line, problem) in [
        (
            "loop_delay = soon",
            "[job] loop_delay: expected a number, found soon",
        ),
        (
            "log_size = big",
            "[job] log_size: expected a size such as 10M, found big",
        ),
        (
            "config_format = 2",
            "[job] config_format: config format 2 is not supported, only 1",
        ),
        (
            "logfmt_file = %%(x)s",
            "[job] logfmt_file: unknown field %(x)s",
        ),
        (
            "use_skylog = x",
            "[job] use_skylog: expected an integer, found x",
        ),
    ] {
        let error = ini(&format!("[job]\n{line}\n"))?.main::<CommonConfig>();
        let error = error.expect_err(line).to_string();
        assert!(error.ends_with(problem), "{error}");
    }
    Ok(())
}

#[test]
fn overrides_survive_a_reload_and_take_part_in_interpolation() -> TestResult {
    let file = File::new("x.ini", "[job]\na = 1\nb = %(a)s\ngone = 1\n")?;
    let overrides = [Override {
        key: "a".to_owned(),
        value: "from %(service_name)s".to_owned(),
    }];
    let settings = Settings::load(&file.path(), &["job"], &overrides)?;
    assert_eq!(get::<String>(&settings, "b")?, "from job");

    std::fs::write(file.path(), "[job]\nb = again %(a)s\n")?;
    let reloaded = settings.reload()?;
    assert_eq!(get::<String>(&reloaded, "b")?, "again from job");
    assert!(!reloaded.main_section().has("gone"));

    std::fs::write(file.path(), "nonsense")?;
    assert!(settings.reload().is_err());
    assert_eq!(get::<String>(&settings, "b")?, "from job");
    Ok(())
}

#[test]
fn a_manager_reads_sections_and_keys_as_they_are() -> TestResult {
    let settings =
        ini("[DEFAULT]\ncwd = /\n[job]\n[one]\nscript = x\ncwd = ~\n[two]\ndisabled = 1\n")?;
    assert_eq!(
        settings.sections().collect::<Vec<_>>(),
        ["job", "one", "two"]
    );
    let one = settings.section("one").ok_or("no section")?;
    assert_eq!(one.name(), "one");
    assert_eq!(one.keys().collect::<Vec<_>>(), ["script", "cwd"]);
    let all: BTreeMap<String, String> = one.read()?;
    assert_eq!(all.get("cwd").map(String::as_str), Some("~"));
    let two = settings.section("two").ok_or("no section")?;
    assert!(two.has("cwd") && !two.has("script"));
    assert_eq!(two.get::<bool>("disabled")?, Some(true));
    assert_eq!(two.get::<bool>("nothing")?, None);
    assert!(settings.section("DEFAULT").is_none());
    assert!(settings.section("ONE").is_none());

    assert_eq!(settings.with_main("two")?.main_section().name(), "two");
    assert!(settings.with_main("three").is_err());
    Ok(())
}

#[test]
fn the_most_specific_wildcard_key_wins() -> TestResult {
    let settings = ini("[job]\np-*-* = 0\np-a-* = 1\np-a-b = 2\n")?;
    let section = settings.main_section();
    let pick = |names: &[&str]| section.wildcard("p-*-*", names);
    assert_eq!(pick(&["a", "b"]).as_deref(), Some("p-a-b"));
    assert_eq!(pick(&["a", "c"]).as_deref(), Some("p-a-*"));
    assert_eq!(pick(&["x", "b"]).as_deref(), Some("p-*-*"));
    assert_eq!(section.wildcard("q-*", &["a"]), None);
    Ok(())
}

#[test]
fn ini_and_toml_twins_read_alike() -> TestResult {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Twin {
        job_name: String,
        logfile: String,
        count: i64,
        delay: f64,
        enabled: bool,
        flag: i64,
        list: Vec<String>,
        listed: String,
        dict: BTreeMap<String, String>,
        template: String,
        percent: String,
        src_db: String,
        empty: String,
    }
    let from_ini: Twin = ini("[DEFAULT]
logdir = /log
[job]
Job_Name = cube_main
logfile = %(logdir)s/%(job_name)s.log
count = 12
delay = 0.5
enabled = true
flag = 1
list = a, b
listed = a, b
dict = a:1, b:x
template =
  create table _DEST_TABLE (like _PARENT);
  analyze;
percent = 100%%
src_db = dbname=src host=10.0.0.1
empty =
")?
    .main()?;
    let from_toml: Twin = toml(
        r#"
[DEFAULT]
logdir = "/log"

[job]
Job_Name = "cube_main"
logfile = "%(logdir)s/%(job_name)s.log"
count = 12
delay = 0.5
enabled = true
flag = true
list = ["a", "b"]
listed = ["a", "b"]
dict = { a = 1, b = "x" }
template = """\n\
create table _DEST_TABLE (like _PARENT);
analyze;"""
percent = "100%%"
src_db = { dbname = "src", host = "10.0.0.1" }
empty = ""
"#,
    )?
    .main()?;
    assert_eq!(from_ini, from_toml);
    assert_eq!(from_ini.logfile, "/log/cube_main.log");
    Ok(())
}

proptest! {
    #[test]
    fn any_value_reads_alike_in_ini_and_toml(
        values in prop::collection::vec("[^;\"\\s\\p{C}]([^;\"\\p{C}]{0,20}[^;\"\\s\\p{C}])?", 1..6),
    ) {
        let mut ini_text = String::from("[job]\n");
        let mut section = ::toml::Table::new();
        for (index, value) in values.iter().enumerate() {
            let doubled = value.replace('%', "%%");
            ini_text += &format!("key{index} = {doubled}\n");
            section.insert(format!("Key{index}"), doubled.into());
        }
        let mut document = ::toml::Table::new();
        document.insert("job".to_owned(), section.into());
        let from_ini = ini(&ini_text).expect("INI");
        let from_toml = toml(&document.to_string()).expect("TOML");
        for (index, value) in values.iter().enumerate() {
            let key = format!("key{index}");
            prop_assert_eq!(&get::<String>(&from_ini, &key).expect("set"), value);
            prop_assert_eq!(&get::<String>(&from_toml, &key).expect("set"), value);
        }
    }
}

#[test]
fn toml_values_keep_what_ini_cannot_say() -> TestResult {
    let settings = toml(
        "[job]\nlist = ['a,b', 'c']\nwhole = 1.0\ndict = {a = true, b = 2.0}\n\
         my_db = {dbname = 'my db', password = '''it's \\''', user = ''}\n",
    )?;
    assert_eq!(get::<Vec<String>>(&settings, "list")?, ["a,b", "c"]);
    assert_eq!(get::<String>(&settings, "whole")?, "1.0");
    assert!(get::<i64>(&settings, "whole").is_err());
    assert_eq!(get::<String>(&settings, "dict")?, "a:true, b:2.0");
    assert_eq!(
        get::<String>(&settings, "my_db")?,
        r"dbname='my db' password='it\'s \\' user=''"
    );
    Ok(())
}

#[test]
fn toml_that_is_no_sections_of_keys_is_refused() -> TestResult {
    for (text, problem) in [
        (
            "a = 1\n[job]\n",
            "a: expected a [section] before the first key",
        ),
        (
            "[job]\nA = 1\na = 2\n",
            "[job] a: the key is set twice, letter case does not count",
        ),
        (
            "[job]\na = 2020-01-01\n",
            "[job] a: expected a string, a number or a boolean, found a date",
        ),
        (
            "[[job.a]]\nb = 1\n",
            "[job] a: expected strings, numbers or booleans, found a deeper level",
        ),
        (
            "[job.a.b]\nc = 1\n",
            "[job] a: expected strings, numbers or booleans, found a deeper level",
        ),
        ("[job]\na = inf\n", "[job] a: expected a finite number"),
        ("[job]\nok = 1\npassword = secret\n", "line 3: "),
    ] {
        let file = File::new("x.toml", text)?;
        let error = file.load().expect_err(text).to_string();
        assert!(error.contains(problem), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    Ok(())
}
