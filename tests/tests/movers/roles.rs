//! Roles that may not do all that the work takes.

use testkit::TestResult;

use crate::{KINDS, Kind, Site};

/// Runs a job that must fail, gives the role what the message asks for, and so on until it does not fail; returns the
/// grants.
fn granted(it: &mut Site, kind: &Kind) -> TestResult<Vec<String>> {
    let mut all = Vec::new();
    loop {
        let line = format!("{}.ini --once", kind.program);
        let output = it.site.program(&line).output()?;
        if output.status.success() {
            return Ok(all);
        }
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        let named = |database: &str| {
            let (_, text) = output
                .stderr
                .split_once(&format!("the role of {database} needs: "))?;
            let line = text.lines().next()?;
            // What was being done follows.
            line.split(": ").next().map(str::to_owned)
        };
        let (db, grants) = match (named("src_db"), named("dst_db")) {
            (Some(grants), _) => (&mut it.src, grants),
            (None, Some(grants)) => (&mut it.dst, grants),
            (None, None) => return Err(output.stderr.into()),
        };
        assert!(!all.contains(&grants), "again: {grants}");
        db.batch_execute(&grants)?;
        all.push(grants);
    }
}

#[test]
fn what_a_role_lacks_is_named_as_grants_that_suffice() -> TestResult {
    let mut it = Site::start()?;
    it.src.batch_execute("create role plain login")?;
    for kind in &KINDS {
        let name = kind.program;
        let plain = |database| {
            let conninfo = it.site.cluster.conninfo(database);
            conninfo.replace("user=postgres", "user=plain")
        };
        let lines = format!("src_db = {}\ndst_db = {}", plain("src"), plain("dst"));
        it.site.turn_to(name, kind.lines);
        it.site.write(name, &lines)?;
        let first = granted(&mut it, kind)?;
        it.put(1)?;
        let more = granted(&mut it, kind)?;
        assert_eq!(it.arrived(kind)?, [1], "{name}");
        let expected: &[&str] = match name {
            "cube_dispatcher" => &["grant select, insert, delete on public.t_kept to plain"],
            "table_dispatcher" => &["grant insert on public.log to plain"],
            "bulk_loader" => &["grant select, insert, update, delete on public.t to plain"],
            _ => &[],
        };
        assert_eq!(more, expected, "{name}");
        if name == KINDS[0].program {
            assert_eq!(
                first,
                ["grant pgq_writer to plain", "grant pgq_reader to plain"],
            );
        } else {
            assert!(first.is_empty(), "{name}: {first:?}");
        }
    }
    Ok(())
}

#[test]
fn a_role_that_may_not_make_a_table_is_told_where() -> TestResult {
    let mut it = Site::start()?;
    it.dst.batch_execute(
        "create role plain login in role pgq_writer; grant select on t, log to plain; drop table t_kept",
    )?;
    let plain = it.site.cluster.conninfo("dst");
    let plain = plain.replace("user=postgres", "user=plain");
    for (program, lines) in [
        ("cube_dispatcher", ""),
        (
            "table_dispatcher",
            "part_field = v\npart_strict = 0\npart_template = create table _DEST_TABLE (like _PARENT)",
        ),
    ] {
        let kind = KINDS.iter().find(|kind| kind.program == program);
        let kind = kind.ok_or("no such program")?;
        it.turn_to(kind, &format!("dst_db = {plain}\n{lines}"))?;
        it.put(1)?;
        it.site.refused(
            &format!("{program}.ini --once"),
            "the role of dst_db needs: grant create on schema public to plain",
        )?;
        it.dst
            .batch_execute("grant create on schema public to plain")?;
        it.site.drain(program)?;
        it.dst
            .batch_execute("revoke create on schema public from plain")?;
    }
    Ok(())
}
