//! The queues of one batch, and events on their way there.

use std::collections::BTreeMap;

use pgq::batch::Event;
use pgq::mover::Report;
use pgq::mover::queue::Way;
use pgq::{EventId, QueueName};
use postgres::types::Type;
use skytools::db::{During, Text, Tx};

use crate::config::MissingQueue;
use crate::{Config, Error};

/// Events of one queue are sent when they have so many bytes.
const QUEUE_BYTES: usize = 256 * 1024;

/// Events of all queues are sent when they have so many bytes.
const ALL_BYTES: usize = 16 * 1024 * 1024;

/// Memory that an event takes beside its text.
const EVENT_BYTES: usize = size_of::<Event>();

/// Stands for the name of a queue that an event does not have.
const NAMELESS: &str = "NULL";

/// Where the events of one batch go.
pub(crate) struct Routes<'a> {
    config: &'a Config,
    own: Option<&'a QueueName>,
    /// What was found out about the names so far.
    names: BTreeMap<Option<Text>, Destination>,
    waiting: BTreeMap<QueueName, Waiting>,
    bytes: usize,
}

#[derive(Clone)]
enum Destination {
    Queue(QueueName),
    /// Nowhere, under the name that is reported.
    Nowhere(QueueName),
}

struct Waiting {
    way: Way,
    events: Vec<Event>,
    bytes: usize,
}

impl<'a> Routes<'a> {
    pub(crate) fn new(config: &'a Config, own: Option<&'a QueueName>) -> Routes<'a> {
        Routes {
            config,
            own,
            names: BTreeMap::new(),
            waiting: BTreeMap::new(),
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
        let destination = match self.names.get(&name.cloned()) {
            Some(known) => known.clone(),
            None => {
                let found = self.find(target, event.id, name)?;
                self.names.insert(name.cloned(), found.clone());
                found
            }
        };
        let queue = match destination {
            Destination::Queue(queue) => queue,
            Destination::Nowhere(name) => {
                report.of(name.as_str()).skipped += 1;
                return Ok(());
            }
        };
        let waiting = self
            .waiting
            .get_mut(&queue)
            .expect("a queue that was found waits for events");
        let bytes = size_of_event(&event);
        waiting.events.push(event);
        waiting.bytes += bytes;
        self.bytes += bytes;
        if waiting.bytes >= QUEUE_BYTES {
            self.bytes -= waiting.bytes;
            waiting.send(target, &queue, report)?;
        } else if self.bytes >= ALL_BYTES {
            self.flush(target, report)?;
        }
        Ok(())
    }

    /// Sends all that has gathered.
    pub(crate) fn flush(&mut self, target: &mut Tx<'_>, report: &mut Report) -> Result<(), Error> {
        for (queue, waiting) in &mut self.waiting {
            waiting.send(target, queue, report)?;
        }
        self.bytes = 0;
        Ok(())
    }

    /// The queues that cannot be written to in the best way, and what is worse about it.
    pub(crate) fn drawbacks(&self) -> impl Iterator<Item = (&QueueName, &'static str)> {
        let waiting = self.waiting.iter();
        waiting.filter_map(|(queue, waiting)| Some((queue, waiting.way.drawback()?)))
    }

    /// Names under which events were skipped.
    pub(crate) fn nowhere(&self) -> impl Iterator<Item = &QueueName> {
        self.names.values().filter_map(|found| match found {
            Destination::Nowhere(name) => Some(name),
            Destination::Queue(_) => None,
        })
    }

    /// Finds out where events of a name go.
    fn find(
        &mut self,
        target: &mut Tx<'_>,
        event: EventId,
        name: Option<&Text>,
    ) -> Result<Destination, Error> {
        let shown = || match name {
            Some(name) => QueueName::from(name.to_string_lossy().into_owned()),
            None => QueueName::from(NAMELESS),
        };
        let queue = match name {
            Some(name) if exists(target, name)? => shown(),
            _ => match &self.config.missing_queue {
                MissingQueue::Skip => return Ok(Destination::Nowhere(shown())),
                MissingQueue::Default(queue) if exists(target, &queue.as_str().into())? => {
                    queue.clone()
                }
                MissingQueue::Default(queue) => return Err(Error::NoDefaultQueue(queue.clone())),
                MissingQueue::Fail | MissingQueue::Create => {
                    let queue = shown();
                    return Err(match name {
                        Some(_) => Error::NoQueue { queue, event },
                        None => Error::Nameless {
                            event,
                            column: self.config.queue_field.column(),
                        },
                    });
                }
            },
        };
        if self.own == Some(&queue) {
            return Err(Error::SameQueue { queue, event });
        }
        if !self.waiting.contains_key(&queue) {
            let waiting = Waiting {
                way: Way::into(target, &queue)?,
                events: Vec::new(),
                bytes: 0,
            };
            self.waiting.insert(queue.clone(), waiting);
        }
        Ok(Destination::Queue(queue))
    }
}

impl Waiting {
    fn send(
        &mut self,
        target: &mut Tx<'_>,
        queue: &QueueName,
        report: &mut Report,
    ) -> Result<(), Error> {
        if !self.events.is_empty() {
            report.of(queue.as_str()).inserted += self.way.insert(target, queue, &self.events)?;
            self.events.clear();
            self.bytes = 0;
            report.progress(report.inserted());
        }
        Ok(())
    }
}

fn exists(target: &mut Tx<'_>, queue: &Text) -> Result<bool, Error> {
    let row = target
        .query_typed_one(
            "select exists (select from pgq.queue where queue_name = $1)",
            &[(queue, Type::TEXT)],
        )
        .during("look for a queue")?;
    Ok(row.get(0))
}

fn size_of_event(event: &Event) -> usize {
    let fields = [&event.kind, &event.data].into_iter().chain(&event.extra);
    let text = fields.flatten().map(|text| text.as_bytes().len());
    EVENT_BYTES + text.sum::<usize>()
}
