//! The queues of one batch, and events on their way there.

use std::collections::BTreeMap;

use pgq::batch::Event;
use pgq::mover::Report;
use pgq::mover::queue::{Outbox, Way};
use pgq::{EventId, QueueName};
use postgres::types::Type;
use skytools::db::{During, Text, Tx};

use crate::config::MissingQueue;
use crate::{Config, Error};

/// Events of all queues are sent when they have so many bytes.
const ALL_BYTES: usize = 16 * 1024 * 1024;

/// Stands for the name of a queue that an event does not have.
const NAMELESS: &str = "NULL";

/// Where the events of one batch go.
pub(crate) struct Routes<'a> {
    config: &'a Config,
    own: Option<&'a QueueName>,
    /// What was found out about the names so far.
    names: BTreeMap<Text, Destination>,
    /// What was found out about events without one.
    nameless: Option<Destination>,
    queues: Vec<Outbox>,
    skipped: Vec<Skipped>,
    bytes: usize,
}

/// A place in `queues` or `skipped`.
#[derive(Clone, Copy)]
enum Destination {
    Queue(usize),
    Nowhere(usize),
}

/// Events that go nowhere.
pub(crate) struct Skipped {
    /// The queue that they name, for messages.
    pub(crate) name: String,
    /// How many there were.
    pub(crate) events: u64,
}

impl<'a> Routes<'a> {
    pub(crate) fn new(config: &'a Config, own: Option<&'a QueueName>) -> Routes<'a> {
        Routes {
            config,
            own,
            names: BTreeMap::new(),
            nameless: None,
            queues: Vec::new(),
            skipped: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes an event along; sends what has gathered when it is much.
    pub(crate) fn put(
        &mut self,
        target: &mut Tx<'_>,
        event: Event,
        report: &mut Report,
    ) -> Result<(), Error> {
        let name = self.config.queue_field.of(&event);
        let known = match name {
            Some(name) => self.names.get(name).copied(),
            None => self.nameless,
        };
        let destination = match known {
            Some(known) => known,
            None => {
                let found = self.find(target, event.id, name)?;
                match name {
                    Some(name) => _ = self.names.insert(name.clone(), found),
                    None => self.nameless = Some(found),
                }
                found
            }
        };
        let outbox = match destination {
            Destination::Queue(place) => &mut self.queues[place],
            Destination::Nowhere(place) => {
                self.skipped[place].events += 1;
                return Ok(());
            }
        };
        let before = outbox.bytes();
        let is_full = outbox.put(event);
        self.bytes += outbox.bytes() - before;
        if is_full {
            self.bytes -= outbox.bytes();
            send(outbox, target, report)?;
        } else if self.bytes >= ALL_BYTES {
            self.flush(target, report)?;
        }
        Ok(())
    }

    /// Sends all that has gathered.
    pub(crate) fn flush(&mut self, target: &mut Tx<'_>, report: &mut Report) -> Result<(), Error> {
        for outbox in &mut self.queues {
            send(outbox, target, report)?;
        }
        self.bytes = 0;
        Ok(())
    }

    /// The queues that cannot be written to in the best way, and what is worse about it.
    pub(crate) fn drawbacks(&self) -> impl Iterator<Item = (&QueueName, &'static str)> {
        let outboxes = self.queues.iter();
        outboxes.filter_map(|outbox| Some((outbox.queue(), outbox.way().drawback()?)))
    }

    /// Events that went nowhere, by the queues that they name.
    pub(crate) fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Finds out where events of a name go.
    fn find(
        &mut self,
        target: &mut Tx<'_>,
        event: EventId,
        name: Option<&Text>,
    ) -> Result<Destination, Error> {
        let queue = match name.and_then(queue_of) {
            Some(queue) if exists(target, &queue)? => queue,
            named => match &self.config.missing_queue {
                MissingQueue::Skip => {
                    let name = match name {
                        Some(name) => name.to_string_lossy().into_owned(),
                        None => NAMELESS.to_owned(),
                    };
                    self.skipped.push(Skipped { name, events: 0 });
                    return Ok(Destination::Nowhere(self.skipped.len() - 1));
                }
                MissingQueue::Default(queue) if exists(target, queue)? => queue.clone(),
                MissingQueue::Default(queue) => return Err(Error::NoDefaultQueue(queue.clone())),
                MissingQueue::Fail | MissingQueue::Create => {
                    return Err(match named {
                        Some(queue) => Error::NoQueue { queue, event },
                        None => Error::Nameless {
                            event,
                            column: self.config.queue_field.column(),
                            what: name.map_or("null", |_| "not UTF-8"),
                        },
                    });
                }
            },
        };
        if self.own == Some(&queue) {
            return Err(Error::SameQueue { queue, event });
        }
        let known = self.queues.iter().position(|open| *open.queue() == queue);
        Ok(Destination::Queue(match known {
            Some(place) => place,
            None => {
                let way = Way::into(target, &queue)?;
                self.queues.push(Outbox::new(queue, way));
                self.queues.len() - 1
            }
        }))
    }
}

/// The queue of a name; `None` if it is not UTF-8, which a database of encoding SQL_ASCII may hold.
pub(crate) fn queue_of(name: &Text) -> Option<QueueName> {
    let name = std::str::from_utf8(name.as_bytes()).ok()?;
    Some(QueueName::from(name))
}

fn send(outbox: &mut Outbox, target: &mut Tx<'_>, report: &mut Report) -> Result<(), Error> {
    let sent = outbox.send(target)?;
    if sent > 0 {
        report.of(outbox.queue().as_str()).inserted += sent;
        report.progress(report.inserted());
    }
    Ok(())
}

fn exists(target: &mut Tx<'_>, queue: &QueueName) -> Result<bool, Error> {
    let row = target
        .query_typed_one(
            "select exists (select from pgq.queue where queue_name = $1)",
            &[(queue, Type::TEXT)],
        )
        .during("look for a queue")?;
    Ok(row.get(0))
}
