use std::collections::{HashMap, VecDeque};

use pgq::BatchId;
use postgres::types::{FromSql, Type};

use super::*;

fn tick(number: i64) -> TickId {
    TickId::from(number)
}

fn batch(prev: i64, end: i64) -> Batch {
    Batch {
        id: BatchId::from(end),
        prev_tick: tick(prev),
        tick: tick(end),
        start: FromSql::from_sql(&Type::TIMESTAMPTZ, &[0; 8]).expect("a time"),
        end: FromSql::from_sql(&Type::TIMESTAMPTZ, &[0; 8]).expect("a time"),
    }
}

#[test]
fn replay_begins_new_tables_while_slots_are_free() {
    let states = [
        MergeState::New,
        MergeState::CatchingUp,
        MergeState::New,
        MergeState::New,
    ];
    assert_eq!(replay_plan(&states, None, 1).begin, Vec::<usize>::new());
    assert_eq!(replay_plan(&states, None, 2).begin, [0]);
    assert_eq!(replay_plan(&states, Some(tick(5)), 3).begin, [0, 2]);
}

#[test]
fn replay_goes_on_while_tables_are_copied() {
    let states = [MergeState::InCopy, MergeState::CatchingUp, MergeState::Ok];
    assert_eq!(
        replay_plan(&states, Some(tick(5)), 1),
        ReplayPlan::default()
    );
}

#[test]
fn replay_meets_a_copy_that_stands_before_its_batch_or_an_earlier_one() {
    for (wanted, meets) in [(4, true), (5, true), (6, false)] {
        let plan = replay_plan(&[MergeState::WannaSync(tick(wanted))], Some(tick(5)), 1);
        assert_eq!((plan.meet.len(), plan.wait), (usize::from(meets), meets));
    }
}

#[test]
fn replay_without_a_batch_has_nowhere_to_meet() {
    let plan = replay_plan(&[MergeState::WannaSync(tick(4))], None, 1);
    assert_eq!(plan, ReplayPlan::default());
}

#[test]
fn replay_waits_while_any_copy_has_to_come_to_its_batch() {
    let states = [MergeState::Ok, MergeState::DoSync(tick(5)), MergeState::New];
    let plan = replay_plan(&states, Some(tick(5)), 2);
    assert_eq!((plan.wait, plan.begin), (true, vec![2]));
}

#[test]
fn a_copy_leaves_a_table_that_is_not_in_progress() {
    for state in [None, Some(MergeState::New), Some(MergeState::Ok)] {
        for held in [None, Some(&batch(1, 2))] {
            assert_eq!(copy_move(state, held, true, None), CopyMove::Leave);
        }
    }
}

#[test]
fn a_copy_needs_no_batch_to_start() {
    assert_eq!(
        copy_move(Some(MergeState::InCopy), None, false, None),
        CopyMove::Copy
    );
}

#[test]
fn a_copy_asks_to_meet_when_idle_or_level_with_replay() {
    let decide = |idle, replay| {
        copy_move(
            Some(MergeState::CatchingUp),
            Some(&batch(6, 7)),
            idle,
            replay,
        )
    };
    assert_eq!(decide(false, Some(tick(8))), CopyMove::Apply);
    assert_eq!(decide(false, None), CopyMove::Apply);
    assert_eq!(decide(true, Some(tick(8))), CopyMove::AskToMeet(tick(7)));
    assert_eq!(decide(false, Some(tick(6))), CopyMove::AskToMeet(tick(7)));
    assert_eq!(decide(false, Some(tick(5))), CopyMove::AskToMeet(tick(7)));
}

#[test]
fn a_copy_comes_to_the_batch_of_replay_and_never_past_it() {
    let decide = |end| {
        copy_move(
            Some(MergeState::DoSync(tick(7))),
            Some(&batch(end - 1, end)),
            true,
            None,
        )
    };
    assert_eq!(decide(6), CopyMove::Apply);
    assert_eq!(decide(7), CopyMove::HandOver);
    assert_eq!(decide(8), CopyMove::StartOver);
}

/// A world small enough to visit every state of: one table, some ticks, a replay and a copy that may
/// be killed anywhere. Batch `n` ends at tick `n`, starts at `n - 1` and has one event of the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// Newest tick.
    ticks: i64,
    /// Stored state of the table, `None` while it is being committed by nobody.
    state: MergeState,
    /// Newest tick when the copy took its snapshot: batches up to it are contained.
    snapshot: Option<i64>,
    /// How often the event of each batch is in the table.
    rows: [u8; TICKS + 1],
    replay: Process,
    copy: Process,
    /// Kills left to spend.
    kills: u8,
}

const TICKS: usize = 5;

/// Of a batch in [`World::rows`].
fn place(end: i64) -> usize {
    usize::try_from(end).expect("ticks are positive")
}

/// A consumer and its process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    /// Stored at the subscriber, with the effects.
    position: Option<i64>,
    /// Position of the consumer at the provider; `None` when it is not registered.
    consumer: Option<i64>,
    /// End of the batch held in memory.
    held: Option<i64>,
    /// Whether the last poll was empty; in memory.
    idle: bool,
    /// Whether the batch held is committed but not finished; in memory.
    done: bool,
}

