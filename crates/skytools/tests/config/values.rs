//! What a value can be, and what is said of one that is not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use skytools::config::CommonConfig;
use testkit::TestResult;

use crate::{get, ini, problem};

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
