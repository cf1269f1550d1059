//! What `tracing` tells of spans, gathered until they end.

use std::fmt;

use evidence_format::time::Timestamp;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::otlp::{Attribute, Ids, Span};
use super::{NAMES, Telemetry};
use platform::clock;

/// The layer of a subscriber that sends spans of ours.
#[derive(Debug)]
pub struct Spans(Telemetry);

/// A span that has not ended.
struct Open {
    ids: Ids,
    parent: Option<[u8; 8]>,
    begun: Timestamp,
    seen: Seen,
}

/// What may be sent of fields: the texts of [`NAMES`], and numbers.
#[derive(Default)]
struct Seen(Vec<(&'static str, Attribute)>, bool);

impl Spans {
    pub(super) fn new(telemetry: Telemetry) -> Self {
        Self(telemetry)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if self.0.running().is_none() {
            return;
        }
        let (Some(span), Ok(own)) = (context.span(id), platform::random::<8>()) else {
            return;
        };
        let around = span
            .parent()
            .and_then(|parent| parent.extensions().get::<Open>().map(|open| open.ids));
        let trace = match around {
            Some(around) => around.trace,
            None => match platform::random::<16>() {
                Ok(drawn) => drawn,
                Err(_) => return, // without randomness there are worse problems
            },
        };
        let mut seen = Seen::default();
        attributes.record(&mut seen);
        let open = Open {
            ids: Ids { trace, span: own },
            parent: around.map(|around| around.span),
            begun: clock::now(),
            seen,
        };
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.seen);
        }
    }

    /// Of events, their numbers and that they are errors; never their words.
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else {
            return;
        };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.seen.1 |= *event.metadata().level() == Level::ERROR;
            event.record(&mut Numbers(&mut open.seen));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let (Some(running), Some(span)) = (self.0.running(), context.span(&id)) else {
            return;
        };
        let Some(Open {
            ids,
            parent,
            begun,
            seen: Seen(attributes, failed),
        }) = span.extensions_mut().remove::<Open>()
        else {
            return;
        };
        running.send(Span {
            ids,
            parent,
            name: span.name(),
            begun,
            ended: clock::now(),
            attributes,
            failed,
        });
    }
}

impl Seen {
    fn set(&mut self, field: &Field, value: Attribute) {
        self.0.retain(|(name, _)| *name != field.name());
        self.0.push((field.name(), value));
    }
}

impl Visit for Seen {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Attribute::Number(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(
            field,
            Attribute::Number(i64::try_from(value).unwrap_or(i64::MAX)),
        );
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if NAMES.contains(&field.name()) {
            self.set(field, Attribute::Text(value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if NAMES.contains(&field.name()) {
            self.set(field, Attribute::Text(format!("{value:?}")));
        }
    }
}

/// The numbers of an event.
struct Numbers<'a>(&'a mut Seen);

impl Visit for Numbers<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.record_i64(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.record_u64(field, value);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
