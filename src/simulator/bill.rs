//! What AWS would charge for the calls, per account, region, API and month (UTC).

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value as Json, json};

/// USD per metric requested by GetMetricData, and per request of the other APIs of CloudWatch beyond the free ones.
pub const USD_PER_METRIC: f64 = 0.01 / 1_000.0;
/// Requests a month that an account has free, over all of these APIs together; GetMetricData is never free.
const FREE_REQUESTS: u64 = 1_000_000;
/// USD per trace that X-Ray scans or gives; as many a month are free.
const USD_PER_TRACE_READ: f64 = 0.50 / 1e6;
const TRACE_READS: [&str; 3] = ["GetTraceSummaries", "BatchGetTraces", "ListRetrievedTraces"];
/// USD per read request unit of an on-demand table.
const USD_PER_READ_UNIT: f64 = 0.125 / 1e6;
/// USD per write request unit.
const USD_PER_WRITE_UNIT: f64 = 0.625 / 1e6;
/// Billed by request units; `units` counts halves of them.
const ITEM_READS: [&str; 4] = ["GetItem", "BatchGetItem", "Query", "Scan"];
const ITEM_WRITES: [&str; 4] = ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"];
/// USD per request of S3.
const USD_PER_PUT: f64 = 0.005 / 1e3;
const USD_PER_GET: f64 = 0.0004 / 1e3;
const OBJECT_PUTS: [&str; 2] = ["PutObject", "ListObjectsV2"];
const OBJECT_GETS: [&str; 2] = ["GetObject", "HeadObject"];
const WITH_FREE_PART: [&str; 2] = ["GetMetricStatistics", "ListMetrics"];
/// Billed like GetMetricData.
const BY_METRIC: [&str; 2] = ["GetMetricData", "GetInsightRuleReport"];

/// Counts of one API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    /// Metrics requested (GetMetricData), traces scanned or retrieved and documents taken (X-Ray), halves of request
    /// units (items of DynamoDB).
    pub units: u64,
}

/// Account, region and API.
type Line = (String, String, String);

/// All calls that were answered. Refused ones cost nothing.
#[derive(Clone, Debug, Default)]
pub struct Bill {
    /// By year and month.
    months: BTreeMap<(i16, i8), HashMap<Line, Counts>>,
    since: Option<f64>,
}

