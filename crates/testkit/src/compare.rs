//! Comparing what two databases hold, row by row.

use std::io::{BufRead, BufReader};

use postgres::Client;

use crate::TestResult;

/// What comparing the results of a query came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Rows of the left side.
    pub left_rows: u64,
    /// Rows of the right side.
    pub right_rows: u64,
    /// The first rows that differ, in COPY format; `None` for a side that has ended.
    pub difference: Option<(Option<String>, Option<String>)>,
}

/// Runs a query on two databases and compares the results byte by byte, both streaming.
///
/// The query has to put its rows in an order that both servers agree on.
///
/// # Errors
/// A query fails.
pub fn compare(left: &mut Client, right: &mut Client, query: &str) -> TestResult<Comparison> {
    // How values read depends on these.
    for client in [&mut *left, &mut *right] {
        client.batch_execute(
            "set datestyle = 'ISO'; set intervalstyle = 'postgres'; set timezone = 'UTC'; \
             set extra_float_digits = 3; set bytea_output = 'hex'",
        )?;
    }
    let copy = format!("copy ({query}) to stdout");
    let mut left = Rows::new(BufReader::new(left.copy_out(&copy)?));
    let mut right = Rows::new(BufReader::new(right.copy_out(&copy)?));
    let mut comparison = Comparison {
        left_rows: 0,
        right_rows: 0,
        difference: None,
    };
    loop {
        left.advance()?;
        right.advance()?;
        if left.ended && right.ended {
            return Ok(comparison);
        }
        comparison.left_rows += u64::from(!left.ended);
        comparison.right_rows += u64::from(!right.ended);
        if left.row != right.row && comparison.difference.is_none() {
            comparison.difference = Some((left.shown(), right.shown()));
        }
    }
}

/// The rows of a COPY, one at a time.
struct Rows<R> {
    copy: R,
    row: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> Rows<R> {
    fn new(copy: R) -> Rows<R> {
        Rows {
            copy,
            row: Vec::new(),
            ended: false,
        }
    }

    fn advance(&mut self) -> TestResult {
        self.row.clear();
        // The driver's reader fails when it is asked again after its end.
        if !self.ended {
            self.copy.read_until(b'\n', &mut self.row)?;
            self.ended = self.row.is_empty();
        }
        Ok(())
    }

    fn shown(&self) -> Option<String> {
        (!self.ended).then(|| String::from_utf8_lossy(&self.row).into_owned())
    }
}
