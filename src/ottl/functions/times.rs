//! Functions on times and durations.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::{Frame, Parameter, ParameterKind, Spec, optional, parameter, required, spec};
use crate::ottl::EvalError;
use crate::ottl::time::{parse_duration, timestamp};
use crate::ottl::value::Value;

const TIME: &[Parameter] = &[required("time")];
const DURATION: &[Parameter] = &[required("duration")];

pub(super) const SPECS: &[Spec] = &[
    spec("Now", &[], |frame| {
        Ok(Value::Time(
            i64::try_from(frame.target.clock.now().0).unwrap_or(i64::MAX),
        ))
    }),
    spec(
        "Time",
        &[
            required("time"),
            parameter("format", false, ParameterKind::Format),
            parameter("location", true, ParameterKind::Only("UTC")),
            parameter("locale", true, ParameterKind::Only("en")),
        ],
        parse,
    ),
    spec(
        "FormatTime",
        &[required("time"), parameter("format", false, ParameterKind::Format)],
        format,
    ),
    spec("Unix", &[required("seconds"), optional("nanoseconds")], unix),
    spec("UnixNano", TIME, |frame| Ok(Value::Int(frame.time(0)?))),
    spec("UnixMicro", TIME, |frame| {
        Ok(Value::Int(frame.time(0)?.div_euclid(1_000)))
    }),
    spec("UnixMilli", TIME, |frame| {
        Ok(Value::Int(frame.time(0)?.div_euclid(1_000_000)))
    }),
    spec("UnixSeconds", TIME, |frame| {
        Ok(Value::Int(frame.time(0)?.div_euclid(1_000_000_000)))
    }),
    spec("Year", TIME, |frame| Ok(Value::Int(civil(frame)?.year().into()))),
    spec("Month", TIME, |frame| Ok(Value::Int(civil(frame)?.month().into()))),
    spec("Day", TIME, |frame| Ok(Value::Int(civil(frame)?.day().into()))),
    spec("Hour", TIME, |frame| Ok(Value::Int(civil(frame)?.hour().into()))),
    spec("Minute", TIME, |frame| Ok(Value::Int(civil(frame)?.minute().into()))),
    spec("Second", TIME, |frame| Ok(Value::Int(civil(frame)?.second().into()))),
    spec("Nanosecond", TIME, |frame| {
        Ok(Value::Int(civil(frame)?.subsec_nanosecond().into()))
    }),
    spec("Weekday", TIME, |frame| {
        Ok(Value::Int(weekday(civil(frame)?.weekday())))
    }),
    spec("Duration", &[required("duration")], |frame| {
        let nanos = parse_duration(&frame.text(0)?);
        nanos
            .map(Value::Duration)
            .ok_or_else(|| frame.failed("no duration, e.g. \"1h30m\" or \"200ms\""))
    }),
    spec("Hours", DURATION, |frame| {
        Ok(Value::Double(frame.duration(0)? as f64 / 3.6e12))
    }),
    spec("Minutes", DURATION, |frame| {
        Ok(Value::Double(frame.duration(0)? as f64 / 6e10))
    }),
    spec("Seconds", DURATION, |frame| {
        Ok(Value::Double(frame.duration(0)? as f64 / 1e9))
    }),
    spec("Milliseconds", DURATION, |frame| {
        Ok(Value::Int(frame.duration(0)? / 1_000_000))
    }),
    spec("Microseconds", DURATION, |frame| {
        Ok(Value::Int(frame.duration(0)? / 1_000))
    }),
    spec("Nanoseconds", DURATION, |frame| Ok(Value::Int(frame.duration(0)?))),
];

fn civil(frame: &Frame<'_, '_>) -> Result<DateTime, EvalError> {
    Ok(TimeZone::UTC.to_datetime(timestamp(frame.time(0)?)))
}

/// Sunday is 0.
fn weekday(day: Weekday) -> i64 {
    day.to_sunday_zero_offset().into()
}

/// The language's fractional seconds are `%L`, `%f` and `%s` (3, 6 and 9 digits); jiff writes them with a width.
fn translate(format: &str) -> String {
    let mut out = String::with_capacity(format.len() + 4);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        out.push(c);
        if c != '%' {
            continue;
        }
        match chars.next() {
            Some('L') => out.push_str("3f"),
            Some('f') => out.push_str("6f"),
            Some('s') => out.push_str("9f"),
            Some(directive) => out.push(directive),
            None => {}
        }
    }
    out
}

/// Whether a time can be written in this format.
pub(super) fn check_format(format: &str) -> Result<(), String> {
    let moment = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match strtime::format(translate(format), &moment) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("bad time format: {error}")),
    }
}

fn format<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let moment = timestamp(frame.time(0)?).to_zoned(TimeZone::UTC);
    let text = strtime::format(translate(&frame.text(1)?), &moment);
    text.map(|text| Value::Text(text.into()))
        .map_err(|_| frame.failed("bad time format"))
}

fn parse<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let (text, format) = (frame.text(0)?, frame.text(1)?);
    let broken = strtime::parse(translate(&format), &*text)
        .map_err(|_| frame.failed("the string is not written in this format"))?;
    let moment = broken.to_timestamp().or_else(|_| {
        // Without an offset it is UTC; without a time of day it is midnight; without a date the epoch's.
        let date = broken.to_date().unwrap_or(Date::constant(1970, 1, 1));
        let time = broken.to_time().unwrap_or_default();
        TimeZone::UTC.to_timestamp(date.to_datetime(time))
    });
    let moment = moment.map_err(|_| frame.failed("the time lies outside the calendar"))?;
    let nanos = i64::try_from(moment.as_nanosecond()).map_err(|_| frame.failed("the time does not fit"))?;
    Ok(Value::Time(nanos))
}

fn unix<'v>(frame: &Frame<'v, '_>) -> Result<Value<'v>, EvalError> {
    let nanos = if frame.is_given(1) { frame.int(1)? } else { 0 };
    let seconds = frame.int(0)?.checked_mul(1_000_000_000);
    let sum = seconds.and_then(|seconds| seconds.checked_add(nanos));
    sum.map(Value::Time)
        .ok_or_else(|| frame.failed("the time does not fit"))
}
