//! From the start of `xarchive` to the first byte that it writes.

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use rustix::fs::inotify;

use super::Run;
use crate::Result;
use crate::bench::measure::in_rounds;
use crate::bench::report::Goal;

/// Starts per round.
const STARTS: usize = 20;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn measure(run: &mut Run) -> Result {
    let workload = "start of xarchive";
    let site = &run.site;
    let master = site.write_master("start", false, "")?;
    let name = site.segments.first().ok_or("no segments")?;
    let wal = site.wal(name).display().to_string();
    // Else the first byte would be waited for in vain.
    site.clear()?;
    let program = site.walmgr(&master);
    program.args(["xarchive", "-q", &wal, name]).succeed()?;
    let samples = in_rounds(run.common.rounds, &[()], run.interrupt, |()| {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            site.clear()?;
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
            inotify::add_watch(&watch, site.archived(""), inotify::WatchFlags::MODIFY)?;
            let program = site.walmgr(&master).args(["xarchive", "-q", &wal, name]);
            let started = Instant::now();
            let mut running = program.spawn()?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            inotify::Reader::new(&watch, &mut buffer).next()?;
            times.push(started.elapsed().as_secs_f64() * 1000.0);
            let status = running.wait(PATIENCE)?;
            if !status.success() {
                return Err(format!("xarchive: {status}").into());
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times[STARTS / 2])
    })?;
    run.report
        .add(workload, "to the first byte", "ms", &samples[0]);
    run.report
        .limit(workload, "to the first byte", Goal::AtMost(5.0));
    Ok(())
}
