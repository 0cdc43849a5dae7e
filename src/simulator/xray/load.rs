//! The generated application: a model server behind an HTTP API that reads features from DynamoDB, asks a SageMaker
//! endpoint and a pricing service with a database of its own. Every document is a hash of seed, minute and number.
//!
//! What goes wrong: DynamoDB throttles with the first table of the scenario, the model fails now and then, and between
//! two minutes the model is slow. Segments may come first as in progress, late, or with subsegments on their own.

use serde_json::{Value as Json, json};

use super::super::load::table_minute;
use super::super::random::Dice;
use super::super::scenario::Scenario;
use super::settings::Settings;
use super::store::Arrival;

/// Throws of the dice that one trace may use.
const THROWS: u64 = 64;
/// A trace is sent within so many seconds of its start, apart from what comes late.
pub const LONGEST_S: f64 = 120.0;

/// A generated trace by its place in the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Minutes since the scenario's start.
    pub minute: i64,
    pub number: u32,
}

/// Traces of a scenario.
pub struct Load<'a> {
    scenario: &'a Scenario,
    settings: &'a Settings,
}

impl<'a> Load<'a> {
    pub fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            settings: &scenario.xray,
        }
    }

    fn dice(&self, minute: i64) -> Dice {
        Dice::new(self.scenario.seed, &format!("{}/xray", self.scenario.name), minute)
    }

    /// Traces that start in a minute.
    pub fn count(&self, minute: i64) -> u32 {
        let in_time = minute >= -self.scenario.history && self.settings.until.is_none_or(|until| minute < until);
        if self.settings.traces_per_minute <= 0.0 || !in_time {
            return 0;
        }
        self.dice(minute).count(1, self.settings.traces_per_minute) as u32
    }

    /// When a trace starts, unix seconds.
    pub fn start(&self, place: Place) -> f64 {
        let count = f64::from(self.count(place.minute).max(1));
        let within = (f64::from(place.number) + self.throw(place, 0)) / count;
        let start = self.scenario.start as f64 + 60.0 * place.minute as f64 + 60.0 * within;
        millis(start)
    }

    fn throw(&self, place: Place, n: u64) -> f64 {
        throw(self.dice(place.minute), place, n)
    }

    /// `1-<seconds>-<check><minute><number>`: the place can be read back.
    pub fn id(&self, place: Place) -> String {
        let minute = (place.minute + i64::from(i32::MAX)) as u32;
        let seconds = self.start(place) as u32;
        format!(
            "1-{seconds:08x}-{:08x}{minute:08x}{:08x}",
            self.check(place),
            place.number
        )
    }

    fn check(&self, place: Place) -> u32 {
        (self.throw(place, 1) * f64::from(u32::MAX)) as u32
    }

    /// The place of one of our ids; `None` for all others.
    pub fn place_of(&self, id: &str) -> Option<Place> {
        let rest = id.strip_prefix("1-")?;
        let (_, rest) = rest.split_once('-')?;
        let number = |from: usize| u32::from_str_radix(rest.get(from..from + 8)?, 16).ok();
        let place = Place {
            minute: i64::from(number(8)?) - i64::from(i32::MAX),
            number: number(16)?,
        };
        let ours = place.number < self.count(place.minute) && self.id(place) == id;
        ours.then_some(place)
    }

    /// Seconds by which the last segment of this trace comes late; `None`: in time.
    pub fn late_by(&self, place: Place) -> Option<f64> {
        let mut throw = self.throw(place, 2);
        for late in &self.settings.late {
            if throw < late.share {
                return Some(late.after_s);
            }
            throw -= late.share;
        }
        None
    }

    /// Whether a start in `minute` may bring arrivals between two times.
    pub fn minutes_with_arrivals(&self, from: f64, to: f64) -> Vec<i64> {
        let minute = |at: f64| ((at - self.scenario.start as f64) / 60.0).floor() as i64;
        let mut minutes: Vec<i64> = (minute(from - LONGEST_S)..=minute(to)).collect();
        for late in &self.settings.late {
            minutes.extend(minute(from - late.after_s - LONGEST_S)..=minute(to - late.after_s));
        }
        minutes.sort_unstable();
        minutes.dedup();
        minutes
    }

    /// The share of DynamoDB requests that are throttled in a minute.
    fn throttled(&self, minute: i64) -> f64 {
        let Some(table) = self.scenario.tables.first() else {
            return 0.0;
        };
        let flow = table_minute(self.scenario, table, minute).write;
        if flow.asked > 0.0 {
            1.0 - flow.served / flow.asked
        } else {
            0.0
        }
    }

    /// Everything that is ever sent of a trace, in the order in which it arrives.
    pub fn arrivals(&self, place: Place) -> Vec<Arrival> {
        Request::of(self, place).arrivals()
    }
}