impl World {
    fn start() -> World {
        let process = |position| Process {
            position,
            consumer: position,
            held: None,
            idle: false,
            done: false,
        };
        World {
            ticks: 1,
            state: MergeState::New,
            snapshot: None,
            rows: [0; TICKS + 1],
            replay: process(Some(1)),
            copy: process(None),
            kills: 2,
        }
    }

    fn apply(&mut self, end: i64) {
        let contained = self.snapshot.is_some_and(|snapshot| end <= snapshot);
        if !contained {
            self.rows[place(end)] += 1;
        }
    }

    /// Every world that one atomic step leads to.
    fn next(&self) -> Vec<World> {
        let mut worlds = vec![self.replay_step(), self.copy_step()];
        if self.ticks < TICKS as i64 {
            let mut world = self.clone();
            world.ticks += 1;
            worlds.push(world);
        }
        if self.kills > 0 {
            for victim in [0, 1] {
                let mut world = self.clone();
                world.kills -= 1;
                let process = [&mut world.replay, &mut world.copy]
                    .into_iter()
                    .nth(victim)
                    .expect("two processes");
                process.held = None;
                process.idle = false;
                process.done = false;
                worlds.push(world);
            }
        }
        worlds
    }

    fn replay_step(&self) -> World {
        let mut world = self.clone();
        let replay = &mut world.replay;
        let consumer = replay.consumer.expect("replay stays registered");
        let Some(end) = replay.held else {
            let plan = replay_plan(&[world.state], None, 1);
            if !plan.begin.is_empty() {
                world.state = MergeState::InCopy;
                world.snapshot = None;
                world.rows = [0; TICKS + 1];
            } else if consumer < world.ticks {
                replay.held = Some(consumer + 1);
                replay.done = replay.position == Some(consumer + 1);
            }
            return world;
        };
        if replay.done {
            replay.consumer = Some(end);
            replay.held = None;
            replay.done = false;
            return world;
        }
        let plan = replay_plan(&[world.state], Some(tick(end)), 1);
        if !plan.begin.is_empty() {
            world.state = MergeState::InCopy;
        } else if !plan.meet.is_empty() {
            world.state = MergeState::DoSync(tick(end));
        } else if !plan.wait {
            replay.position = Some(end);
            replay.done = true;
            if world.state == MergeState::Ok {
                world.apply(end);
            }
        }
        world
    }

    fn copy_step(&self) -> World {
        let mut world = self.clone();
        if !world.state.in_progress() {
            // The process leaves, or what it left behind is removed.
            world.copy = World::start().copy;
            return world;
        }
        let copy = &mut world.copy;
        let Some(consumer) = copy.consumer else {
            copy.consumer = Some(world.ticks);
            copy.position = Some(world.ticks);
            return world;
        };
        if copy.done {
            copy.consumer = copy.held.take();
            copy.done = false;
            return world;
        }
        let held = copy.held.map(|end| batch(end - 1, end));
        let replay = world.replay.position.map(tick);
        match copy_move(Some(world.state), held.as_ref(), copy.idle, replay) {
            CopyMove::Copy => {
                world.state = MergeState::CatchingUp;
                world.snapshot = Some(world.ticks);
                copy.idle = false;
            }
            CopyMove::Idle if consumer < world.ticks => {
                copy.held = Some(consumer + 1);
                copy.done = copy.position == Some(consumer + 1);
            }
            CopyMove::Idle => copy.idle = true,
            CopyMove::Wait => {}
            CopyMove::Apply => {
                let end = copy.held.expect("applies what it holds");
                copy.position = Some(end);
                copy.done = true;
                copy.idle = false;
                world.apply(end);
            }
            CopyMove::AskToMeet(end) => world.state = MergeState::WannaSync(end),
            CopyMove::HandOver => {
                assert_eq!(
                    copy.position, world.replay.position,
                    "both stand at the same start: {self:?}"
                );
                world.state = MergeState::Ok;
            }
            CopyMove::StartOver => panic!("overshoot without a rewind: {self:?}"),
            CopyMove::Leave => unreachable!("the table is in progress"),
        }
        world
    }

    /// What must hold in every world.
    fn check(&self) {
        for (end, rows) in self.rows.iter().enumerate() {
            assert!(*rows <= 1, "batch {end} applied twice: {self:?}");
        }
        if self.state == MergeState::Ok {
            let snapshot = self.snapshot.expect("a copied table has a snapshot");
            let applied = self.replay.position.expect("replay has a position");
            for end in snapshot + 1..=applied {
                assert_eq!(self.rows[place(end)], 1, "batch {end} lost: {self:?}");
            }
        }
    }
}

#[test]
fn every_batch_is_applied_exactly_once_whoever_is_killed_when() {
    let mut seen = HashMap::new();
    let mut queue = VecDeque::from([World::start()]);
    let mut finished = 0;
    while let Some(world) = queue.pop_front() {
        if seen.insert(world.clone(), ()).is_some() {
            continue;
        }
        world.check();
        let complete = world.state == MergeState::Ok
            && world.replay.position == Some(TICKS as i64)
            && world.copy.consumer.is_none();
        finished += usize::from(complete);
        queue.extend(world.next());
    }
    assert!(finished > 0, "the hand-over never completes");
    assert!(seen.len() > 10_000, "only {} worlds", seen.len());
}
