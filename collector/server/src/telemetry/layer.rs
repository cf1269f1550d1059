//! A `tracing` layer that collects the fields of each span until it ends, then exports it.

use std::fmt;

use evidence_format::time::Timestamp;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::otlp::{AttributeValue, FinishedSpan, SpanIds};
use super::{TEXT_FIELDS, Telemetry};
use platform::clock;

/// The layer of a `tracing` subscriber that exports spans.
#[derive(Debug)]
pub struct SpanLayer(Telemetry);

/// A span that has not ended, stored in the extensions of its `tracing` span.
struct OpenSpan {
    ids: SpanIds,
    parent: Option<[u8; 8]>,
    started_at: Timestamp,
    fields: SpanFields,
}

/// The fields that may be exported: numbers, and the texts of [`TEXT_FIELDS`].
#[derive(Default)]
struct SpanFields {
    values: Vec<(&'static str, AttributeValue)>,
    /// True if an error was logged inside the span.
    has_error: bool,
}

impl SpanLayer {
    pub(super) fn new(telemetry: Telemetry) -> Self {
        Self(telemetry)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if self.0.exporter().is_none() {
            return;
        }
        let (Some(span), Ok(own_id)) = (context.span(id), platform::random::<8>()) else {
            return;
        };
        let parent = span
            .parent()
            .and_then(|parent| parent.extensions().get::<OpenSpan>().map(|open| open.ids));
        let trace = match parent {
            Some(parent) => parent.trace,
            None => match platform::random::<16>() {
                Ok(trace) => trace,
                Err(_) => return, // requests fail and log it themselves
            },
        };
        let mut fields = SpanFields::default();
        attributes.record(&mut fields);
        let open = OpenSpan {
            ids: SpanIds {
                trace,
                span: own_id,
            },
            parent: parent.map(|parent| parent.span),
            started_at: clock::now(),
            fields,
        };
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<OpenSpan>() {
            values.record(&mut open.fields);
        }
    }

    /// Adds an event's numbers to its span. Its texts may quote evidence, so they are dropped.
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else {
            return;
        };
        if let Some(open) = span.extensions_mut().get_mut::<OpenSpan>() {
            open.fields.has_error |= *event.metadata().level() == Level::ERROR;
            event.record(&mut EventNumbers(&mut open.fields));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let (Some(exporter), Some(span)) = (self.0.exporter(), context.span(&id)) else {
            return;
        };
        // A span that began before the export has no entry.
        let Some(open) = span.extensions_mut().remove::<OpenSpan>() else {
            return;
        };
        exporter.send(FinishedSpan {
            ids: open.ids,
            parent: open.parent,
            name: span.name(),
            started_at: open.started_at,
            ended_at: clock::now(),
            attributes: open.fields.values,
            has_error: open.fields.has_error,
        });
    }
}

impl SpanFields {
    fn set(&mut self, field: &Field, value: AttributeValue) {
        self.values.retain(|(name, _)| *name != field.name());
        self.values.push((field.name(), value));
    }
}

impl Visit for SpanFields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, AttributeValue::Number(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(
            field,
            AttributeValue::Number(i64::try_from(value).unwrap_or(i64::MAX)),
        );
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if TEXT_FIELDS.contains(&field.name()) {
            self.set(field, AttributeValue::Text(value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if TEXT_FIELDS.contains(&field.name()) {
            self.set(field, AttributeValue::Text(format!("{value:?}")));
        }
    }
}

/// Visits an event and keeps only its numbers.
struct EventNumbers<'a>(&'a mut SpanFields);

impl Visit for EventNumbers<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.record_i64(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.record_u64(field, value);
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
