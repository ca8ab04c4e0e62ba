//! Input that is read before it is wanted, so that who sends it need not wait while we wait for the disk.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

/// Bytes read at once: what a pipe holds.
const BLOCK: usize = 64 * 1024;

/// Blocks that wait, at most: a segment of the usual size.
const MOST: usize = 256;

/// A reader with a thread of its own, which ends with the input or with the process.
pub(crate) struct Ahead {
    blocks: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    /// Bytes of the block that have been taken.
    taken: usize,
}

impl Ahead {
    pub(crate) fn new(from: impl Read + Send + 'static) -> Ahead {
        let (to, blocks) = mpsc::sync_channel(MOST);
        thread::spawn(move || read_all(from, &to));
        Ahead {
            blocks,
            block: Vec::new(),
            taken: 0,
        }
    }
}

fn read_all(mut from: impl Read, to: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut block = vec![0; BLOCK];
        let read = match from.read(&mut block) {
            Ok(0) => return,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read,
        };
        let is_over = read.is_err();
        let read = read.map(|length| {
            block.truncate(length);
            block
        });
        if to.send(read).is_err() || is_over {
            return;
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, wanted: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() {
            match self.blocks.recv() {
                Ok(block) => (self.block, self.taken) = (block?, 0),
                Err(_) => return Ok(0),
            }
        }
        let length = wanted.len().min(self.block.len() - self.taken);
        wanted[..length].copy_from_slice(&self.block[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::{Ahead, BLOCK, MOST};

    #[test]
    fn what_is_read_ahead_comes_as_it_was_and_ends_as_it_did() {
        let bytes: Vec<u8> = (0..(MOST + 3) * BLOCK + 5)
            .map(|at| at.to_le_bytes()[at % 3])
            .collect();
        let mut came = Vec::new();
        Ahead::new(io::Cursor::new(bytes.clone()))
            .read_to_end(&mut came)
            .expect("memory");
        assert!(came == bytes);

        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut ahead = Ahead::new((&b"abc"[..]).chain(Broken));
        let mut came = Vec::new();
        let error = ahead.read_to_end(&mut came).expect_err("it is broken");
        assert_eq!(
            (came.as_slice(), error.kind()),
            (&b"abc"[..], io::ErrorKind::BrokenPipe)
        );
        assert_eq!(ahead.read(&mut [0; 8]).expect("the end"), 0);
    }
}
