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
