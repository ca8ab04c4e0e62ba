//! When rounds of maintenance run: each on a thread of its own, which ends with the round, so that a
//! database at rest costs one sleeping thread and one connection.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use skytools::daemon::Stop;
use tracing::error;

use super::maintenance::{Current, Round};
use super::task::{Plan, Task};

/// Pause after a failed round.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(20);

/// The first rounds of many databases are spread over so long.
const SPREAD: Duration = Duration::from_secs(30);

/// Time for a statement to end by itself when the program shall end; then it is cancelled.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time for it to end after that; then its thread is left behind.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(5);

/// What a round is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Maintain,
    Retry,
}

/// The rounds of one database.
pub(super) struct Rounds {
    task: Arc<Task>,
    maintain: Schedule,
    retry: Schedule,
}

struct Schedule {
    kind: Kind,
    /// None: at once, or soon.
    due: Option<Instant>,
    running: Option<Running>,
}

struct Running {
    /// Whether it went well.
    thread: JoinHandle<bool>,
    started: Instant,
    stop: Stop,
    current: Arc<Current>,
}

impl Rounds {
    pub(super) fn new(task: &Arc<Task>) -> Rounds {
        let schedule = |kind| Schedule {
            kind,
            due: None,
            running: None,
        };
        Rounds {
            task: Arc::clone(task),
            maintain: schedule(Kind::Maintain),
            retry: schedule(Kind::Retry),
        }
    }

    /// Starts the rounds whose time has come.
    pub(super) fn start_due(&mut self, plan: &Arc<Plan>) {
        self.maintain
            .start(&self.task, plan, plan.maintenance_period);
        self.retry.start(&self.task, plan, plan.retry_period);
    }

    /// Ends the rounds: VACUUM at once, anything else with its statement, in bounded time.
    pub(super) fn end(&mut self) {
        for schedule in [&mut self.maintain, &mut self.retry] {
            let Some(running) = schedule.running.take() else {
                continue;
            };
            running.stop.request();
            running.current.cancel(false);
            let started = Instant::now();
            let mut is_cancelled = false;
            while !running.thread.is_finished() && started.elapsed() < PATIENCE + CANCEL_PATIENCE {
                if started.elapsed() >= PATIENCE && !std::mem::replace(&mut is_cancelled, true) {
                    running.current.cancel(true);
                }
                std::thread::park_timeout(GLANCE);
            }
            if running.thread.is_finished() {
                running.join();
            }
        }
    }

    /// Cancels what the rounds run; they are made up for later.
    pub(super) fn break_off(&mut self) {
        for schedule in [&mut self.maintain, &mut self.retry] {
            if let Some(running) = &schedule.running {
                running.stop.request();
                running.current.cancel(true);
            }
        }
    }
}

impl Schedule {
    fn start(&mut self, task: &Arc<Task>, plan: &Arc<Plan>, period: Duration) {
        if let Some(running) = self.running.take_if(|running| running.thread.is_finished()) {
            let pause = period.min(PAUSE_AFTER_ERROR);
            self.due = match (running.started, running.join()) {
                (started, true) => started.checked_add(period),
                (_, false) => Instant::now().checked_add(pause),
            };
        }
        let now = Instant::now();
        let due = *self
            .due
            .get_or_insert_with(|| now + first_pause(task, period));
        if self.running.is_some() || now < due {
            return;
        }
        let (stop, current) = (Stop::default(), Arc::new(Current::default()));
        let work = {
            let (kind, task, plan) = (self.kind, Arc::clone(task), Arc::clone(plan));
            let (stop, current) = (stop.clone(), Arc::clone(&current));
            move || run(kind, &task, &plan, &stop, &current)
        };
        match Builder::new().name("maintenance".to_owned()).spawn(work) {
            Ok(thread) => {
                self.running = Some(Running {
                    thread,
                    started: now,
                    stop,
                    current,
                });
            }
            Err(error) => {
                error!(
                    "{}cannot start a thread for maintenance: {error}",
                    task.label
                );
                self.due = now.checked_add(PAUSE_AFTER_ERROR);
            }
        }
    }
}

impl Running {
    fn join(self) -> bool {
        self.thread.join().unwrap_or_else(|_| {
            error!("maintenance ended by a defect of the program");
            false
        })
    }
}

fn run(kind: Kind, task: &Task, plan: &Plan, stop: &Stop, current: &Current) -> bool {
    let round = Round {
        label: &task.label,
        plan,
        stop,
        current,
    };
    match kind {
        Kind::Maintain => {
            let all_well = round.maintain();
            task.count(|counts| counts.maintained += 1);
            all_well
        }
        Kind::Retry => match round.retry() {
            Some(moved) => {
                task.count(|counts| counts.retried += moved);
                true
            }
            None => false,
        },
    }
}

/// Databases of one server shall not all begin at once. The same name gives the same place.
fn first_pause(task: &Task, period: Duration) -> Duration {
    let Some(name) = &task.label.0 else {
        return Duration::ZERO;
    };
    let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    let place = name.bytes().fold(2_166_136_261, hash) % 1000;
    period.min(SPREAD) * place / 1000
}
