//! The cipher of ssh: AES-GCM where it pays, unless somebody has chosen.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use testkit::TestResult;

use crate::Site;

/// What OpenSSH takes by itself.
const CHACHA: &str = "chacha20-poly1305@openssh.com";
const AES: &str = "aes256-gcm@openssh.com";

/// Whether this processor has what AES-GCM is fast with.
#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    // With the multiplication.
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

impl Site {
    /// Runs a line on the master's side with an ssh that tells what it does; the ciphers of its connections.
    fn ciphers(&self, ssh: &str, line: &str) -> TestResult<Vec<String>> {
        let log = self.path("s/ssh.log");
        let _ = fs::remove_file(&log);
        self.program(&format!("master.ini {line} --set"))
            .args([format!("ssh_command={ssh} -v -E {}", log.display())])
            .succeed()?;
        let text = fs::read_to_string(&log).map_err(|error| format!("{ssh}, {line}: {error}"))?;
        let told = text
            .lines()
            .filter_map(|line| line.split_once("kex: client->server cipher: "));
        let ciphers = told.map(|(_, rest)| rest.split(' ').next().unwrap_or_default().to_owned());
        Ok(ciphers.collect())
    }

    /// A program in the place of ssh.
    fn script(&self, name: &str, text: &str) -> TestResult<String> {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(path.display().to_string())
    }
}

#[test]
fn aes_is_tried_first_unless_somebody_has_chosen() -> TestResult {
    let mut site = Site::behind_ssh()?;
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    let push = format!("xarchive {} {name}", path.display());
    let ssh = site.sshd.as_ref().ok_or("no ssh")?.command();
    let own = if has_aes() { AES } else { CHACHA };
    assert_eq!(site.ciphers(&ssh, &push)?, [own]);
    assert_eq!(
        site.ciphers(&ssh, &format!("{push} --set ssh_prefer_aes=0"))?,
        [CHACHA]
    );

    // On the command line, or in a file.
    let config = ssh.strip_prefix("ssh -F ").ok_or("ssh -F")?;
    let chosen = site.path("s/chosen");
    let text = fs::read_to_string(config)?;
    fs::write(&chosen, format!("{text}Ciphers aes256-ctr\n"))?;
    for (ssh, cipher) in [
        (format!("{ssh} -c aes192-ctr"), "aes192-ctr"),
        (format!("{ssh} -o Ciphers={CHACHA},{AES}"), CHACHA),
        (
            format!("{ssh} -o Ciphers=aes128-gcm@openssh.com,{AES}"),
            "aes128-gcm@openssh.com",
        ),
        (format!("ssh -F {}", chosen.display()), "aes256-ctr"),
    ] {
        assert_eq!(site.ciphers(&ssh, &push)?, [cipher], "{ssh}");
    }

    // Programs that do not tell, or tell nonsense, or hang.
    for (name, answer) in [
        ("mute", "exit 1"),
        ("odd", "echo ciphers odd"),
        ("slow", "exec sleep 600"),
    ] {
        let text = format!("case \" $* \" in *' -G '*) {answer}; exit;; esac\nexec {ssh} \"$@\"");
        let script = site.script(name, &text)?;
        assert_eq!(site.ciphers(&script, &push)?, [CHACHA], "{name}");
    }
    // One that passes it on.
    let script = site.script("wrapper", &format!("exec env LC_ALL=C {ssh} \"$@\""))?;
    assert_eq!(site.ciphers(&script, &push)?, [own]);

    // A shared connection, and all those of a backup: of commands and of rsync.
    let shared = format!("{push} --set ssh_multiplex=1 --set ssh_persist=1");
    assert_eq!(site.ciphers(&ssh, &shared)?, [own]);
    site.set_up()?;
    let ciphers = site.ciphers(&ssh, "backup")?;
    assert!(
        ciphers.len() > 1 && ciphers.iter().all(|cipher| cipher == own),
        "{ciphers:?}"
    );
    Ok(())
}

#[test]
fn a_slave_that_does_not_know_aes_is_reached_as_before() -> TestResult {
    let mut site = Site::behind_ssh()?;
    site.on_slave("setup")?;
    let (path, name) = site.finished_segment()?;
    let push = format!("xarchive {} {name}", path.display());
    let sshd = site.sshd.as_mut().ok_or("no ssh")?;
    sshd.configure("Ciphers chacha20-poly1305@openssh.com,aes256-ctr")?;
    let ssh = sshd.command();
    assert_eq!(site.ciphers(&ssh, &push)?, [CHACHA]);
    Ok(())
}
