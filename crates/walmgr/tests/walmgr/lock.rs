//! A backup lock that was left behind.

use std::fs;
use std::time::{Duration, SystemTime};

use testkit::TestResult;

use crate::Site;

impl Site {
    /// Leaves a lock that nobody holds.
    fn leave_lock(&self, text: &str) -> TestResult {
        let path = self.archived("BACKUPLOCK");
        fs::write(&path, text)?;
        Ok(self.owner.give(&path)?)
    }
}

fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn a_lock_of_this_host_whose_holder_is_gone_is_taken_over() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let rest = format!(
        "\nhost={}\nstarted=2026-11-22T05:50:32Z\ncommand=backup\n",
        host()
    );
    // The process is gone; after a reboot it may be any other, and what is left is a lock that nobody holds.
    let here = std::process::id();
    for text in [
        format!("99999999{rest}id=a\n"),
        format!("{here}{rest}id=a\n"),
        String::new(),
    ] {
        site.leave_lock(&text)?;
        site.on_slave("restore -n")
            .err()
            .filter(|error| !error.to_string().contains("the backup lock is held"))
            .ok_or_else(|| format!("{text:?} counts as held"))?;
        site.on_master("backup")?;
        assert!(!site.archived("BACKUPLOCK").exists());
        fs::remove_dir_all(site.shipped("data.master"))?;
    }
    assert!(
        site.logs()
            .contains("taking over the backup lock of pid 99999999")
    );
    // Without a word of who took it, a living process may still mean it.
    site.leave_lock(&format!("{here}{rest}"))?;
    site.refused(
        "master.ini backup",
        &format!("the backup lock is held by pid {here} on {}", host()),
    )?;
    site.on_slave("xrelease")?;
    site.on_master("backup")?;
    Ok(())
}

#[test]
fn a_lock_of_another_host_is_taken_over_by_force_and_not_before_a_day() -> TestResult {
    let mut site = Site::new()?;
    site.set_up()?;
    let other = "4711\nhost=elsewhere\nstarted=2026-11-22T05:50:32Z\ncommand=backup\nid=a\n";
    let held =
        "the backup lock is held by pid 4711 on elsewhere, since 2026-11-22T05:50:32Z: backup";
    site.leave_lock(other)?;
    for line in [
        "master.ini backup",
        "master.ini backup --force",
        "slave.ini restore",
    ] {
        site.refused(line, held)?;
    }
    let path = site.archived("BACKUPLOCK");
    let day = Duration::from_secs(25 * 3600);
    let old = SystemTime::now().checked_sub(day).ok_or("a day ago")?;
    fs::File::options()
        .write(true)
        .open(&path)?
        .set_modified(old)?;
    site.refused("master.ini backup", held)?;
    site.on_master("backup --force")?;
    // What cannot be read is nobody's, and not for us to take.
    site.leave_lock("somebody's own\n")?;
    site.refused("master.ini backup", "the backup lock is held by")?;
    site.on_slave("xrelease")?;
    fs::create_dir(&path)?;
    site.refused("master.ini backup", "BACKUPLOCK")?;
    site.refused("slave.ini restore -n", "the backup lock is held")?;
    fs::remove_dir(&path)?;
    site.on_master("backup")?;
    Ok(())
}
