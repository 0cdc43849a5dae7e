//! The calls: counted with what they cost, paced by read request units, their failures classified.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity};

use super::keys::{DATA, PK, SK};
use crate::aws::Failure;
use crate::aws::access::OnePlace;
use crate::aws::permission::Permission;
use crate::component::{Clock, UnixNanos};
use crate::retention::archive::Spent;

/// Attributes by name.
pub type Item = HashMap<String, AttributeValue>;

const ATTEMPT: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(3);
/// Attempts of a call that is throttled or lost.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(100);
/// Keys of one BatchGetItem.
const MOST_KEYS: usize = 100;
/// Rounds for what a BatchGetItem did not process, and the first pause.
const ROUNDS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);

/// Where a table is and who we are to it.
#[derive(Clone, Debug, Default)]
pub struct TablePlace {
    pub name: String,
    pub ttl_attribute: String,
    /// A URL; empty: AWS' own.
    pub endpoint: String,
    pub place: OnePlace,
}

/// A table.
pub struct Table {
    client: Client,
    name: String,
    pub ttl_attribute: String,
    clock: Arc<dyn Clock>,
    pace: Option<Mutex<Pace>>,
    spent: Mutex<Spent>,
    written: Mutex<f64>,
}

/// Read request units that may be spent now; below zero: wait.
struct Pace {
    per_second: f64,
    available: f64,
    at: UnixNanos,
}

impl Pace {
    /// How long to wait.
    fn wait(&mut self, now: UnixNanos) -> Duration {
        let passed = now.0.saturating_sub(self.at.0) as f64 / 1e9;
        self.available = (self.available + passed * self.per_second).min(self.per_second);
        self.at = now;
        if self.available >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-self.available / self.per_second)
    }
}

/// Why a conditional write did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotWritten {
    /// Somebody else was faster.
    Changed,
    /// The partition holds 10 GB, which is all that a table with local indexes takes.
    Full,
    Failed(Failure),
}

/// A range of sort keys.
pub struct Range {
    pub name: &'static str,
    pub from: String,
    pub to: String,
}

