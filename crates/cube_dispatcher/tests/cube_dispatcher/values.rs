//! Bytes arrive as they are, or in the encoding of the target.

use testkit::{MoverSite, TestResult, tick};

use crate::{LINES, apply, capture, put, rows, site};

/// What separates something somewhere on the way.
const SPECIAL: [&str; 12] = [
    "",
    " ",
    "it's \"quoted\"",
    "back\\slash",
    "tab\tnl\ncr\r",
    "\\N",
    "\\.",
    "%",
    "+",
    "&=",
    "é€😀",
    "\u{1}\u{7f}",
];

#[test]
fn special_values_and_names_arrive_as_they_are() -> TestResult {
    for mode in ["keep_latest", "keep_all"] {
        let site = site()?;
        let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
        site.write("mover", &format!("mode = {mode}"))?;
        let table = r#""My Table.1 é""#;
        let columns = r#""Key &=" int primary key, "select" text, "1st" text, "é" bytea"#;
        capture(&mut src, &mut dst, table, columns)?;
        site.drain("mover")?;
        for filler in [0, 100] {
            let before = rows(&mut src, table)?.len();
            let insert = format!("insert into {table} values ($1, $2, null, $3)");
            for n in 0..SPECIAL.len() + filler {
                let text = SPECIAL[n % SPECIAL.len()];
                let key = i32::try_from(before + n)?;
                src.execute(&insert, &[&key, &text, &text.as_bytes()])?;
            }
            apply(&site, &mut src)?;
            let kept = rows(&mut dst, r#""My Table.1 é_kept""#)?;
            assert!(kept == rows(&mut src, table)?, "{mode}");
        }
    }
    Ok(())
}

#[test]
fn rows_of_other_encodings_arrive_in_that_of_the_target() -> TestResult {
    for (encoding, text) in [
        ("LATIN1", "caf\u{e9} \u{a4}"),
        ("LATIN9", "caf\u{e9} €"),
        ("WIN1251", "Привет"),
        ("EUC_JP", "亜丂ｱ 日本語"),
        ("EUC_KR", "한국어"),
        ("EUC_CN", "中文"),
        ("EUC_TW", "中文"),
    ] {
        let site = MoverSite::with_encoding("cube_dispatcher", LINES, encoding)?;
        let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
        let letter: String = text.chars().filter(|c| !c.is_ascii()).take(1).collect();
        let columns = format!("\"k{letter}\" text primary key, \"v{letter}\" text");
        capture(&mut src, &mut dst, &format!("\"t{letter}\""), &columns)?;
        site.drain("mover")?;
        for filler in [0, 100] {
            src.execute(
                &format!("insert into \"t{letter}\" select $1 || {filler} || n, $1 from generate_series(0, {filler}) n"),
                &[&text],
            )?;
            apply(&site, &mut src).map_err(|error| format!("{encoding}: {error}"))?;
            let kept = rows(&mut dst, &format!("\"t{letter}_kept\""))?;
            assert_eq!(
                kept,
                rows(&mut src, &format!("\"t{letter}\""))?,
                "{encoding}"
            );
        }
    }
    Ok(())
}

#[test]
fn bytes_of_no_encoding_are_refused_or_replaced() -> TestResult {
    let site = MoverSite::with_encoding("cube_dispatcher", LINES, "SQL_ASCII")?;
    let (mut src, mut dst) = (site.db("src")?, site.db("dst")?);
    dst.batch_execute("create table t (id int primary key, v text)")?;
    site.write("replacing", "encoding_errors = replace")?;
    site.write("latin", "source_encoding = latin1\ndateformat = \"latin\"")?;
    for job in ["mover", "replacing", "latin"] {
        site.drain(job)?;
    }
    put(&mut src, "I:id", "id=1&v=caf%c3%a9", "public.t")?;
    put(&mut src, "I:id", "id=2&v=caf%e9", "public.t")?;
    tick(&mut src, "from")?;
    site.refused(
        "mover.ini --once",
        "event 2 cannot be applied: column v is not valid UTF8; see bad_event",
    )?;
    site.drain("replacing")?;
    assert_eq!(rows(&mut dst, "t_kept")?, ["(1,café)", "(2,caf\u{fffd})"]);
    let log = site.log("replacing");
    assert!(log.contains("WARNING 1 values held something"), "{log}");
    site.drain("latin")?;
    assert_eq!(rows(&mut dst, "t_latin")?, ["(1,cafÃ©)", "(2,café)"]);
    for (wrong, why) in [
        ("klingon", "klingon is no encoding"),
        ("SJIS", "SJIS is no encoding"),
    ] {
        site.write("wrong", &format!("source_encoding = {wrong}"))?;
        site.refused("wrong.ini --once", why)?;
    }
    Ok(())
}

#[test]
fn a_target_without_an_encoding_gets_the_bytes_as_they_are() -> TestResult {
    let site = site()?;
    let mut src = site.db("src")?;
    site.cluster.connect("postgres")?.batch_execute(
        "create database bytes template template0 encoding 'SQL_ASCII' locale 'C'",
    )?;
    let mut dst = site.cluster.connect("bytes")?;
    dst.batch_execute(include_str!("../../../../sql/dist/pgq_ext.sql"))?;
    dst.batch_execute("create table t (id int primary key, v text)")?;
    site.write(
        "mover",
        &format!("dst_db = {}", site.cluster.conninfo("bytes")),
    )?;
    site.drain("mover")?;
    put(&mut src, "I:id", "id=1&v=%e9%ff", "public.t")?;
    apply(&site, &mut src)?;
    for n in 2..100 {
        put(&mut src, "I:id", &format!("id={n}&v=%e9%ff"), "public.t")?;
    }
    apply(&site, &mut src)?;
    let sql = "select count(*) from t_kept where v::bytea = '\\xe9ff'";
    assert_eq!(dst.query_one(sql, &[])?.get::<_, i64>(0), 99);
    Ok(())
}
