//! The one pass of the door: framing down to the item, ids, counts.

use super::{DoorError, Rejected, malformed};
use crate::pdata::Signal;
use crate::wire::{Fields, WireError, count_in_metric};

/// What the door thinks of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    WrongLength,
    Zero,
    Malformed,
}

/// The state of the pass.
pub(super) struct Frame {
    signal: Signal,
    max_elements: usize,
    elements: usize,
    /// Good ones only.
    pub(super) items: usize,
    pub(super) rejected: Rejected,
    /// Whether the request has top-level fields besides its groups.
    pub(super) foreign: bool,
}

impl Frame {
    pub(super) fn new(signal: Signal, max_elements: usize) -> Self {
        Self {
            signal,
            max_elements,
            elements: 0,
            items: 0,
            rejected: Rejected::default(),
            foreign: false,
        }
    }

    pub(super) fn walk(&mut self, request: &[u8]) -> Result<(), DoorError> {
        let signal = self.signal;
        let in_request = |error| malformed(signal, "the request", error);
        let mut fields = Fields::new(request);
        while let Some(field) = fields.next_field().map_err(in_request)? {
            if field.number != 1 {
                self.foreign = true;
                continue;
            }
            self.group(field.len().map_err(in_request)?)?;
        }
        Ok(())
    }

    fn group(&mut self, group: &[u8]) -> Result<(), DoorError> {
        let signal = self.signal;
        let in_group = |error| malformed(signal, "a resource group", error);
        self.count_elements(1)?;
        let mut fields = Fields::new(group);
        while let Some(field) = fields.next_field().map_err(in_group)? {
            match field.number {
                2 => self.scope(field.len().map_err(in_group)?)?,
                // Resource and schema URL.
                1 | 3 => {
                    field.len().map_err(in_group)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn scope(&mut self, scope: &[u8]) -> Result<(), DoorError> {
        let signal = self.signal;
        let in_scope = |error| malformed(signal, "a scope group", error);
        self.count_elements(1)?;
        let mut fields = Fields::new(scope);
        while let Some(field) = fields.next_field().map_err(in_scope)? {
            match field.number {
                2 => self.record(field.len().map_err(in_scope)?)?,
                1 | 3 => {
                    field.len().map_err(in_scope)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn record(&mut self, record: &[u8]) -> Result<(), DoorError> {
        if self.signal == Signal::Metrics {
            let points = count_in_metric(record).map_err(|error| malformed(self.signal, "a metric", error))?;
            self.items += points;
            return self.count_elements(1 + points);
        }
        self.count_elements(1)?;
        match judge(self.signal, record) {
            Verdict::Good => self.items += 1,
            Verdict::WrongLength => self.rejected.wrong_length_ids += 1,
            Verdict::Zero => self.rejected.zero_ids += 1,
            Verdict::Malformed => self.rejected.malformed += 1,
        }
        Ok(())
    }

    #[inline(always)]
    fn count_elements(&mut self, more: usize) -> Result<(), DoorError> {
        self.elements += more;
        if self.elements > self.max_elements {
            return Err(DoorError::TooManyElements {
                limit: self.max_elements,
            });
        }
        Ok(())
    }
}

/// Judges a record by its ids; metrics have none.
#[inline(always)]
pub(super) fn judge(signal: Signal, record: &[u8]) -> Verdict {
    match signal {
        Signal::Traces => judge_span(record),
        Signal::Logs => judge_log(record).unwrap_or(Verdict::Malformed),
        Signal::Metrics => Verdict::Good,
    }
}

/// Every encoder writes the ids first. A span that begins so and has another id behind them is judged by the first:
/// looking for a second would mean to walk all fields of every span.
#[inline(always)]
fn judge_span(span: &[u8]) -> Verdict {
    if let Some((head, _)) = span.split_first_chunk::<28>()
        && head[0] == 0x0a
        && head[1] == 16
        && head[18] == 0x12
        && head[19] == 8
    {
        return if is_zero(&head[2..18]) || is_zero(&head[20..28]) {
            Verdict::Zero
        } else {
            Verdict::Good
        };
    }
    judge_unusual_span(span).unwrap_or(Verdict::Malformed)
}

#[cold]
fn judge_unusual_span(span: &[u8]) -> Result<Verdict, WireError> {
    let (trace_id, span_id) = last_ids(span, 1, 2)?;
    Ok(if trace_id.len() != 16 || span_id.len() != 8 {
        Verdict::WrongLength
    } else if is_zero(trace_id) || is_zero(span_id) {
        Verdict::Zero
    } else {
        Verdict::Good
    })
}

/// A log record may have no ids; ids of zeroes mean the same.
fn judge_log(record: &[u8]) -> Result<Verdict, WireError> {
    let (trace_id, span_id) = last_ids(record, 9, 10)?;
    Ok(if matches!(trace_id.len(), 0 | 16) && matches!(span_id.len(), 0 | 8) {
        Verdict::Good
    } else {
        Verdict::WrongLength
    })
}

#[inline(always)]
fn last_ids(record: &[u8], trace: u32, span: u32) -> Result<(&[u8], &[u8]), WireError> {
    let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::new(record);
    while let Some(field) = fields.next_field()? {
        if field.number == trace {
            trace_id = field.len()?;
        } else if field.number == span {
            span_id = field.len()?;
        }
    }
    Ok((trace_id, span_id))
}

#[inline(always)]
fn is_zero(id: &[u8]) -> bool {
    id.iter().fold(0, |bits, byte| bits | byte) == 0
}
