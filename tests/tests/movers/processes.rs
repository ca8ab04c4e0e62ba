//! Two processes of a job, and registrations, positions and connections that are lost.

use testkit::{Proxy, TestResult, Traffic, tick, wait_until};

use crate::{KINDS, PATIENCE, Site};

#[test]
fn a_second_process_of_a_job_is_refused_by_the_lock_at_the_target() -> TestResult {
    let mut it = Site::start()?;
    for kind in &KINDS {
        it.turn_to(kind, "")?;
        let mut running = it.run(kind, "")?;
        // Without the pidfile, as on another host.
        it.site.refused(
            &format!("{}.ini --set pidfile= --set logfile=", kind.program),
            &format!(
                "consumer pgq_ext.{} is run by another process",
                kind.program
            ),
        )?;
        it.put(1)?;
        it.wait_for(kind, &[1])?;
        it.stop(kind, &mut running)?;
    }
    Ok(())
}

#[test]
fn a_lost_registration_ends_a_running_job_and_is_not_made_anew() -> TestResult {
    let mut it = Site::start()?;
    for kind in &KINDS {
        let name = kind.program;
        it.turn_to(kind, "")?;
        it.put(1)?;
        it.site.drain(name)?;
        let mut running = it.run(kind, "")?;
        let unregister = "select pgq.unregister_consumer('from', $1)";
        it.src.execute(unregister, &[&name])?;
        it.put(2)?;
        let status = running.wait(PATIENCE)?;
        let why = format!(
            "consumer {name} is not registered on queue from any more, so events may be missing"
        );
        assert_eq!(status.code(), Some(1), "{name}");
        assert!(it.site.log(name).contains(&why), "{}", it.site.log(name));
        it.site.refused(&format!("{name}.ini"), &why)?;
        let registered = "select from pgq.get_consumer_info('from', $1)";
        assert!(it.src.query(registered, &[&name])?.is_empty(), "{name}");
        it.site.program(&format!("{name}.ini --rewind")).succeed()?;
        it.site.drain(name)?;
        assert_eq!(it.arrived(kind)?, [1, 2], "{name}");
    }
    Ok(())
}

#[test]
fn a_position_that_does_not_fit_blocks_until_somebody_decides() -> TestResult {
    let mut it = Site::start()?;
    for kind in &KINDS {
        let name = kind.program;
        it.turn_to(kind, "")?;
        it.dst
            .execute("select pgq_ext.set_last_tick($1, 1000)", &[&name])?;
        it.put(1)?;
        it.site
            .refused(&format!("{name}.ini --once"), "dst has 1000")?;
        assert!(it.arrived(kind)?.is_empty(), "{name}");
        it.site.program(&format!("{name}.ini --reset")).succeed()?;
        it.site.drain(name)?;
        assert_eq!(it.arrived(kind)?, [1], "{name}");
    }
    Ok(())
}

#[test]
fn a_connection_cut_during_the_commit_leaves_it_to_the_position_to_decide() -> TestResult {
    let mut it = Site::start()?;
    let proxy = Proxy::start(&it.site.cluster)?;
    // A commit that holds a position waits for a lock that the test has.
    it.dst.batch_execute(
        "create function wait() returns trigger language plpgsql as
             'begin perform pg_advisory_xact_lock(1); return null; end';
         create constraint trigger wait after insert or update on pgq_ext.completed_tick
             deferrable initially deferred for each row execute function wait()",
    )?;
    for kind in &KINDS {
        let name = kind.program;
        it.turn_to(kind, &format!("dst_db = {}", proxy.conninfo("dst")))?;
        let mut running = it.run(kind, "")?;
        it.dst.batch_execute("select pg_advisory_lock(1)")?;
        it.put(1)?;
        let dst = &mut it.dst;
        wait_until("the commit to begin", PATIENCE, || {
            let waiting = "select from pg_locks where locktype = 'advisory' and not granted";
            Ok(!dst.query(waiting, &[])?.is_empty())
        })?;
        proxy.set(Traffic::Cut);
        let site = &it.site;
        wait_until("the program to notice", PATIENCE, || {
            Ok(site.log(name).contains(" ERROR "))
        })?;
        it.dst.batch_execute("select pg_advisory_unlock(1)")?;
        proxy.set(Traffic::Flows);
        wait_until("the batch to be known as applied", PATIENCE, || {
            Ok(it.site.log(name).contains("is applied already"))
        })?;
        it.stop(kind, &mut running)?;
        assert_eq!(it.arrived(kind)?, [1], "{name}");
    }
    Ok(())
}

