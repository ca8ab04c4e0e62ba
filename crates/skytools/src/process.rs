//! What `/proc` tells about other processes, on platforms that have it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Pid;

/// A process as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pid: Pid,
    is_zombie: bool,
    /// Start in clock ticks since boot: with the pid it names one process for ever.
    start: u64,
    boot: SystemTime,
}

impl Process {
    /// Reads `proc(5)`: field 3 of `stat` is the state, 20 the number of threads, 22 the start in clock
    /// ticks since boot. `None` if there is no such process, or no `/proc`.
    pub fn read(pid: Pid) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name and may hold blanks and parentheses.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?;
        let threads: u32 = fields.nth(16)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        // The first thread may end before others, which hold files and their locks until they end, too.
        let is_zombie = matches!(state, "Z" | "X") && threads <= 1;
        let system = std::fs::read_to_string("/proc/stat").ok()?;
        let boot = system
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?;
        Some(Process {
            pid,
            is_zombie,
            start,
            boot: UNIX_EPOCH + Duration::from_secs(boot.trim().parse().ok()?),
        })
    }

    /// Its id, which another process may have later.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has ended and only waits to be counted.
    pub fn is_zombie(&self) -> bool {
        self.is_zombie
    }

    /// When it began, by the clock of today, in whole seconds.
    pub fn started(&self) -> SystemTime {
        let ticks = rustix::param::clock_ticks_per_second();
        self.boot + Duration::from_secs(self.start / ticks)
    }

    /// Whether it has ended since, also if another process has its id by now.
    pub fn has_ended(&self) -> bool {
        match Process::read(self.pid) {
            Some(now) => now.is_zombie || now.start != self.start,
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, SystemTime};

    use rustix::process::Pid;

    use super::Process;

    #[test]
    fn a_process_is_known_from_its_start_to_its_end() -> std::io::Result<()> {
        let before = SystemTime::now();
        let mut child = Command::new("sleep").arg("600").spawn()?;
        let process = Process::read(Pid::from_child(&child)).expect("it runs");
        let second = Duration::from_secs(2);
        assert!(process.started() + second >= before);
        assert!(process.started() <= SystemTime::now() + second);
        assert!(!process.is_zombie());
        assert!(!process.has_ended());
        child.kill()?;
        // It is not counted yet.
        while !process.has_ended() {
            std::thread::yield_now();
        }
        assert!(Process::read(process.pid()).is_some_and(|now| now.is_zombie()));
        child.wait()?;
        assert!(process.has_ended());
        assert_eq!(Process::read(process.pid()), None);
        Ok(())
    }
}
