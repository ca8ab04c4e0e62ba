//! Files in TOML.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use testkit::TestResult;

use crate::{File, get, ini, toml};

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
