//! What is known of each table, and its lines.

use std::collections::BTreeMap;

use super::endpoints::Endpoints;
use crate::component::console::{ALARM, BOLD, PLAIN};
use crate::wire::{Point, Value, WireError, resources};

/// Tables that are shown; more are left out.
const MAX_TABLES: usize = 100;

const PREFIX: &str = "amazonaws.com/AWS/DynamoDB/";

/// A value and the time it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Dated {
    time: u64,
    pub value: f64,
}

impl Dated {
    pub fn put(&mut self, time: u64, value: f64) {
        if time >= self.time {
            *self = Dated { time, value };
        }
    }
}

/// One direction of a table.
#[derive(Clone, Debug, Default)]
struct Flow {
    /// Percent of the capacity.
    used: Option<Dated>,
    /// The capacity is set for this table, by provisioning or by a maximum.
    own_ceiling: bool,
    /// Units per second.
    consumed: Option<Dated>,
    /// Units per second.
    provisioned: Option<Dated>,
    /// Since the last lines.
    throttles: f64,
}

#[derive(Clone, Debug, Default)]
struct Table {
    read: Flow,
    write: Flow,
    /// p99 by operation, milliseconds.
    p99: BTreeMap<String, Dated>,
}

/// All tables.
#[derive(Debug, Default)]
pub struct Board {
    endpoints: Endpoints,
    tables: BTreeMap<String, Table>,
    newest: u64,
    changed: bool,
    lines_since_header: usize,
}

impl Board {
    /// Whether there is something new to show.
    pub fn changed(&self) -> bool {
        self.changed || self.endpoints.changed
    }

