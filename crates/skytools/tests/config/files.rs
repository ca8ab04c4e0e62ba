//! What a file is made of: sections, variables, keys as they are.

use std::collections::BTreeMap;
use std::error::Error as _;

use skytools::app::Override;
use skytools::config::{CommonConfig, Settings};
use testkit::TestResult;

use crate::{File, get, ini};

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
