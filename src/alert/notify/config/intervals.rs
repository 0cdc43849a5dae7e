//! `time_intervals`: named times of the week, the month and the year in a time zone, as Alertmanager writes them. A route
//! is mute in some of them, or active only in some. Zones come from data inside the binary.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::config::Section;

/// One entry of a list of intervals: all fields that are given must hold.
#[derive(Clone, Debug)]
pub struct TimeInterval {
    /// Minutes of the day, the end excluded.
    times: Vec<(u32, u32)>,
    /// 0 is Sunday; both ends included.
    weekdays: Vec<(i32, i32)>,
    /// Below zero: from the end of the month.
    days_of_month: Vec<(i32, i32)>,
    months: Vec<(i32, i32)>,
    years: Vec<(i32, i32)>,
    zone: TimeZone,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Keys {
    weekdays: Vec<String>,
    days_of_month: Vec<String>,
    months: Vec<String>,
    years: Vec<String>,
    location: String,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct TimeKeys {
    start_time: String,
    end_time: String,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct NamedKeys {
    name: String,
}

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Reads `time_intervals` (and `mute_time_intervals`, Alertmanager's older name for it).
pub fn read(section: &Section) -> BTreeMap<String, Vec<TimeInterval>> {
    let mut named = BTreeMap::new();
    for key in ["time_intervals", "mute_time_intervals"] {
        let Some(list) = section.take(key) else { continue };
        for entry in list.elements() {
            if !entry.require_map() {
                continue;
            }
            let name = entry.read::<NamedKeys>().unwrap_or_default().name;
            let intervals = entry.take("time_intervals");
            let read = intervals.iter().flat_map(Section::elements).map(|one| read_one(&one));
            let read: Vec<TimeInterval> = read.collect();
            if name.is_empty() {
                entry.error("a time interval needs a `name`");
            } else if named.insert(name.clone(), read).is_some() {
                entry.error_at("name", format!("two time intervals are called {name:?}"));
            }
        }
    }
    named
}

fn read_one(section: &Section) -> TimeInterval {
    section.require_map();
    let keys: Keys = section.read().unwrap_or_default();
    let times = section.take("times");
    let times = times
        .iter()
        .flat_map(Section::elements)
        .filter_map(|one| read_times(&one));
    let ranges = |key: &str, texts: &[String], read: &dyn Fn(&str) -> Option<i32>, what: &str| {
        let mut ranges = Vec::new();
        for (position, text) in texts.iter().enumerate() {
            match range(text, read) {
                Ok(range) => ranges.push(range),
                Err(reason) => section.error_at(&format!("{key}::{position}"), format!("{reason}; {what}")),
            }
        }
        ranges
    };
    TimeInterval {
        times: times.collect(),
        weekdays: ranges("weekdays", &keys.weekdays, &weekday, "write e.g. monday:friday"),
        days_of_month: ranges("days_of_month", &keys.days_of_month, &day, "write e.g. 1:7 or -3:-1"),
        months: ranges("months", &keys.months, &month, "write e.g. january:march or 1:3"),
        years: ranges("years", &keys.years, &year, "write e.g. 2026:2028"),
        zone: zone(section, &keys.location),
    }
}

fn read_times(section: &Section) -> Option<(u32, u32)> {
    section.require_map();
    let keys: TimeKeys = section.read()?;
    let minute = |key: &str, text: &str| {
        let minute = minute_of_day(text);
        if minute.is_none() {
            section.error_at(
                key,
                format!("{text:?} is no time of the day; write e.g. 09:00 or 24:00"),
            );
        }
        minute
    };
    let start = minute("start_time", &keys.start_time)?;
    let end = minute("end_time", &keys.end_time)?;
    if start >= end {
        section.error("the start must be before the end; over midnight write two of them");
        return None;
    }
    Some((start, end))
}

fn minute_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !two_digits(hours) || !two_digits(minutes) {
        return None;
    }
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let is_good = (hours < 24 && minutes < 60) || (hours == 24 && minutes == 0);
    is_good.then_some(hours * 60 + minutes)
}

/// `a` or `a:b`, both included.
fn range(text: &str, read: &dyn Fn(&str) -> Option<i32>) -> Result<(i32, i32), String> {
    let text = text.trim().to_ascii_lowercase();
    let (first, last) = text.split_once(':').unwrap_or((&text, &text));
    let one = |part: &str| read(part.trim()).ok_or_else(|| format!("{part:?} is not known here"));
    let (first, last) = (one(first)?, one(last)?);
    if first < 0 && last > 0 {
        return Err("a range from the end of the month must end there".to_owned());
    }
    // From the start to the end of a month (1:-1) is no order of numbers.
    let same_side = (first < 0) == (last < 0);
    if same_side && first > last {
        return Err("the first must not be behind the last".to_owned());
    }
    Ok((first, last))
}

fn weekday(text: &str) -> Option<i32> {
    let found = WEEKDAYS.iter().position(|name| *name == text)?;
    i32::try_from(found).ok()
}

fn month(text: &str) -> Option<i32> {
    match MONTHS.iter().position(|name| *name == text) {
        Some(found) => i32::try_from(found + 1).ok(),
        None => text.parse().ok().filter(|month| (1..=12).contains(month)),
    }
}

fn day(text: &str) -> Option<i32> {
    text.parse().ok().filter(|day: &i32| *day != 0 && day.abs() <= 31)
}

fn year(text: &str) -> Option<i32> {
    text.parse().ok().filter(|year| *year >= 0)
}

fn zone(section: &Section, name: &str) -> TimeZone {
    match name {
        "" | "UTC" => TimeZone::UTC,
        "Local" => TimeZone::try_system().unwrap_or(TimeZone::UTC),
        other => TimeZone::get(other).unwrap_or_else(|_| {
            section.error_at(
                "location",
                format!("there is no time zone {other:?}; write e.g. Europe/Berlin"),
            );
            TimeZone::UTC
        }),
    }
}

impl TimeInterval {
    /// Whether a time (nanoseconds since the epoch) lies in it.
    pub fn contains(&self, now: u64) -> bool {
        let time = Timestamp::from_nanosecond(i128::from(now)).unwrap_or(Timestamp::MAX);
        let local = time.to_zoned(self.zone.clone());
        let minute = local.hour() as u32 * 60 + local.minute() as u32;
        let within = |ranges: &[(i32, i32)], value: i32| {
            ranges.is_empty() || ranges.iter().any(|(first, last)| (*first..=*last).contains(&value))
        };
        let in_times = self.times.is_empty() || self.times.iter().any(|(start, end)| (*start..*end).contains(&minute));
        in_times
            && within(&self.weekdays, i32::from(local.weekday().to_sunday_zero_offset()))
            && within(&self.months, i32::from(local.month()))
            && within(&self.years, i32::from(local.year()))
            && self.on_day(i32::from(local.day()), i32::from(local.days_in_month()))
    }

    fn on_day(&self, day: i32, days: i32) -> bool {
        let of_month = |given: i32| if given < 0 { days + given + 1 } else { given };
        self.days_of_month.is_empty()
            || self
                .days_of_month
                .iter()
                .any(|(first, last)| (of_month(*first)..=of_month(*last)).contains(&day))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intervals(text: &str) -> (Vec<TimeInterval>, Vec<String>) {
        let section = Section::from_yaml(&format!("time_intervals: [{{name: x, time_intervals: [{text}]}}]"));
        let read = read(&section).remove("x").unwrap_or_default();
        (read, section.problems())
    }

    fn contains(text: &str, time: &str) -> bool {
        let (intervals, problems) = intervals(text);
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        let time: Timestamp = time.parse().unwrap();
        intervals[0].contains(u64::try_from(time.as_nanosecond()).unwrap())
    }

    #[test]
    fn times_are_those_of_the_zone_also_when_its_clock_changes() {
        let night = "{times: [{start_time: '22:00', end_time: '24:00'}], location: Europe/Berlin}";
        // Winter: 22:00 in Berlin is 21:00 UTC; summer: 20:00 UTC.
        assert!(contains(night, "2026-01-15T21:00:00Z"));
        assert!(!contains(night, "2026-01-15T20:59:59Z"));
        assert!(contains(night, "2026-07-15T20:00:00Z"));
        assert!(!contains(night, "2026-07-15T22:00:00Z"));
    }

    #[test]
    fn weekdays_months_years_and_days_all_have_to_hold() {
        // 2026-11-20 is a Friday.
        assert!(contains("{weekdays: ['monday:friday']}", "2026-11-20T12:00:00Z"));
        assert!(!contains(
            "{weekdays: ['monday:thursday', saturday]}",
            "2026-11-20T12:00:00Z"
        ));
        assert!(contains(
            "{months: ['november:12'], years: ['2026']}",
            "2026-11-20T12:00:00Z"
        ));
        assert!(!contains("{months: ['1:3']}", "2026-11-20T12:00:00Z"));
        assert!(contains("{days_of_month: ['-1']}", "2026-02-28T12:00:00Z"));
        assert!(!contains("{days_of_month: ['-1']}", "2028-02-28T12:00:00Z"));
        assert!(contains("{days_of_month: ['1:-1']}", "2028-02-29T12:00:00Z"));
    }

    #[test]
    fn what_is_no_interval_is_refused_where_it_stands() {
        for (text, part) in [
            (
                "{times: [{start_time: '9:00', end_time: '10:00'}]}",
                "no time of the day",
            ),
            ("{times: [{start_time: '10:00', end_time: '09:00'}]}", "before the end"),
            ("{weekdays: ['friday:monday']}", "behind the last"),
            ("{weekdays: [someday]}", "not known"),
            ("{days_of_month: ['0']}", "not known"),
            ("{days_of_month: ['-1:5']}", "must end there"),
            ("{months: ['13']}", "not known"),
            ("{location: Mars/Base}", "no time zone"),
            ("{weekday: [monday]}", "did you mean \"weekdays\""),
        ] {
            let (_, problems) = intervals(text);
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{text}: {problems:?}"
            );
        }
    }
}