impl TablePlace {
    /// These actions on the table and its indexes.
    pub fn permissions(&self, actions: &[&'static str]) -> Vec<Permission> {
        let resource = format!("arn:aws:dynamodb:*:*:table/{}", self.name);
        let of_indexes = actions.iter().filter(|action| **action == "dynamodb:Query");
        let of_indexes = of_indexes.map(|action| (*action, format!("{resource}/index/*")));
        let of_table = actions.iter().map(|action| (*action, resource.clone()));
        of_table
            .chain(of_indexes)
            .map(|(action, resource)| Permission {
                sid: "ArchiveTable",
                action,
                resource: resource.into(),
            })
            .collect()
    }

    /// Makes the client; asks nobody but the sources of credentials. `read_units_per_s`: no more than so many.
    ///
    /// # Errors
    /// In words for an operator.
    pub async fn open(&self, clock: Arc<dyn Clock>, read_units_per_s: Option<f64>) -> Result<Table, String> {
        let loaded = self.place.clone().load(Arc::clone(&clock)).await;
        let (_, sdk) = loaded.ok_or("no region: set `region`, AWS_REGION or a profile")?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .build();
        let retry = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(BACKOFF);
        let mut builder = aws_sdk_dynamodb::config::Builder::from(&sdk)
            .timeout_config(timeouts)
            .retry_config(retry);
        if !self.endpoint.is_empty() {
            builder = builder.endpoint_url(&self.endpoint);
        }
        let pace = read_units_per_s.filter(|units| *units > 0.0).map(|per_second| {
            Mutex::new(Pace {
                per_second,
                available: per_second,
                at: clock.now(),
            })
        });
        Ok(Table {
            client: Client::from_conf(builder.build()),
            name: self.name.clone(),
            ttl_attribute: self.ttl_attribute.clone(),
            clock,
            pace,
            spent: Mutex::default(),
            written: Mutex::default(),
        })
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

impl Table {
    /// What was read so far.
    pub fn spent(&self) -> Spent {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Write request units so far.
    pub fn written(&self) -> f64 {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its clock's time.
    pub fn now(&self) -> UnixNanos {
        self.clock.now()
    }

    async fn turn(&self) {
        let Some(pace) = &self.pace else { return };
        loop {
            let wait = pace
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .wait(self.clock.now());
            if wait.is_zero() {
                return;
            }
            self.clock.sleep(wait).await;
        }
    }

    fn note(&self, operation: &'static str, outcome: &'static str, units: f64) {
        {
            let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
            *spent.calls.entry((operation, outcome)).or_default() += 1;
            spent.read_units += units;
        }
        if let Some(pace) = &self.pace {
            pace.lock().unwrap_or_else(PoisonError::into_inner).available -= units;
        }
    }

    fn failed(&self, operation: &'static str, failure: Failure) -> Failure {
        self.note(operation, failure.outcome(), 0.0);
        failure
    }

    /// One item.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn get(&self, pk: &str, sk: &str) -> Result<Option<Item>, Failure> {
        self.turn().await;
        let call = self
            .client
            .get_item()
            .table_name(&self.name)
            .key(PK, text(pk))
            .key(SK, text(sk))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match call.send().await {
            Ok(answer) => {
                self.note("GetItem", "ok", units(answer.consumed_capacity.as_ref()));
                Ok(answer.item)
            }
            Err(error) => Err(self.failed("GetItem", Failure::of("dynamodb:GetItem", &error))),
        }
    }

    /// Many items, by their keys. What is not in the answer is not there.
    ///
    /// # Errors
    /// See [`Failure`]; none of them is answered then.
    pub async fn batch_get(&self, keys: &[(String, String)]) -> Result<BTreeMap<(String, String), Item>, Failure> {
        let mut found = BTreeMap::new();
        for some in keys.chunks(MOST_KEYS) {
            self.batch(some, &mut found).await?;
        }
        Ok(found)
    }

    async fn batch(
        &self,
        keys: &[(String, String)],
        found: &mut BTreeMap<(String, String), Item>,
    ) -> Result<(), Failure> {
        const API: &str = "BatchGetItem";
        let built = |failure: &dyn std::fmt::Display| Failure::Refused {
            code: "Invalid".to_owned(),
            message: failure.to_string(),
        };
        let mut wanted = KeysAndAttributes::builder();
        for (pk, sk) in keys {
            wanted = wanted.keys(Item::from([(PK.to_owned(), text(pk)), (SK.to_owned(), text(sk))]));
        }
        let mut left = Some(wanted.build().map_err(|error| built(&error))?);
        for round in 0..ROUNDS {
            let Some(wanted) = left.take() else { return Ok(()) };
            if round > 0 {
                self.clock.sleep(PAUSE * 2_u32.pow(round)).await;
            }
            self.turn().await;
            let call = self
                .client
                .batch_get_item()
                .request_items(&self.name, wanted)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = match call.send().await {
                Ok(answer) => answer,
                Err(error) => return Err(self.failed(API, Failure::of("dynamodb:BatchGetItem", &error))),
            };
            let spent = answer.consumed_capacity();
            self.note(API, "ok", spent.iter().map(|spent| units(Some(spent))).sum());
            for item in answer
                .responses
                .and_then(|mut of| of.remove(&self.name))
                .unwrap_or_default()
            {
                if let (Some(pk), Some(sk)) = (text_of(&item, PK), text_of(&item, SK)) {
                    found.insert((pk.to_owned(), sk.to_owned()), item);
                }
            }
            left = answer.unprocessed_keys.and_then(|mut of| of.remove(&self.name));
        }
        let Some(_) = left else { return Ok(()) };
        let code = "UnprocessedKeys".to_owned();
        Err(self.failed(API, Failure::Throttled { code }))
    }

    /// One page of a partition, and where the next begins.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn query(
        &self,
        index: Option<&str>,
        hash: (&str, &str),
        range: Option<&Range>,
        after: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>), Failure> {
        self.turn().await;
        let mut call = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(index.map(str::to_owned))
            .expression_attribute_names("#h", hash.0)
            .expression_attribute_values(":h", text(hash.1))
            .set_exclusive_start_key(after)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        call = match range {
            None => call.key_condition_expression("#h = :h"),
            Some(range) => call
                .key_condition_expression("#h = :h AND #r BETWEEN :from AND :to")
                .expression_attribute_names("#r", range.name)
                .expression_attribute_values(":from", text(&range.from))
                .expression_attribute_values(":to", text(&range.to)),
        };
        match call.send().await {
            Ok(answer) => {
                self.note("Query", "ok", units(answer.consumed_capacity.as_ref()));
                let next = answer.last_evaluated_key.filter(|key| !key.is_empty());
                Ok((answer.items.unwrap_or_default(), next))
            }
            Err(error) => Err(self.failed("Query", Failure::of("dynamodb:Query", &error))),
        }
    }

    /// One page of the whole table: partition keys only. Costs as much as reading it all.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn scan(&self, after: Option<Item>) -> Result<(Vec<Item>, Option<Item>), Failure> {
        self.turn().await;
        let call = self
            .client
            .scan()
            .table_name(&self.name)
            .projection_expression("#pk")
            .expression_attribute_names("#pk", PK)
            .set_exclusive_start_key(after)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match call.send().await {
            Ok(answer) => {
                self.note("Scan", "ok", units(answer.consumed_capacity.as_ref()));
                let next = answer.last_evaluated_key.filter(|key| !key.is_empty());
                Ok((answer.items.unwrap_or_default(), next))
            }
            Err(error) => Err(self.failed("Scan", Failure::of("dynamodb:Scan", &error))),
        }
    }

    /// Writes an item if `condition` holds; `values` are its placeholders, `#data` is the attribute of the spans (its
    /// name is a word of DynamoDB's).
    ///
    /// # Errors
    /// See [`NotWritten`].
    pub async fn put(&self, item: Item, condition: &str, values: Item) -> Result<(), NotWritten> {
        let names_data = condition.contains("#data");
        let names = names_data.then(|| HashMap::from([("#data".to_owned(), DATA.to_owned())]));
        let call = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values((!values.is_empty()).then_some(values))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match call.send().await {
            Ok(answer) => {
                self.wrote("PutItem", answer.consumed_capacity.as_ref());
                Ok(())
            }
            Err(error) => {
                let service = error.as_service_error();
                let refused = if service.is_some_and(PutItemError::is_conditional_check_failed_exception) {
                    NotWritten::Changed
                } else if service.is_some_and(PutItemError::is_item_collection_size_limit_exceeded_exception) {
                    NotWritten::Full
                } else {
                    NotWritten::Failed(Failure::of("dynamodb:PutItem", &error))
                };
                Err(self.not_written("PutItem", refused))
            }
        }
    }

    /// Sets attributes of an item that is there.
    ///
    /// # Errors
    /// See [`NotWritten`].
    pub async fn set(&self, pk: &str, sk: &str, attributes: Vec<(&str, AttributeValue)>) -> Result<(), NotWritten> {
        let mut call = self
            .client
            .update_item()
            .table_name(&self.name)
            .key(PK, text(pk))
            .key(SK, text(sk))
            .condition_expression("attribute_exists(PK)")
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let mut assignments = Vec::new();
        for (at, (name, value)) in attributes.into_iter().enumerate() {
            call = call
                .expression_attribute_names(format!("#a{at}"), name)
                .expression_attribute_values(format!(":a{at}"), value);
            assignments.push(format!("#a{at} = :a{at}"));
        }
        let call = call.update_expression(format!("SET {}", assignments.join(", ")));
        match call.send().await {
            Ok(answer) => {
                self.wrote("UpdateItem", answer.consumed_capacity.as_ref());
                Ok(())
            }
            Err(error) => {
                let refused = match &error {
                    SdkError::ServiceError(service)
                        if UpdateItemError::is_conditional_check_failed_exception(service.err()) =>
                    {
                        NotWritten::Changed
                    }
                    _ => NotWritten::Failed(Failure::of("dynamodb:UpdateItem", &error)),
                };
                Err(self.not_written("UpdateItem", refused))
            }
        }
    }

    fn wrote(&self, operation: &'static str, capacity: Option<&ConsumedCapacity>) {
        self.note(operation, "ok", 0.0);
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) += units(capacity);
    }

    fn not_written(&self, operation: &'static str, refused: NotWritten) -> NotWritten {
        let outcome = match &refused {
            NotWritten::Changed => "changed",
            NotWritten::Full => "error",
            NotWritten::Failed(failure) => failure.outcome(),
        };
        self.note(operation, outcome, 0.0);
        refused
    }
}

fn units(capacity: Option<&ConsumedCapacity>) -> f64 {
    capacity
        .and_then(|capacity| capacity.capacity_units)
        .unwrap_or_default()
}

/// The text of an attribute.
pub fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The number of an attribute.
pub fn number_of(item: &Item, name: &str) -> Option<f64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
