//! The walk over one batch: asks the rules at each level and says what goes. Works on the wire bytes.

use super::config::Rules;
use super::rules::{Levels, Trouble};
use crate::component::Clock;
use crate::ottl::{Item, Target};
use crate::pdata::{Edit, Origin, Place, Rewriter, Signal, Visit};
use crate::wire::{
    LogRecord, Metric, MetricKind, Point, Records, ResourceGroup, Span, SpanEvent, Splicer, View, WireError,
};

/// Field `events` of `Span`.
const EVENTS: u32 = 11;

pub struct Walk<'f> {
    pub rules: &'f Rules,
    pub signal: Signal,
    pub origin: &'f Origin,
    pub clock: &'f dyn Clock,
    pub trouble: Trouble<'f>,
}

fn drop_if(dropped: bool, otherwise: Visit) -> Visit {
    if dropped { Visit::Drop } else { otherwise }
}

impl<'f> Walk<'f> {
    fn target<'a>(&self, place: Place<'a>, item: Item<'a>) -> Target<'a>
    where
        'f: 'a,
    {
        Target {
            resource: place.resource,
            scope: Some(place.scope),
            item,
            origin: self.origin,
            clock: self.clock,
        }
    }

    fn judge_item(&mut self, levels: &'f Levels, place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let raw = edit.original();
        let item = match self.signal {
            Signal::Traces => Item::Span(Span::of(raw)),
            Signal::Metrics => Item::Metric(Metric::of(raw)),
            Signal::Logs => Item::Log(LogRecord::of(raw)),
        };
        let target = self.target(place, item);
        if self.trouble.any(&levels.item, &target)? {
            return Ok(Visit::Drop);
        }
        if levels.inner.is_empty() {
            return Ok(Visit::Keep);
        }
        if self.signal == Signal::Traces {
            self.drop_events(levels, place, edit)?;
        }
        Ok(Visit::Inside)
    }

    /// Takes events out of a span. The span stays when all have gone.
    fn drop_events(&mut self, levels: &'f Levels, place: Place<'_>, edit: &mut Edit<'_>) -> Result<(), WireError> {
        let raw = edit.original();
        let span = Span::of(raw);
        let mut splicer = Splicer::new(raw);
        let mut records = Records::new(raw, 0..raw.len());
        let mut index = 0;
        while let Some((field, record)) = records.next_record()? {
            if field.number != EVENTS {
                continue;
            }
            let event = SpanEvent::of(field.len()?);
            let target = self.target(place, Item::SpanEvent { span, event, index });
            if self.trouble.any(&levels.inner, &target)? {
                splicer.replace(record.start..record.payload.end, &[]);
            }
            index += 1;
        }
        if let Some(bytes) = splicer.finish() {
            edit.replace(&bytes);
        }
        Ok(())
    }
}

impl Rewriter for Walk<'_> {
    fn resource(&mut self, group: ResourceGroup<'_>, _edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        match self.rules {
            Rules::Conditions(levels) => {
                let target = Target {
                    resource: group,
                    scope: None,
                    item: Item::None,
                    origin: self.origin,
                    clock: self.clock,
                };
                let stays = if levels.looks_inside() {
                    Visit::Inside
                } else {
                    Visit::Keep
                };
                Ok(drop_if(self.trouble.any(&levels.resource, &target)?, stays))
            }
            Rules::Selected(_) => Ok(Visit::Inside),
            Rules::Metrics { include, exclude } => {
                let resource = group.resource()?;
                let left_out = match include {
                    Some(include) => include.match_resource(resource)? == Some(false),
                    None => false,
                };
                let excluded = match exclude {
                    Some(exclude) => exclude.match_resource(resource)? == Some(true),
                    None => false,
                };
                Ok(drop_if(left_out || excluded, Visit::Inside))
            }
        }
    }

    fn scope(&mut self, place: Place<'_>, _edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        let Rules::Conditions(levels) = self.rules else {
            return Ok(Visit::Inside);
        };
        let inside = !levels.item.is_empty() || !levels.inner.is_empty();
        let stays = if inside { Visit::Inside } else { Visit::Keep };
        if levels.scope.is_empty() {
            return Ok(stays);
        }
        let target = self.target(place, Item::None);
        Ok(drop_if(self.trouble.any(&levels.scope, &target)?, stays))
    }

    fn item(&mut self, place: Place<'_>, edit: &mut Edit<'_>) -> Result<Visit, WireError> {
        match self.rules {
            Rules::Conditions(levels) => self.judge_item(levels, place, edit),
            Rules::Selected(selector) => {
                let selected = match self.signal {
                    Signal::Traces => selector.selects_span(place, Span::of(edit.original()))?,
                    Signal::Metrics => selector.selects_metric(place, Metric::of(edit.original()))?,
                    Signal::Logs => selector.selects_log(place, LogRecord::of(edit.original()))?,
                };
                Ok(drop_if(!selected, Visit::Keep))
            }
            Rules::Metrics { include, exclude } => {
                let metric = Metric::of(edit.original());
                let left_out = match include {
                    Some(include) => include.match_name(metric)? == Some(false),
                    None => false,
                };
                let excluded = match exclude {
                    Some(exclude) => exclude.match_name(metric)? == Some(true),
                    None => false,
                };
                Ok(drop_if(left_out || excluded, Visit::Keep))
            }
        }
    }

    fn point(
        &mut self,
        place: Place<'_>,
        metric: Metric<'_>,
        kind: MetricKind,
        edit: &mut Edit<'_>,
    ) -> Result<Visit, WireError> {
        let Rules::Conditions(levels) = self.rules else {
            return Ok(Visit::Keep);
        };
        let point = Point::of_kind(kind, edit.original());
        let target = self.target(place, Item::DataPoint { metric, point });
        Ok(drop_if(self.trouble.any(&levels.inner, &target)?, Visit::Keep))
    }
}