fn throw(dice: Dice, place: Place, n: u64) -> f64 {
    dice.uniform(16 + u64::from(place.number) * THROWS + n)
}

/// Times have whole milliseconds, so that nobody argues about rounding.
fn millis(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

#[derive(Clone, Copy, PartialEq)]
enum Ending {
    Well,
    Throttled,
    ModelFailed,
}

/// One request to the model server.
struct Request<'a> {
    load: &'a Load<'a>,
    dice: Dice,
    place: Place,
    id: String,
    start: f64,
    ending: Ending,
    features: f64,
    model: f64,
    pricing: f64,
}

impl<'a> Request<'a> {
    fn of(load: &'a Load<'a>, place: Place) -> Self {
        let settings = load.settings;
        let ending = if load.throw(place, 3) < load.throttled(place.minute) {
            Ending::Throttled
        } else if load.throw(place, 4) < settings.faults {
            Ending::ModelFailed
        } else {
            Ending::Well
        };
        let slow = settings
            .slow
            .iter()
            .any(|slow| slow.from <= place.minute && place.minute < slow.to);
        let model = 0.02 + 0.03 * load.throw(place, 5);
        Self {
            load,
            dice: load.dice(place.minute),
            place,
            id: load.id(place),
            start: load.start(place),
            ending,
            features: millis(0.003 + 0.006 * load.throw(place, 6)),
            model: millis(if slow { 8.0 * model } else { model }),
            pricing: millis(0.01 + 0.02 * load.throw(place, 7)),
        }
    }

    fn throw(&self, n: u64) -> f64 {
        throw(self.dice, self.place, n)
    }

    /// Sixteen hex digits for one of the trace's spans.
    fn span(&self, n: u64) -> String {
        let high = (self.throw(20 + n) * f64::from(u32::MAX)) as u64;
        let low = (self.throw(40 + n) * f64::from(u32::MAX)) as u64;
        format!("{:016x}", (high << 32 | low).max(1))
    }

    fn features_end(&self) -> f64 {
        millis(self.start + 0.001 + self.features)
    }

    fn model_end(&self) -> f64 {
        millis(self.features_end() + 0.001 + self.model)
    }

    fn end(&self) -> f64 {
        match self.ending {
            Ending::Throttled => millis(self.features_end() + 0.001),
            Ending::ModelFailed => millis(self.model_end() + 0.001),
            Ending::Well => millis(self.model_end() + 0.002 + self.pricing),
        }
    }

    fn call(&self) -> Json {
        let region = &self.load.settings.region;
        let table = self
            .load
            .scenario
            .tables
            .first()
            .map_or("features", |table| &table.name);
        let mut call = json!({
            "id": self.span(2), "name": "DynamoDB", "namespace": "aws",
            "start_time": millis(self.start + 0.001), "end_time": self.features_end(),
            "aws": {"operation": "UpdateItem", "table_name": table, "region": region, "retries": 0,
                    "request_id": format!("R{}", self.span(9))},
            "http": {"response": {"status": 200, "content_length": 412}},
        });
        if self.ending == Ending::Throttled {
            call["throttle"] = json!(true);
            call["error"] = json!(true);
            call["aws"]["retries"] = json!(3);
            call["http"]["response"]["status"] = json!(400);
            call["cause"] = json!({"exceptions": [{
                "id": self.span(10), "type": "ProvisionedThroughputExceededException", "remote": true,
                "message": "The level of configured provisioned throughput for the table was exceeded."}]});
        }
        call
    }

    fn features_subsegment(&self) -> Json {
        let mut part = json!({
            "id": self.span(1), "name": "load-features",
            "start_time": self.start, "end_time": self.features_end(),
            "subsegments": [self.call()],
        });
        if self.ending == Ending::Throttled {
            part["error"] = json!(true);
        }
        part
    }

    fn model_subsegment(&self) -> Json {
        let failed = self.ending == Ending::ModelFailed;
        let mut part = json!({
            "id": self.span(3), "name": "SageMaker Runtime", "namespace": "aws",
            "start_time": millis(self.features_end() + 0.001), "end_time": self.model_end(),
            "aws": {"operation": "InvokeEndpoint", "endpoint_name": self.load.settings.endpoint,
                    "region": self.load.settings.region, "request_id": format!("R{}", self.span(11))},
            "http": {"response": {"status": if failed { 500 } else { 200 }}},
        });
        if failed {
            part["fault"] = json!(true);
            part["cause"] = json!({"exceptions": [{
                "id": self.span(12), "type": "ModelError", "remote": true,
                "message": "Received server error (500) from primary"}]});
        }
        part
    }