#[test]
fn a_new_configuration_counts_from_the_next_batch_and_a_wrong_one_never() -> TestResult {
    let mut it = Site::start()?;
    for kind in &KINDS {
        let name = kind.program;
        it.turn_to(kind, "")?;
        let mut running = it.run(kind, "")?;
        it.site.write(name, "pgq_lazy_fetch = many")?;
        let reload = format!("{name}.ini -r --set pgq_lazy_fetch=1");
        it.site.program(&reload).succeed()?;
        wait_until("the refusal", PATIENCE, || {
            Ok(it.site.log(name).contains("the old one stays"))
        })?;
        it.put(1)?;
        it.wait_for(kind, &[1])?;
        it.site.write(name, "table_filter = other")?;
        it.site.program(&format!("{name}.ini -r")).succeed()?;
        wait_until("the reload", PATIENCE, || {
            Ok(it.site.log(name).contains("Config reloaded"))
        })?;
        it.put(2)?;
        let src = &mut it.src;
        wait_until("the batch to be finished", PATIENCE, || {
            let done = "select last_tick = (select max(tick_id) from pgq.tick)
                          from pgq.get_consumer_info('from', $1)";
            Ok(src.query_one(done, &[&name])?.get(0))
        })?;
        it.stop(kind, &mut running)?;
        assert_eq!(it.arrived(kind)?, [1], "{name}");
    }
    Ok(())
}

#[test]
fn a_batch_that_takes_long_says_how_far_it_is() -> TestResult {
    let mut it = Site::start()?;
    for kind in &KINDS {
        it.turn_to(kind, "")?;
    }
    it.src.batch_execute(
        "select pgq.insert_event('from', 'I:id', 'id=' || n || '&v=' || repeat('x', 1000), 'public.t', null, null, null)
           from generate_series(1, 3000) n",
    )?;
    tick(&mut it.src, "from")?;
    // The source takes a second for some of the events, and all jobs wait at once.
    let mut running = Vec::new();
    for kind in &KINDS {
        let name = kind.program;
        it.site.turn_to(name, kind.lines);
        let slow = "consumer_filter = mod(ev_id, 250) > 0 or pg_sleep(1)::text is not null";
        it.site.write(name, slow)?;
        running.push(it.site.program(&format!("{name}.ini --once")).spawn()?);
    }
    for (kind, job) in KINDS.iter().zip(&mut running) {
        let (name, status) = (kind.program, job.wait(PATIENCE)?);
        let log = it.site.log(name);
        assert!(status.success(), "{log}");
        assert!(log.contains(" events of the batch so far"), "{log}");
        assert!(log.contains("{count: 3000, "), "{log}");
    }
    Ok(())
}

#[test]
fn a_queue_that_does_not_exist_is_named_with_what_makes_it() -> TestResult {
    let mut it = Site::start()?;
    for kind in &KINDS {
        let name = kind.program;
        it.site.turn_to(name, kind.lines);
        it.site.write(name, "pgq_queue_name = nowhere")?;
        for options in ["--once", "--register"] {
            it.site.refused(
                &format!("{name}.ini {options}"),
                "queue nowhere does not exist at the source; `pgqadm INI create nowhere` makes it",
            )?;
        }
    }
    let registered = "select from pgq.subscription";
    assert!(it.src.query(registered, &[])?.is_empty());
    Ok(())
}
