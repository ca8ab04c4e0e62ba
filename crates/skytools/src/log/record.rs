//! From a tracing event to one line of text.

use std::fmt::{Debug, Write};

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The layer that writes records.
pub(crate) struct Records;

/// Fields of a span, ready to be appended.
struct SpanFields(Fields);

impl<S> Layer<S> for Records
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let mut line = fields.message;
        line.push_str(&fields.pairs);
        if !fields.pairs.is_empty() || level > Level::INFO {
            for span in context.event_scope(event).into_iter().flatten() {
                if let Some(SpanFields(fields)) = span.extensions().get() {
                    line.push_str(&fields.pairs);
                }
            }
        }
        super::write(level, &line);
    }
}

/// The message of a record and its other fields as ` key=value`.
#[derive(Default)]
struct Fields {
    message: String,
    pairs: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
            return;
        }
        let plain = !value.is_empty()
            && !value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"');
        // Writing to a string cannot fail.
        let _ = match plain {
            true => write!(self.pairs, " {}={value}", field.name()),
            false => write!(self.pairs, " {}={value:?}", field.name()),
        };
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, &crate::app::chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// `2012-03-13 10:15:02,037 4711 INFO message`.
pub(crate) fn layout(now: &Zoned, pid: u32, level: Level, message: &str) -> String {
    let time = now.strftime("%Y-%m-%d %H:%M:%S");
    let millisecond = now.millisecond();
    let level = level_name(level);
    format!("{time},{millisecond:03} {pid} {level} {message}\n")
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

#[cfg(test)]
mod tests {
    use jiff::Zoned;
    use tracing::Level;

    use super::layout;

    #[test]
    fn a_record_has_the_layout_of_skytools() {
        let now: Zoned = "2012-03-13T10:15:02.037912+02:00[Europe/Tallinn]"
            .parse()
            .expect("a valid time");
        assert_eq!(
            layout(&now, 4711, Level::INFO, "{count: 3, duration: 0.0123}"),
            "2012-03-13 10:15:02,037 4711 INFO {count: 3, duration: 0.0123}\n"
        );
        assert_eq!(
            layout(
                &now,
                1,
                Level::WARN,
                "Deleted 0 rows, expected 1\n second line"
            ),
            "2012-03-13 10:15:02,037 1 WARNING Deleted 0 rows, expected 1\n second line\n"
        );
    }
}