    fn pricing_call(&self) -> Json {
        json!({
            "id": self.span(4), "name": "pricing", "namespace": "remote",
            "start_time": millis(self.model_end() + 0.001),
            "end_time": millis(self.model_end() + 0.001 + self.pricing),
            "http": {"request": {"method": "GET", "url": "http://pricing.shop.internal/quote", "traced": true},
                     "response": {"status": 200}},
        })
    }

    fn pricing_segment(&self) -> Json {
        let start = millis(self.model_end() + 0.002);
        let end = millis(self.model_end() + self.pricing);
        json!({
            "trace_id": self.id, "id": self.span(5), "parent_id": self.span(4), "name": "pricing",
            "start_time": start, "end_time": end.max(start),
            "origin": "AWS::ECS::Container",
            "service": {"version": "1.8.0"},
            "http": {"request": {"method": "GET", "url": "http://pricing.shop.internal/quote"},
                     "response": {"status": 200}},
            "subsegments": [{
                "id": self.span(6), "name": "prices@db.shop.internal", "namespace": "remote",
                "start_time": start, "end_time": end.max(start),
                "sql": {"url": "jdbc:postgresql://db.shop.internal:5432/prices", "database_type": "PostgreSQL",
                        "sanitized_query": "select price from prices where item = $1", "user": "pricing"},
            }],
        })
    }

    /// The root as it is when the request ends; subsegments that are sent alone are left out.
    fn root(&self, alone: bool) -> Json {
        let mut parts = vec![self.features_subsegment()];
        if self.ending != Ending::Throttled && !alone {
            parts.push(self.model_subsegment());
        }
        if self.ending == Ending::Well {
            parts.push(self.pricing_call());
        }
        let status = match self.ending {
            Ending::Well => 200,
            Ending::Throttled => 503,
            Ending::ModelFailed => 502,
        };
        let tenant = ["acme", "globex", "initech"][(self.throw(8) * 3.0) as usize % 3];
        let mut root = self.opened();
        let more = json!({
            "end_time": self.end(),
            "http": {"request": {"method": "POST", "url": "https://shop.example/recommend", "client_ip": "203.0.113.9",
                                 "user_agent": "shop/4.2"},
                     "response": {"status": status, "content_length": 1_204}},
            "annotations": {"tenant": tenant, "items": 12, "cached": false},
            "metadata": {"default": {"model": self.load.settings.endpoint}},
            "subsegments": parts,
        });
        if let (Json::Object(root), Json::Object(more)) = (&mut root, more) {
            root.remove("in_progress");
            root.extend(more);
            if self.ending != Ending::Well {
                root.insert("fault".to_owned(), json!(true));
            }
        }
        root
    }

    /// The root as it is sent while the request runs.
    fn opened(&self) -> Json {
        json!({
            "trace_id": self.id, "id": self.span(0), "name": "recommender", "start_time": self.start,
            "in_progress": true, "origin": "AWS::ECS::Container",
            "service": {"version": "2.3.1"},
            "aws": {"account_id": self.load.scenario.account, "xray": {"sdk": "X-Ray for Python", "sdk_version": "2.14.0"},
                    "ecs": {"container": "recommender-1", "container_id": "3f9c8c1d"}},
        })
    }

    fn arrivals(&self) -> Vec<Arrival> {
        let settings = self.load.settings;
        let sent = self.end() + 0.2 + self.throw(13);
        let alone = self.ending != Ending::Throttled && self.throw(14) < settings.independent;
        let mut arrivals = Vec::new();
        if self.throw(15) < settings.in_progress {
            arrivals.push(Arrival::new(self.start + 0.05, self.opened()));
            // The rest of an open trace comes in a later window.
            arrivals.push(Arrival::new(sent + LONGEST_S / 2.0, self.root(alone)));
        } else {
            arrivals.push(Arrival::new(sent, self.root(alone)));
        }
        if alone {
            let mut part = self.model_subsegment();
            part["type"] = json!("subsegment");
            part["trace_id"] = json!(self.id);
            part["parent_id"] = json!(self.span(0));
            arrivals.push(Arrival::new(sent - 0.1, part));
        }
        if self.ending == Ending::Well {
            let late = self.load.late_by(self.place).unwrap_or(0.0);
            arrivals.push(Arrival::new(sent + 0.3 + late, self.pricing_segment()));
        }
        arrivals.sort_by(|a, b| a.at.total_cmp(&b.at));
        arrivals
    }
}
