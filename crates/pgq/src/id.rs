//! Names and numbers of PgQ as types of their own, so that two cannot be swapped.

use postgres_types::{FromSql, ToSql};
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromSql, ToSql, Serialize,
            Deserialize,
        )]
        #[postgres(transparent)]
        pub struct $name(i64);

        impl $name {
            /// The number as the server stores it.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> $name {
                $name(number)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, FromSql, ToSql, Serialize,
            Deserialize,
        )]
        #[postgres(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<String>> From<T> for $name {
            fn from(name: T) -> $name {
                $name(name.into())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Position of a tick in its queue: `pgq.tick.tick_id`.
    ///
    /// Only grows within a queue; ids of different queues do not compare.
    TickId
}
number! {
    /// Handle of a consumer's open batch; unique in the database.
    BatchId
}
number! {
    /// Number of an event, unique in its queue; a retried event keeps its own.
    EventId
}
name! {
    /// Name of a queue, any text.
    QueueName
}
name! {
    /// Name of a consumer, any text.
    ConsumerName
}
name! {
    /// Name of a member of a cooperative consumer, without that of the consumer; without dots.
    SubconsumerName
}