    /// Takes the points of one part of a batch.
    ///
    /// # Errors
    /// Where the bytes are malformed; what stood before counts.
    pub fn read(&mut self, part: &[u8]) -> Result<(), WireError> {
        for group in resources(part) {
            let group = group?;
            for scope in group.scopes() {
                for metric in scope?.metrics() {
                    let metric = metric?;
                    let name = metric.name()?.lossy();
                    let Some(data) = metric.data()? else { continue };
                    for point in data.points() {
                        let point = point?;
                        self.point(&name, &point)?;
                        self.endpoints.point(&name, &point)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn point(&mut self, metric: &str, point: &Point<'_>) -> Result<(), WireError> {
        let Point::Number(number) = point else { return Ok(()) };
        let Some(value) = number.value()? else { return Ok(()) };
        let Some(name) = text(point.attribute("TableName")?) else {
            return Ok(());
        };
        let on_index = point.attribute("GlobalSecondaryIndexName")?.is_some();
        if !self.tables.contains_key(&name) && self.tables.len() >= MAX_TABLES {
            return Ok(());
        }
        let (time, value) = (point.time_unix_nano()?, value.as_f64());
        let seconds = time.saturating_sub(point.start_time_unix_nano()?).max(1) as f64 / 1e9;
        let table = self.tables.entry(name).or_default();
        let known = match metric.strip_prefix(PREFIX).unwrap_or(metric) {
            // Throttles of an index are throttles of its table to whoever writes.
            "ReadThrottleEvents" => {
                table.read.throttles += value;
                true
            }
            "WriteThrottleEvents" => {
                table.write.throttles += value;
                true
            }
            "SuccessfulRequestLatency.p99" => {
                let operation = text(point.attribute("Operation")?).unwrap_or_default();
                table.p99.entry(operation).or_default().put(time, value);
                true
            }
            _ if on_index || point.attribute("Source")?.is_some() => false,
            "ConsumedReadCapacityUnits" => put(&mut table.read.consumed, time, value / seconds),
            "ConsumedWriteCapacityUnits" => put(&mut table.write.consumed, time, value / seconds),
            "ProvisionedReadCapacityUnits" => put(&mut table.read.provisioned, time, value),
            "ProvisionedWriteCapacityUnits" => put(&mut table.write.provisioned, time, value),
            "aws.dynamodb.capacity.utilization" => {
                let reads = text(point.attribute("Direction")?).as_deref() == Some("Read");
                let flow = if reads { &mut table.read } else { &mut table.write };
                flow.own_ceiling = text(point.attribute("Basis")?).as_deref() != Some("account_table_max");
                put(&mut flow.used, time, value)
            }
            _ => false,
        };
        if known {
            self.changed = true;
            self.newest = self.newest.max(time);
        }
        Ok(())
    }

    /// A line for each table and each endpoint of which something is new.
    pub fn lines(&mut self) -> String {
        let mut text = if self.changed {
            self.table_lines()
        } else {
            String::new()
        };
        text.push_str(&self.endpoints.lines());
        text
    }

    /// A line for each table, with a heading now and then.
    fn table_lines(&mut self) -> String {
        let mut text = String::new();
        if self.lines_since_header == 0 || self.lines_since_header > 20 {
            self.lines_since_header = 0;
            text.push_str(&format!(
                "\n{BOLD}{:<6} {:<18} {:<17} {:<17} {:>9}   {}{PLAIN}\n",
                "time", "table", "reads used", "writes used", "throttled", "slowest p99"
            ));
        }
        let minutes = self.newest / 60_000_000_000;
        let mut time = format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
        for (name, table) in &mut self.tables {
            let throttled = table.read.throttles + table.write.throttles;
            let p99 = table.p99.iter().max_by(|a, b| a.1.value.total_cmp(&b.1.value));
            let p99 = p99.map_or(String::new(), |(operation, p99)| {
                format!("{} {operation}", duration(p99.value))
            });
            let (reads, writes) = (used(&table.read), used(&table.write));
            let throttles = if throttled > 0.0 {
                grouped(throttled)
            } else {
                "-".to_owned()
            };
            let line = format!("{time:<6} {name:<18} {reads:<17} {writes:<17} {throttles:>9}   {p99:<20}");
            if throttled > 0.0 {
                text.push_str(&format!("{ALARM}{line} <- throttled{PLAIN}"));
            } else {
                text.push_str(line.trim_end());
            }
            text.push('\n');
            // The time stands at the first line of a group only: it is one look at all tables.
            time.clear();
            table.read.throttles = 0.0;
            table.write.throttles = 0.0;
            self.lines_since_header += 1;
        }
        self.changed = false;
        text
    }
}

pub(super) fn put(slot: &mut Option<Dated>, time: u64, value: f64) -> bool {
    slot.get_or_insert_with(Dated::default).put(time, value);
    true
}

pub(super) fn text(value: Option<Value<'_>>) -> Option<String> {
    Some(value?.as_text()?.lossy().into_owned())
}

/// `62 % of 100/s`; where nothing is provisioned the units per second alone.
fn used(flow: &Flow) -> String {
    let consumed = flow.consumed.map(|consumed| consumed.value);
    let Some(used) = flow.used.filter(|_| flow.own_ceiling) else {
        return consumed.map_or("-".to_owned(), |consumed| format!("{}/s", grouped(consumed)));
    };
    // Consumption over its share is the ceiling that the share was taken of, also before the provisioned units came.
    let ceiling = match (consumed, flow.provisioned) {
        (_, Some(provisioned)) => Some(provisioned.value),
        (Some(consumed), None) if used.value > 0.0 => Some(consumed / used.value * 100.0),
        _ => None,
    };
    match ceiling {
        Some(ceiling) => format!("{:.0} % of {}/s", used.value, grouped(ceiling)),
        None => format!("{:.0} %", used.value),
    }
}

/// Milliseconds for people: `8.3 ms`, `1.5 s`.
pub(super) fn duration(milliseconds: f64) -> String {
    if milliseconds >= 1_000.0 {
        format!("{:.1} s", milliseconds / 1_000.0)
    } else {
        format!("{milliseconds:.1} ms")
    }
}

/// 12345 -> 12,345.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
