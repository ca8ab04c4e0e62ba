//! Input that is read before it is wanted, so that who sends it need not wait while we wait for the disk.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

/// Bytes read at once: what a pipe holds.
const BLOCK: usize = 64 * 1024;

/// Blocks that wait, at most: a segment of the usual size.
const MOST: usize = 256;

/// A reader with a thread of its own, which ends with the input or with the process.
pub(crate) struct Ahead {
    blocks: Receiver<io::Result<Block>>,
    /// Where blocks go that can be filled again.
    empty: Sender<Vec<u8>>,
    block: Block,
}

/// What has been read at once.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// Those that have come, and of them those that have been taken.
    length: usize,
    taken: usize,
}

impl Ahead {
    pub(crate) fn new(from: impl Read + Send + 'static) -> Ahead {
        let (to, blocks) = mpsc::sync_channel(MOST);
        let (empty, free) = mpsc::channel();
        thread::spawn(move || read_all(from, &to, &free));
        Ahead {
            blocks,
            empty,
            block: Block::default(),
        }
    }
}

fn read_all(mut from: impl Read, to: &SyncSender<io::Result<Block>>, free: &Receiver<Vec<u8>>) {
    loop {
        let mut bytes = free.try_recv().unwrap_or_else(|_| vec![0; BLOCK]);
        let read = match from.read(&mut bytes) {
            Ok(0) => return,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read,
        };
        let is_over = read.is_err();
        let block = read.map(|length| Block {
            bytes,
            length,
            taken: 0,
        });
        if to.send(block).is_err() || is_over {
            return;
        }
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.block.taken == self.block.length {
            let used = std::mem::take(&mut self.block).bytes;
            if !used.is_empty() {
                // Nobody needs it when all has been read.
                let _ = self.empty.send(used);
            }
            if let Ok(block) = self.blocks.recv() {
                self.block = block?;
            }
        }
        Ok(&self.block.bytes[self.block.taken..self.block.length])
    }

    fn consume(&mut self, length: usize) {
        self.block.taken += length;
    }
}

impl Read for Ahead {
    fn read(&mut self, wanted: &mut [u8]) -> io::Result<usize> {
        let mut there = self.fill_buf()?;
        let length = there.read(wanted)?;
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead, Read};

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
        // By lines and by blocks.
        let mut ahead = Ahead::new(io::Cursor::new(bytes.clone()));
        came.clear();
        ahead.read_until(2, &mut came).expect("memory");
        came.resize(came.len() + 3 * BLOCK, 0);
        let at = came.len() - 3 * BLOCK;
        ahead.read_exact(&mut came[at..]).expect("memory");
        while ahead.read_until(1, &mut came).expect("memory") > 0 {}
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
