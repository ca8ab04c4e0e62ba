//! A source and a target, and consumers between them.

use pgq::batch::Event;
use pgq::consumer::{ConsumerArgs, LockLevel, RemoteConsumer, SerialConsumer};
use pgq::{Error, TickId, admin, position};
use skytools::daemon::{Context, Work};
use skytools::db::{Connection, Tx};
use testkit::{Cluster, TestResult};

use crate::support::{config, consumer, database, install, open, queue, with_queue};

pub(crate) const REGISTER: ConsumerArgs = ConsumerArgs {
    register: true,
    unregister: false,
};

pub(crate) const UNREGISTER: ConsumerArgs = ConsumerArgs {
    register: false,
    unregister: true,
};

/// A source with a queue, and a target with a table of what arrived.
pub(crate) struct Pair {
    pub(crate) cluster: Cluster,
    pub(crate) src: Connection,
    pub(crate) dst: Connection,
}

impl Pair {
    pub(crate) fn new() -> TestResult<Pair> {
        let cluster = Cluster::start()?;
        let src = with_queue(&cluster, "src")?;
        let mut dst = install(&cluster, "dst")?;
        dst.batch_execute("create table applied (data text)")?;
        Ok(Pair { cluster, src, dst })
    }

    pub(crate) fn serial(&self) -> TestResult<SerialConsumer> {
        self.serial_with(LockLevel::Session)
    }

    pub(crate) fn serial_with(&self, lock: LockLevel) -> TestResult<SerialConsumer> {
        let (src, dst) = (
            database(&self.cluster.conninfo("src"))?,
            database(&self.cluster.conninfo("dst"))?,
        );
        Ok(SerialConsumer::new(src, dst, "pgq_ext", config(lock)))
    }

    pub(crate) fn remote(&self) -> TestResult<RemoteConsumer> {
        let (src, dst) = (
            database(&self.cluster.conninfo("src"))?,
            database(&self.cluster.conninfo("dst"))?,
        );
        Ok(RemoteConsumer::new(src, dst, config(LockLevel::Session)))
    }

    /// Keeps the source as it is, for [`Pair::restore`]. No consumer may have it open.
    pub(crate) fn back_up(&mut self) -> TestResult {
        self.between_sources(&["create database backup template src"])
    }

    /// Has the source be what it was.
    pub(crate) fn restore(&mut self) -> TestResult {
        self.between_sources(&["drop database src", "alter database backup rename to src"])
    }

    fn between_sources(&mut self, statements: &[&str]) -> TestResult {
        self.src = open(&self.cluster.conninfo("postgres"))?;
        for statement in statements {
            self.src.batch_execute(statement)?;
        }
        self.src = open(&self.cluster.conninfo("src"))?;
        Ok(())
    }

    pub(crate) fn applied(&mut self) -> TestResult<Vec<String>> {
        crate::support::applied(&mut self.dst)
    }

    pub(crate) fn stored(&mut self) -> TestResult<Option<TickId>> {
        Ok(position::last_tick(&mut *self.dst, "pgq_ext", &consumer())?)
    }

    pub(crate) fn source_position(&mut self) -> TestResult<Option<TickId>> {
        let info = admin::consumer_info(&mut *self.src, Some(&queue()), Some(&consumer()))?;
        Ok(info.first().ok_or("not registered")?.last_tick)
    }
}

pub(crate) fn insert(dst: &mut Tx<'_>, event: &Event) -> Result<(), Error> {
    crate::support::apply(dst, event)
}

/// One round of a serial consumer that inserts what it gets.
pub(crate) fn round(consumer: &mut SerialConsumer, context: &mut Context) -> Result<Work, Error> {
    consumer.work(context, |events, dst| {
        while let Some(event) = events.next()? {
            insert(dst, &event)?;
        }
        Ok::<_, Error>(())
    })
}