impl Bill {
    /// Adds one answered call at `now` (unix seconds).
    pub fn charge(&mut self, now: f64, account: &str, region: &str, api: &str, units: u64) {
        let day = jiff::Timestamp::from_second(now as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let day = day.to_zoned(jiff::tz::TimeZone::UTC);
        self.since.get_or_insert(now);
        let lines = self.months.entry((day.year(), day.month())).or_default();
        let key = (account.to_owned(), region.to_owned(), api.to_owned());
        let counts = lines.entry(key).or_default();
        counts.requests += 1;
        counts.units += units;
    }

    /// Unix seconds of the first charge.
    pub fn since(&self) -> Option<f64> {
        self.since
    }

    /// Counts of an API over all accounts, regions and months.
    pub fn of(&self, api: &str) -> Counts {
        let mut sum = Counts::default();
        for ((_, _, have), counts) in self.months.values().flatten() {
            if have == api {
                sum.requests += counts.requests;
                sum.units += counts.units;
            }
        }
        sum
    }

    /// USD over all months.
    pub fn usd(&self) -> f64 {
        self.months.values().map(|lines| month(lines).1).sum()
    }

    /// Lines by month and the sum in USD.
    pub fn to_json(&self) -> Json {
        let mut months = Vec::new();
        let mut all: HashMap<Line, Counts> = HashMap::new();
        for ((year, number), lines) in &self.months {
            let (json, usd) = month(lines);
            months.push(json!({"month": format!("{year:04}-{number:02}"), "lines": json, "usd": usd}));
            for (line, counts) in lines {
                let sum = all.entry(line.clone()).or_default();
                sum.requests += counts.requests;
                sum.units += counts.units;
            }
        }
        // With one month the same; with several the free part is counted by month, above.
        let lines = months.first().filter(|_| months.len() == 1);
        let lines = lines.map_or_else(|| json!(plain(&all)), |month| month["lines"].clone());
        json!({"lines": lines, "months": months, "usd": self.usd()})
    }
}

fn sorted(lines: &HashMap<Line, Counts>) -> Vec<(&Line, &Counts)> {
    let mut sorted: Vec<_> = lines.iter().collect();
    sorted.sort_by_key(|(line, _)| *line);
    sorted
}

fn plain(lines: &HashMap<Line, Counts>) -> Vec<Json> {
    let lines = sorted(lines).into_iter();
    lines
        .map(|((account, region, api), counts)| {
            json!({
                "account": account, "region": region, "api": api,
                "requests": counts.requests, "units": counts.units,
            })
        })
        .collect()
}

/// The lines of one month and their sum.
fn month(lines: &HashMap<Line, Counts>) -> (Vec<Json>, f64) {
    let mut free: HashMap<&str, u64> = HashMap::new();
    let mut free_reads: HashMap<&str, u64> = HashMap::new();
    let (mut rows, mut total) = (Vec::new(), 0.0);
    for ((account, region, api), counts) in sorted(lines) {
        let (mut usd, mut unpaid) = (0.0, 0);
        if BY_METRIC.contains(&api.as_str()) {
            usd = counts.units as f64 * USD_PER_METRIC;
        } else if WITH_FREE_PART.contains(&api.as_str()) {
            let left = free.entry(account).or_insert(FREE_REQUESTS);
            unpaid = counts.requests.min(*left);
            *left -= unpaid;
            usd = (counts.requests - unpaid) as f64 * USD_PER_METRIC;
        } else if TRACE_READS.contains(&api.as_str()) {
            let left = free_reads.entry(account).or_insert(FREE_REQUESTS);
            let free = counts.units.min(*left);
            *left -= free;
            usd = (counts.units - free) as f64 * USD_PER_TRACE_READ;
        } else if ITEM_READS.contains(&api.as_str()) {
            usd = counts.units as f64 / 2.0 * USD_PER_READ_UNIT;
        } else if ITEM_WRITES.contains(&api.as_str()) {
            usd = counts.units as f64 / 2.0 * USD_PER_WRITE_UNIT;
        } else if OBJECT_PUTS.contains(&api.as_str()) {
            usd = counts.requests as f64 * USD_PER_PUT;
        } else if OBJECT_GETS.contains(&api.as_str()) {
            usd = counts.requests as f64 * USD_PER_GET;
        }
        total += usd;
        rows.push(json!({
            "account": account, "region": region, "api": api,
            "requests": counts.requests, "units": counts.units, "free_requests": unpaid, "usd": usd,
        }));
    }
    (rows, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-01-31T23:59:59Z
    const JANUARY: f64 = 1_769_903_999.0;

    #[test]
    fn each_month_has_its_own_free_requests_and_get_metric_data_has_none() {
        let mut bill = Bill::default();
        for _ in 0..1_000_500 {
            bill.charge(JANUARY, "1", "r", "GetMetricStatistics", 0);
        }
        bill.charge(JANUARY + 2.0, "1", "r", "ListMetrics", 0);
        bill.charge(JANUARY + 2.0, "1", "r", "GetMetricData", 300);
        bill.charge(JANUARY + 2.0, "1", "r", "DescribeTable", 0);
        let json = bill.to_json();
        let usd = |month: usize| json["months"][month]["usd"].as_f64().unwrap();
        assert_eq!(json["months"][1]["month"], "2026-02");
        assert!((usd(0) - 0.005).abs() < 1e-9, "{json}");
        assert!((usd(1) - 0.003).abs() < 1e-9, "{json}");
        assert!((json["usd"].as_f64().unwrap() - 0.008).abs() < 1e-9);
        assert_eq!(
            bill.of("GetMetricData"),
            Counts {
                requests: 1,
                units: 300
            }
        );
        assert_eq!(bill.since(), Some(JANUARY));
    }

    #[test]
    fn items_are_billed_by_halves_of_units_and_objects_by_requests() {
        let mut bill = Bill::default();
        bill.charge(JANUARY, "1", "r", "Query", 5);
        bill.charge(JANUARY, "1", "r", "PutItem", 20);
        for _ in 0..1_000 {
            bill.charge(JANUARY, "1", "r", "PutObject", 0);
            bill.charge(JANUARY, "1", "r", "GetObject", 0);
        }
        let expected = 2.5 * 0.125e-6 + 10.0 * 0.625e-6 + 0.005 + 0.0004;
        assert!((bill.usd() - expected).abs() < 1e-12, "{}", bill.usd());
    }
}
