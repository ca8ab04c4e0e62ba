//! Statistics of a table that was copied, gathered while it catches up.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use skytools::app::chain;
use skytools::db::{Database, DbError, During};
use skytools::table::TableName;
use tracing::warn;

/// Analyses a table beside the work.
pub(crate) struct Analysis {
    database: Arc<Mutex<Database>>,
    running: Option<JoinHandle<()>>,
}

impl Analysis {
    pub(crate) fn new(database: Database) -> Analysis {
        Analysis {
            database: Arc::new(Mutex::new(database)),
            running: None,
        }
    }

    /// Starts, after what ran before. A failure is only a warning: the server does it by itself, later.
    pub(crate) fn start(&mut self, table: &str) {
        self.wait();
        let table = TableName::parse(table);
        let database = self.database.clone();
        self.running = Some(std::thread::spawn(move || {
            let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = analyze(&mut database, &table) {
                warn!("{}", chain(&error));
            }
            database.reset();
        }));
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) {
        if let Some(running) = self.running.take() {
            // It has warned of what went wrong.
            let _ = running.join();
        }
    }
}

fn analyze(database: &mut Database, table: &TableName) -> Result<(), DbError> {
    database
        .connection()?
        .batch_execute(&format!(
            "set statement_timeout = 0; analyze {}",
            table.quoted()
        ))
        .during(format!("analyze {table}"))
}
