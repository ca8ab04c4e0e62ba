//! Which cipher a connection of ssh tries first.
//!
//! OpenSSH prefers ChaCha20-Poly1305 unless it is told otherwise. Where processors have instructions for AES, AES-GCM
//! takes a fraction of the time, and the cipher is what sending WAL costs most. So ssh is asked what it would try. If
//! that is the list that it was built with, it is given the same ciphers, with AES-GCM in front: nothing is allowed
//! that was not, and a slave that does not know AES-GCM takes the next one. Any other list is somebody's decision.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tracing::debug;

use super::push::text_of;

/// What OpenSSH tries if nothing is said of ciphers: up to 9.9, and from 10.0 on.
const BUILT_IN: [&str; 2] = [
    "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr",
];

/// What goes to the front; the longer key first, which ChaCha20 has, too.
const FIRST: [&str; 2] = ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"];

/// Longest wait for what ssh says of itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest text that it may be.
const LONGEST: u64 = 64 * 1024;

/// The ciphers for a new connection, in their order; `None`: as ssh would have them.
pub(super) fn preferred(ssh: &[String], host: &str) -> Option<String> {
    if !has_aes() {
        return None;
    }
    let said = configuration(ssh, host);
    let reordered = said.as_deref().and_then(ciphers).and_then(reordered);
    if reordered.is_none() {
        debug!(host, "ciphers are left to ssh");
    }
    reordered
}

/// Whether this processor has instructions for AES-GCM. Of the other side's nothing is known.
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

/// What ssh would do for this host, as it says itself. Another program need not know that question: then this is
/// whatever it says, if it is to be run at all.
fn configuration(ssh: &[String], host: &str) -> Option<String> {
    let (program, options) = ssh.split_first()?;
    let mut child = Command::new(program)
        .args(options)
        .args(["-T", "-G", host])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let output = child.stdout.take()?;
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(text_of(output.take(LONGEST))));
    let said = told.recv_timeout(PATIENCE).ok();
    // It has said all, or too much, or it hangs.
    let _ = child.kill();
    let _ = child.wait();
    said
}

/// The list that ssh names.
fn ciphers(configuration: &str) -> Option<&str> {
    let mut lines = configuration.lines();
    lines.find_map(|line| line.strip_prefix("ciphers "))
}

/// AES-GCM first, if nobody has chosen the list.
fn reordered(list: &str) -> Option<String> {
    if !BUILT_IN.contains(&list) {
        return None;
    }
    let others = list.split(',').filter(|cipher| !FIRST.contains(cipher));
    Some(
        FIRST
            .into_iter()
            .chain(others)
            .collect::<Vec<_>>()
            .join(","),
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BUILT_IN, configuration, preferred, reordered};

    fn words(line: &str) -> Vec<String> {
        line.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn only_the_order_of_a_list_that_nobody_has_chosen_is_changed() {
        for list in BUILT_IN {
            let new = reordered(list).expect("it is built in");
            assert!(new.starts_with("aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20"));
            let sorted = |list: &str| {
                let mut ciphers: Vec<_> = list.split(',').map(str::to_owned).collect();
                ciphers.sort();
                ciphers
            };
            assert_eq!(sorted(&new), sorted(list));
            assert_eq!(reordered(&new), None);
            let (_, without) = list.split_once(',').expect("several");
            assert_eq!(reordered(without), None);
        }
        assert_eq!(reordered(""), None);
    }

    #[test]
    fn a_program_that_does_not_know_the_question_is_left_alone() {
        assert_eq!(preferred(&words("/nonexistent/ssh"), "db2"), None);
        assert_eq!(preferred(&words("false"), "db2"), None);
        assert_eq!(preferred(&words("echo|ciphers none|"), "db2"), None);
        assert_eq!(preferred(&words("sh|-c|yes"), "db2"), None);
        let begun = Instant::now();
        // It is not waited for, nor for whom it leaves behind.
        assert_eq!(
            configuration(&words("sh|-c|sleep 9 & exec sleep 600"), "db2"),
            None
        );
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
