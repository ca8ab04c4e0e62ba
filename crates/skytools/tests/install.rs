//! Installing embedded scripts into a server.

use include_dir::{Dir, DirEntry, File};
use skytools::conninfo::ConnInfo;
use skytools::db::Connection;
use skytools::install::{InstallError, Item, Object, Scripts, install};
use testkit::{Cluster, TestResult};

static DIR: Dir<'static> = Dir::new(
    "",
    &[
        DirEntry::File(File::new(
            "install.sql",
            b"-- two\n\\ir a.sql\n\\ir sub/list.sql\n",
        )),
        DirEntry::File(File::new(
            "a.sql",
            b"create schema a;\ncreate table a.t ();\n",
        )),
        DirEntry::Dir(Dir::new(
            "sub",
            &[
                DirEntry::File(File::new("sub/list.sql", b"\\ir ../b.sql\n\\ir c.sql\n")),
                DirEntry::File(File::new(
                    "sub/c.sql",
                    b"create function a.f(x int) returns int language sql as 'select x';\n",
                )),
            ],
        )),
        DirEntry::File(File::new("b.sql", b"create schema \"B\";\n")),
        DirEntry::File(File::new(
            "broken.sql",
            "create schema broken;\n-- \u{e9}\u{20ac}\n\ncreate table broken.t (x nonsense);\n"
                .as_bytes(),
        )),
        DirEntry::File(File::new(
            "failing.sql",
            b"create schema failing;\ndo $$ begin raise exception 'no way'; end $$;\n",
        )),
        DirEntry::File(File::new("loop.sql", b"\\ir loop.sql\n")),
        DirEntry::File(File::new("gap.sql", b"\\ir missing.sql\n")),
    ],
);

static SCRIPTS: Scripts = Scripts {
    directories: &[("x", &DIR)],
};

#[test]
fn what_is_missing_is_installed_and_what_exists_is_left_alone() -> TestResult {
    let cluster = Cluster::start()?;
    let mut db = cluster.connect("postgres")?;
    let objects = [
        Object::Schema("a"),
        Object::Schema("B"),
        Object::Table("a.t"),
        Object::Function("a.f", 1),
    ];
    for object in objects {
        assert!(!object.exists(&mut db)?, "{object:?}");
    }
    let mut own = open(&cluster)?;
    for _ in 0..2 {
        let mut tx = own.begin()?;
        install(
            &mut tx,
            &SCRIPTS,
            &[
                Item::new(Object::Function("now", 0), "x/broken.sql"),
                Item::new(Object::Schema("a"), "x/install.sql"),
                Item::new(Object::Table("a.t"), "x/broken.sql"),
            ],
        )?;
        tx.commit()?;
    }
    for object in objects {
        assert!(object.exists(&mut db)?, "{object:?}");
    }
    for absent in [
        Object::Schema("b"),
        Object::Table("t"),
        Object::Function("a.f", 0),
        Object::Function("f", 1),
    ] {
        assert!(!absent.exists(&mut db)?, "{absent:?}");
    }
    Ok(())
}

fn open(cluster: &Cluster) -> TestResult<Connection> {
    Ok(Connection::open(
        "db",
        &ConnInfo::parse(&cluster.conninfo("postgres"))?,
    )?)
}

/// The chain of messages of an installation that fails and leaves nothing.
fn failure(cluster: &Cluster, script: &'static str) -> TestResult<String> {
    let mut db = cluster.connect("postgres")?;
    let mut own = open(cluster)?;
    let mut tx = own.begin()?;
    let item = Item::new(Object::Schema("nowhere"), script);
    let error = install(&mut tx, &SCRIPTS, &[item]).expect_err("the script is broken");
    drop(tx);
    let schemas = db.query_one(
        "select count(*) from pg_namespace where nspname in ('broken', 'failing')",
        &[],
    )?;
    assert_eq!(schemas.get::<_, i64>(0), 0);
    let mut text = error.to_string();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    Ok(text)
}

#[test]
fn a_failure_names_the_file_and_the_line() -> TestResult {
    let cluster = Cluster::start()?;
    assert_eq!(
        failure(&cluster, "x/broken.sql")?,
        "cannot run x/broken.sql, line 4: create table broken.t (x nonsense);: \
         ERROR: type \"nonsense\" does not exist"
    );
    assert_eq!(
        failure(&cluster, "x/failing.sql")?,
        "cannot run x/failing.sql: ERROR: no way"
    );
    assert_eq!(
        failure(&cluster, "x/gap.sql")?,
        "File not found: x/missing.sql"
    );
    assert_eq!(failure(&cluster, "y/a.sql")?, "File not found: y/a.sql");
    Ok(())
}

#[test]
fn a_script_that_includes_itself_is_refused() {
    assert!(matches!(
        SCRIPTS.files("x/loop.sql"),
        Err(InstallError::Recursion(file)) if file == "x/loop.sql"
    ));
}

#[test]
fn included_files_come_in_order() -> TestResult {
    let paths: Vec<String> = SCRIPTS
        .files("x/install.sql")?
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(paths, ["x/a.sql", "x/b.sql", "x/sub/c.sql"]);
    Ok(())
}
