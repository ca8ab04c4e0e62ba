//! The order of events that do not stand in it.

use pgq::Error;
use pgq::consumer::{BatchWork, OpenBatch};
use skytools::daemon::Work;
use skytools::db::{During, Tx};
use testkit::TestResult;

use crate::pair::{Pair, round};
use crate::support::{context, count, tick};

/// Takes the ids of events, and puts a row into the target each time.
#[derive(Default)]
struct Ids {
    tries: usize,
    ids: Vec<i64>,
    ahead: bool,
    /// Refuses an event whose predecessor has not come: ids begin with 0 then.
    strict: bool,
}

impl BatchWork for Ids {
    type Error = Error;

    fn apply(&mut self, batch: &mut OpenBatch<'_>, target: &mut Tx<'_>) -> Result<(), Error> {
        self.tries += 1;
        let mut ids = Vec::new();
        target
            .batch_execute("insert into applied values ('a batch')")
            .during("insert")?;
        let take = |event: pgq::batch::EventText<'_>| {
            if self.strict && usize::try_from(event.id.get()) != Ok(ids.len()) {
                return Err(Error::BadEvent {
                    event: event.id,
                    reason: "it does not follow".to_owned(),
                });
            }
            ids.push(event.id.get());
            Ok::<(), Error>(())
        };
        match self.ahead {
            true => batch.stream(take)?,
            false => batch.stream_here(take)?,
        }
        self.ids = ids;
        Ok(())
    }
}

#[test]
fn events_come_by_their_ids_wherever_they_stand() -> TestResult {
    let pair = &mut Pair::new()?;
    // A thousand bytes each. Every tenth stands thousands of events too early, as those of a slow writer do; or the
    // first one stands last, and batches behind such a one are expected to be no better.
    let near = "case when n % 10 = 0 then n + 3000 else n end";
    let far = "case n when 4000 then 0 else n end";
    let mut batches = 0;
    for ahead in [true, false] {
        let mut consumer = pair.serial()?;
        let mut context = context();
        while round(&mut consumer, &mut context)? == Work::More {}
        for (id, tries) in [(near, 1), (far, 2), (far, 1)] {
            pair.src.batch_execute(&format!(
                "insert into pgq.event_1_0 (ev_id, ev_time, ev_type, ev_data)
                 select {id}, now(), 'x', repeat('x', 1000) from generate_series(1, 4000) n"
            ))?;
            tick(&mut pair.src)?;
            let mut ids = Ids {
                ahead,
                ..Ids::default()
            };
            assert_eq!(consumer.work_on(&mut context, &mut ids)?, Work::More);
            batches += 1;
            assert_eq!((ids.tries, ids.ids.len()), (tries, 4000), "{id}");
            assert!(ids.ids.is_sorted(), "{id}");
            // What was done with the first events was undone.
            assert_eq!(count(&mut pair.dst, "applied")?, batches);
            assert_eq!(pair.stored()?, pair.source_position()?);
        }
    }
    Ok(())
}

#[test]
fn an_event_that_is_refused_before_its_order_is_sure_is_tried_once_more() -> TestResult {
    let pair = &mut Pair::new()?;
    let mut context = context();
    // The first batch of a queue may stand in several tables, and is sorted.
    for _ in 0..2 {
        round(&mut pair.serial()?, &mut context)?;
        tick(&mut pair.src)?;
    }
    round(&mut pair.serial()?, &mut context)?;
    // The first event stands last; the second time it is not there at all.
    for first in [0, 4000] {
        pair.src.batch_execute(&format!(
            "insert into pgq.event_1_0 (ev_id, ev_time, ev_type, ev_data)
             select case n when 4000 then {first} else n end, now(), 'x', repeat('x', 1000)
               from generate_series(1, 4000) n"
        ))?;
        tick(&mut pair.src)?;
        let mut ids = Ids {
            strict: true,
            ..Ids::default()
        };
        let work = pair.serial()?.work_on(&mut context, &mut ids);
        match first {
            0 => assert_eq!(work?, Work::More),
            _ => assert!(matches!(work, Err(Error::BadEvent { .. })), "{work:?}"),
        }
        assert_eq!(ids.tries, 2, "{first}");
        assert_eq!(count(&mut pair.dst, "applied")?, 1);
    }
    Ok(())
}
