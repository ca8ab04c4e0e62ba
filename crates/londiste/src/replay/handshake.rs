//! Who applies which batch of a table that is being copied: the decisions of replay and of a copy.
//!
//! Both processes read the stored state of the table, decide while they stand *before* the batch
//! they hold, and store the next state. Replay and copy take turns:
//!
//! | state | written by | what holds from then on |
//! |---|---|---|
//! | `in-copy` | replay | replay skips the table's events; the copy's snapshot will contain them |
//! | `catching-up` | copy | data and snapshot are stored; the copy applies what the snapshot lacks |
//! | `wanna-sync:T` | copy | the copy stands before the batch that ends at T, and waits |
//! | `do-sync:M` | replay | replay stands before the batch that ends at M ≥ T, and waits |
//! | `ok` | copy | the copy stood before that batch too, and left; replay applies it |
//!
//! Every batch is thus applied by exactly one of the two, whatever is killed when. Both must see the
//! same batch boundaries, so neither may merge ticks while a table is in progress. Replay that died with a
//! merged batch open holds it still: it meets nobody before that one, but before the next.

use pgq::TickId;
use pgq::batch::Batch;

use super::state::MergeState;

/// What replay does about the tables that are not `ok`, before it applies the batch it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ReplayPlan {
    /// Tables whose copy may begin, as indexes: `New` and a free slot.
    pub(crate) begin: Vec<usize>,
    /// Tables to put into `do-sync` at the end of the batch held.
    pub(crate) meet: Vec<usize>,
    /// Whether a copy has to take its turn before the batch may be applied.
    pub(crate) wait: bool,
}

/// Decides for replay. `held` is the end of the batch it holds and has not applied, if it is one of a single
/// tick; `slots` is how many tables may be in progress at once.
pub(crate) fn replay_plan(states: &[MergeState], held: Option<TickId>, slots: usize) -> ReplayPlan {
    let mut plan = ReplayPlan::default();
    let busy = states.iter().filter(|state| state.in_progress()).count();
    let mut free = slots.saturating_sub(busy);
    for (index, state) in states.iter().enumerate() {
        match (*state, held) {
            (MergeState::New, _) if free > 0 => {
                free -= 1;
                plan.begin.push(index);
            }
            (MergeState::WannaSync(tick), Some(end)) if end >= tick => {
                plan.meet.push(index);
                plan.wait = true;
            }
            (MergeState::DoSync(_), Some(_)) => plan.wait = true,
            _ => {}
        }
    }
    plan
}

/// What a copy does next about its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyMove {
    /// Copy the data; needs no batch.
    Copy,
    /// Apply the batch held.
    Apply,
    /// Store `wanna-sync` with the end of the batch held.
    AskToMeet(TickId),
    /// It is replay's turn.
    Wait,
    /// There is no batch yet.
    Idle,
    /// Both stand before the same batch: store `ok` and leave without applying it.
    HandOver,
    /// The batch to meet at is behind: only a new copy can bring the table and replay together.
    StartOver,
    /// The table is nobody's business of this process any more.
    Leave,
}

/// Decides for a copy. `state` is `None` when the table is not registered any more; `idle` says that
/// there was no batch before the one held; `replay` is the tick up to which replay has applied.
pub(crate) fn copy_move(
    state: Option<MergeState>,
    held: Option<&Batch>,
    idle: bool,
    replay: Option<TickId>,
) -> CopyMove {
    match (state, held) {
        (None | Some(MergeState::New | MergeState::Ok), _) => CopyMove::Leave,
        (Some(MergeState::InCopy), _) => CopyMove::Copy,
        (Some(MergeState::WannaSync(_)), _) => CopyMove::Wait,
        (Some(MergeState::CatchingUp | MergeState::DoSync(_)), None) => CopyMove::Idle,
        (Some(MergeState::CatchingUp), Some(batch)) => {
            // On a busy queue the copy never sees an empty poll, but it does catch up with replay.
            if idle || replay.is_some_and(|position| batch.prev_tick >= position) {
                CopyMove::AskToMeet(batch.tick)
            } else {
                CopyMove::Apply
            }
        }
        (Some(MergeState::DoSync(tick)), Some(batch)) => match batch.tick.cmp(&tick) {
            std::cmp::Ordering::Less => CopyMove::Apply,
            std::cmp::Ordering::Equal => CopyMove::HandOver,
            std::cmp::Ordering::Greater => CopyMove::StartOver,
        },
    }
}

#[cfg(test)]
mod tests;
