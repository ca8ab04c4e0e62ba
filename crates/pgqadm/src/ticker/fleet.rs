//! The threads of all databases, and what they share.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use skytools::daemon::Stop;
use tracing::error;

use super::one;
use super::session::Backend;
use super::task::{Label, Plan, Task};

/// Databases that connect at the same time; more would take the places of others.
const CONNECTING: usize = 8;

/// Time between two looks whether somebody wants a database for himself; well below the time that
/// the server waits.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// How often a thread that waits for its turn looks whether it shall end.
const TURN: Duration = Duration::from_millis(200);

/// At the end, time for a server to answer before its thread is left behind.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a thread is looked at that shall end.
const GLANCE: Duration = Duration::from_millis(5);

/// The running threads.
#[derive(Default)]
pub(super) struct Fleet {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By name of the database; none for the one of `db`.
    tasks: BTreeMap<Option<String>, Arc<Task>>,
    threads: Vec<(Arc<Task>, JoinHandle<()>)>,
    connecting: usize,
    looked: Option<Instant>,
    check_soon: bool,
}

/// A place among those that connect; given back when dropped.
pub(super) struct Permit<'a>(&'a Fleet);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.state().connecting -= 1;
        self.0.changed.notify_one();
    }
}

impl Fleet {
    /// Nothing that can panic happens under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a database's thread, or gives the running one its new plan. True if it was started.
    pub(super) fn start(self: &Arc<Fleet>, name: Option<&str>, plan: Plan) -> bool {
        let name = name.map(str::to_owned);
        let running = self.state().tasks.get(&name).cloned();
        match running {
            Some(task) => {
                if *task.plan() != plan {
                    task.replan(plan);
                }
                false
            }
            None => {
                self.spawn(name, plan, None);
                true
            }
        }
    }

    fn spawn(self: &Arc<Fleet>, name: Option<String>, plan: Plan, ghost: Option<Backend>) {
        let task = Arc::new(Task::new(Label(name.clone()), plan));
        let work = {
            let (task, fleet) = (Arc::clone(&task), Arc::clone(self));
            move || one::run(&task, &fleet, ghost)
        };
        match Builder::new().name("ticker".to_owned()).spawn(work) {
            Ok(thread) => {
                let mut state = self.state();
                state.threads.push((Arc::clone(&task), thread));
                state.tasks.insert(name, task);
            }
            // The next look for databases tries again.
            Err(error) => error!("{}cannot start a thread: {error}", task.label),
        }
    }

    /// Asks a database's thread to end, without waiting for it.
    pub(super) fn stop(&self, name: &Option<String>) {
        if let Some(task) = self.state().tasks.remove(name) {
            task.end();
        }
    }

    /// The databases with a thread.
    pub(super) fn names(&self) -> Vec<Option<String>> {
        self.state().tasks.keys().cloned().collect()
    }

    pub(super) fn tasks(&self) -> Vec<Arc<Task>> {
        self.state().tasks.values().cloned().collect()
    }

    /// Forgets threads that have ended. True if one of them should still run.
    pub(super) fn reap(&self) -> bool {
        let ended: Vec<_> = {
            let state = &mut *self.state();
            let is_finished = |(_, thread): &mut (_, JoinHandle<()>)| thread.is_finished();
            state.threads.extract_if(.., is_finished).collect()
        };
        let mut is_missed = false;
        for (task, thread) in ended {
            is_missed |= !task.stop.requested() && {
                self.state().tasks.remove(&task.label.0);
                true
            };
            join((task, thread));
        }
        is_missed
    }

    /// Replaces a thread that waits in vain for an answer: it ends whenever one comes.
    pub(super) fn replace(self: &Arc<Fleet>, task: &Arc<Task>) {
        let name = task.label.0.clone();
        {
            let mut state = self.state();
            state.tasks.remove(&name);
            // Nobody waits for it any more.
            state.threads.retain(|(other, _)| !Arc::ptr_eq(other, task));
        }
        task.end();
        self.spawn(name, Plan::clone(&task.plan()), task.backend());
    }

    /// Ends all threads and waits for them.
    pub(super) fn end(&self) {
        let threads = {
            let mut state = self.state();
            state.tasks.clear();
            std::mem::take(&mut state.threads)
        };
        threads.iter().for_each(|(task, _)| task.end());
        for (task, thread) in threads {
            while !thread.is_finished() && task.busy_for().is_none_or(|busy| busy < PATIENCE) {
                std::thread::park_timeout(GLANCE);
            }
            if thread.is_finished() {
                join((task, thread));
            }
        }
    }

    /// Waits for a turn to connect; goes on without one when the thread shall end.
    pub(super) fn connect_permit(&self, stop: &Stop) -> Permit<'_> {
        let mut state = self.state();
        while state.connecting >= CONNECTING && !stop.requested() {
            let waited = self.changed.wait_timeout(state, TURN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.connecting += 1;
        Permit(self)
    }

    /// Whether it is time to look which databases are wanted: any session of the server sees all of
    /// them, so that one look a second does.
    pub(super) fn claim_look(&self) -> bool {
        let state = &mut *self.state();
        let due = state
            .looked
            .is_none_or(|looked| looked.elapsed() >= LOOK_PERIOD);
        if due {
            state.looked = Some(Instant::now());
        }
        due
    }

    /// Makes the threads of these databases let go of them; the flag marks that of `own`.
    pub(super) fn let_go_of(&self, wanted: &[(String, bool)], own: &Task) {
        for (name, is_own) in wanted {
            if *is_own {
                own.let_go();
            } else if let Some(task) = self.state().tasks.get(&Some(name.clone())) {
                task.let_go();
            }
        }
    }

    /// Asks the supervisor to look for databases.
    pub(super) fn check_soon(&self) {
        self.state().check_soon = true;
    }

    pub(super) fn take_check_soon(&self) -> bool {
        std::mem::take(&mut self.state().check_soon)
    }
}

fn join((task, thread): (Arc<Task>, JoinHandle<()>)) {
    if thread.join().is_err() {
        error!("{}the ticker ended by a defect of the program", task.label);
    }
}
