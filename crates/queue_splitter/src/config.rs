use std::str::FromStr;

use pgq::QueueName;
use pgq::batch::Event;
use pgq::producer::Field;
use serde::Deserialize;
use skytools::db::Text;

/// Keys of the section `[queue_splitter]`, beside those of every mover.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Field of an event that names its queue: `type`, `data`, `extra1` to `extra4`, with or without
    /// `ev_`.
    #[serde(default)]
    pub(crate) queue_field: Route,
    /// What becomes of events for a queue that does not exist: `fail`, `skip`, `create` or
    /// `default:QUEUE`.
    #[serde(default)]
    pub(crate) missing_queue: MissingQueue,
}

/// The field that names the queue of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Route(Field);

/// What becomes of events for a queue that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum MissingQueue {
    /// The batch waits.
    #[default]
    Fail,
    /// They are left out, counted and logged.
    Skip,
    /// The queue is created.
    Create,
    /// They go to this queue.
    Default(QueueName),
}

impl Default for Route {
    fn default() -> Route {
        Route(Field::Extra1)
    }
}

impl Route {
    /// Name of the column.
    pub(crate) fn column(self) -> &'static str {
        self.0.column()
    }

    /// What the field of an event says.
    pub(crate) fn of(self, event: &Event) -> Option<&Text> {
        let field = match self.0 {
            Field::Kind => &event.kind,
            Field::Data => &event.data,
            Field::Extra2 => &event.extra[1],
            Field::Extra3 => &event.extra[2],
            Field::Extra4 => &event.extra[3],
            // The others are no routes.
            Field::Extra1 | Field::Id | Field::Time => &event.extra[0],
        };
        field.as_ref()
    }
}

impl TryFrom<String> for Route {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Route, &'static str> {
        match Field::from_str(&text) {
            Ok(Field::Id | Field::Time) | Err(_) => {
                Err("queue_field is none of type, data, extra1, extra2, extra3, extra4")
            }
            Ok(field) => Ok(Route(field)),
        }
    }
}

impl TryFrom<String> for MissingQueue {
    type Error = &'static str;

    fn try_from(text: String) -> Result<MissingQueue, &'static str> {
        match text.split_once(':') {
            Some(("default", queue)) if !queue.trim().is_empty() => {
                Ok(MissingQueue::Default(queue.trim().into()))
            }
            None if text == "fail" => Ok(MissingQueue::Fail),
            None if text == "skip" => Ok(MissingQueue::Skip),
            None if text == "create" => Ok(MissingQueue::Create),
            _ => Err("missing_queue is none of fail, skip, create, default:QUEUE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_hold_text_are_routes() {
        for name in ["type", "ev_data", "extra1", "ev_extra4"] {
            assert!(Route::try_from(name.to_owned()).is_ok(), "{name}");
        }
        for name in ["id", "ev_time", "txid", "retry", "", "extra5"] {
            assert!(Route::try_from(name.to_owned()).is_err(), "{name}");
        }
        assert_eq!(Route::default().column(), "ev_extra1");
    }

    #[test]
    fn a_policy_is_a_word_or_names_a_queue() {
        let read = |text: &str| MissingQueue::try_from(text.to_owned());
        assert_eq!(read("skip"), Ok(MissingQueue::Skip));
        assert_eq!(
            read("default: a:b"),
            Ok(MissingQueue::Default("a:b".into()))
        );
        for wrong in ["", "default", "default:", "skip:x", "Create"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
