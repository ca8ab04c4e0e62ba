//! PgQ client: queues, producers, batches and consumers.
//!
//! A queue lives in a PostgreSQL database. Producers put events in within their own transactions; a
//! ticker marks positions; each consumer reads what committed between two ticks as a batch, and
//! finishes it. Any number of consumers read a queue, each at a pace of its own.
//!
//! # A consumer
//!
//! This one is complete. What it does in the transaction that it is handed commits together with the
//! end of the batch, so each event is counted exactly once, whatever happens to the process:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use pgq::Error;
//! use pgq::batch::Disposition;
//! use pgq::consumer::{Consumer, ConsumerConfig};
//! use skytools::daemon::{Context, Work};
//! use skytools::db::{Database, During};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = ConsumerConfig::new("orders".into(), "counter".into());
//!     let db = Database::new("db", "dbname=shop".parse()?, Duration::ZERO);
//!     let mut consumer = Consumer::new(db, config);
//!     let mut context = Context::default();
//!     loop {
//!         let work = consumer.work(&mut context, |tx, _event| {
//!             tx.batch_execute("update counters set orders = orders + 1")
//!                 .during("count an order")?;
//!             Ok::<_, Error>(Disposition::Done)
//!         });
//!         match work {
//!             Ok(Work::More) => {}
//!             // Until the queue ticks, or a second has passed.
//!             Ok(_) => consumer.pause(&context, Duration::from_secs(1)),
//!             Err(error) => {
//!                 eprintln!("{}", skytools::app::chain(&error));
//!                 consumer.recover();
//!                 context.stop.sleep(Duration::from_secs(20));
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! Which kind to take depends on where the work is done: see [`consumer`]. A program with a
//! configuration file, a log, signals and a pidfile gives its consumer to the work loop of
//! [`skytools::daemon`] instead; the same page shows how.
//!
//! # A producer
//!
//! ```no_run
//! use pgq::producer::{self, NewEvent};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut db = skytools::db::Connection::open("db", &"dbname=shop".parse()?)?;
//! let event = NewEvent::new("order", "{\"id\": 7}");
//! let id = producer::insert_event(&mut *db, &"orders".into(), &event)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! * [`id`]: names and numbers as types of their own
//! * [`admin`]: creating, registering, ticking, looking
//! * [`producer`]: putting events in
//! * [`batch`]: taking batches and reading their events in bounded memory
//! * [`failed`]: events that a consumer has given up
//! * [`coop`]: several processes on the batches of one consumer
//! * [`row`]: events that are changed rows, in any of the formats of the triggers
//! * [`position`]: what a destination has applied; [`lock`]: one process per consumer
//! * [`health`]: what is wrong, and how queues and consumers are
//! * [`maintenance`]: rotation and redelivery
//! * [`schema`]: installing the SQL side
//! * [`consumer`]: the work loops built from these; [`mover`]: programs built from such a loop
//! * [`failpoint`]: places where tests stop a process
//!
//! Functions take any client of the `postgres` crate, or a transaction of it. Servers may have PgQ of
//! 2.1, of the 3.x line or ours; [`Features`] tells them apart where it matters.
#![warn(missing_docs)]

pub mod admin;
pub mod batch;
pub mod consumer;
pub mod coop;
mod error;
pub mod failed;
mod features;
pub mod health;
pub mod id;
pub mod lock;
pub mod maintenance;
pub mod mover;
pub mod position;
pub mod producer;
pub mod row;
pub mod schema;

pub use error::Error;
pub use features::Features;
pub use id::{BatchId, ConsumerName, EventId, QueueName, SubconsumerName, TickId};
pub use skytools::failpoint;
