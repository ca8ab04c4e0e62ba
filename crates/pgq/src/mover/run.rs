use skytools::app::{Program, output};
use skytools::daemon::{Job, JobError};

use super::worker::Runner;
use super::{Mover, MoverArgs, MoverConfig};
use crate::consumer::SerialArgs;

/// Runs the program: until stopped, or what the options ask for.
///
/// # Errors
/// The configuration cannot be used, or the job failed.
pub fn run<P: Program, M: Mover>(program: &P, args: MoverArgs) -> Result<(), M::Error> {
    let job: Job<MoverConfig<M::Config>> = Job::open(program)?;
    if let Some(signal) = job.signal_request() {
        job.deliver(signal);
        return Ok(());
    }
    // Before the program detaches, so that mistakes reach the terminal.
    let mut runner = Runner::<M>::new(&job.common, job.config.clone())?;
    if args.dry_run {
        return Ok(job
            .without_pidfile()
            .run_command(|_, context| rehearse(&mut runner, context))?);
    }
    let SerialArgs {
        consumer,
        rewind,
        reset,
    } = args.serial;
    if consumer.register || consumer.unregister || rewind || reset {
        return Ok(job
            .with_pidfile_suffix(".admin")
            .run_command(|_, context| runner.command(args.serial, &context.stop))?);
    }
    Ok(job.run(|_| Ok(runner))?)
}

/// Shows what the next batch would do.
fn rehearse<M: Mover>(
    runner: &mut Runner<M>,
    context: &mut skytools::daemon::Context,
) -> Result<(), M::Error> {
    let text = match runner.rehearse(context)? {
        None => "no batch to apply\n".to_owned(),
        Some((batch, report)) => format!(
            "batch {}, ticks {} to {}:\n{report}",
            batch.id, batch.prev_tick, batch.tick
        ),
    };
    output(text).map_err(|error| JobError::Command(Box::new(error)))?;
    Ok(())
}
