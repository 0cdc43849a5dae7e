//! What is known of each table, and its lines.

use std::collections::BTreeMap;

use crate::wire::{Point, Value, WireError, resources};

/// Tables that are shown; more are left out.
const MAX_TABLES: usize = 100;

const PREFIX: &str = "amazonaws.com/AWS/DynamoDB/";

/// A value and the time it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Dated {
    time: u64,
    value: f64,
}

impl Dated {
    fn put(&mut self, time: u64, value: f64) {
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
    tables: BTreeMap<String, Table>,
    newest: u64,
    changed: bool,
    lines_since_header: usize,
}

impl Board {
    /// Whether there is something new to show.
    pub fn changed(&self) -> bool {
        self.changed
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
                        self.point(&name, &point?)?;
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
            _ if on_index => false,
            "ProvisionedReadCapacityUnits" => put(&mut table.read.provisioned, time, value),
            "ProvisionedWriteCapacityUnits" => put(&mut table.write.provisioned, time, value),
            "aws.dynamodb.capacity.utilization" => {
                let reads = text(point.attribute("Direction")?).as_deref() == Some("Read");
                let flow = if reads { &mut table.read } else { &mut table.write };
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

    /// A line for each table, with a heading now and then.
    pub fn lines(&mut self) -> String {
        let mut text = String::new();
        if self.lines_since_header == 0 || self.lines_since_header > 20 {
            self.lines_since_header = 0;
            text.push_str(
                "\ntime   table             reads used          writes used         throttled   slowest p99\n",
            );
        }
        let minutes = self.newest / 60_000_000_000;
        let time = format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
        for (name, table) in &mut self.tables {
            let throttled = table.read.throttles + table.write.throttles;
            let p99 = table.p99.iter().max_by(|a, b| a.1.value.total_cmp(&b.1.value));
            let p99 = p99.map_or("-".to_owned(), |(operation, p99)| {
                format!("{:.1} ms {operation}", p99.value)
            });
            let line = format!(
                "{time}  {name:<16}  {:<18}  {:<18}  {:>9}   {p99}",
                used(&table.read),
                used(&table.write),
                grouped(throttled),
            );
            text.push_str(line.trim_end());
            text.push('\n');
            table.read.throttles = 0.0;
            table.write.throttles = 0.0;
            self.lines_since_header += 1;
        }
        self.changed = false;
        text
    }
}

fn put(slot: &mut Option<Dated>, time: u64, value: f64) -> bool {
    slot.get_or_insert_with(Dated::default).put(time, value);
    true
}

fn text(value: Option<Value<'_>>) -> Option<String> {
    Some(value?.as_text()?.lossy().into_owned())
}

fn used(flow: &Flow) -> String {
    match (flow.used, flow.provisioned) {
        (None, _) => "-".to_owned(),
        (Some(used), None) => format!("{:.0} %", used.value),
        (Some(used), Some(provisioned)) => format!("{:.0} % of {}/s", used.value, provisioned.value),
    }
}

/// 12345 -> 12,345.
fn grouped(number: f64) -> String {
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
