//! Counting the items of item collections by Query with Select=COUNT: only where the configuration asks for it, because
//! each page reads a megabyte and costs read units.
//!
//! A few pages a round, so that polling does not wait; an hour after it began the next count begins.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, Select};

use super::clients::Clients;
use super::discovery::Discovery;
use super::levels::{Collection, of_collection};
use super::signals::Point;
use crate::aws::Failure;

const EVERY: i64 = 3600;
const PAGES_A_ROUND: usize = 10;
/// Pages of one megabyte: a collection with local indexes has no more than 10 GB.
const MOST_PAGES: u64 = 10_240;

/// Where a count stands.
struct Count {
    /// Position of the collection in the configuration.
    collection: usize,
    /// Prefixes still to count, with the bytes of an item.
    prefixes: Vec<(String, f64)>,
    /// Where the next page of the first prefix begins.
    from: Option<HashMap<String, AttributeValue>>,
    bytes: f64,
    pages: u64,
}

/// The counts of one account and region.
#[derive(Default)]
pub struct Queries {
    next: HashMap<usize, i64>,
    count: Option<Count>,
    points: Vec<Point>,
}

impl Queries {
    /// What was counted since the last call.
    pub fn take_points(&mut self) -> Vec<Point> {
        std::mem::take(&mut self.points)
    }

    /// Reads a few pages of what is due.
    ///
    /// # Errors
    /// What AWS refused; that count is given up until its next hour.
    pub async fn go_on(
        &mut self,
        clients: &Clients,
        discovery: &Discovery,
        collections: &[Collection],
        now: i64,
    ) -> Result<(), Failure> {
        for _ in 0..PAGES_A_ROUND {
            let Some(mut count) = self.count.take().or_else(|| self.begin(discovery, collections, now)) else {
                return Ok(());
            };
            let Some(collection) = collections.get(count.collection) else {
                return Ok(());
            };
            let Some((prefix, item_bytes)) = count.prefixes.last().cloned() else {
                self.points.push(of_collection(collection, "query", count.bytes, now));
                continue;
            };
            let keys = discovery.table(&collection.table).and_then(|table| table.keys.clone());
            let Some(keys) = keys else { return Ok(()) };
            let call = clients
                .dynamodb
                .query()
                .table_name(&collection.table)
                .select(Select::Count)
                .key_condition_expression("#k = :k AND begins_with(#s, :s)")
                .expression_attribute_names("#k", keys.0)
                .expression_attribute_names("#s", keys.1)
                .expression_attribute_values(":k", AttributeValue::S(collection.key.clone()))
                .expression_attribute_values(":s", AttributeValue::S(prefix))
                .set_exclusive_start_key(count.from.take());
            let page = clients.query.send(|| call.send()).await?;
            count.bytes += f64::from(page.count()) * item_bytes;
            count.pages += 1;
            match page.last_evaluated_key() {
                Some(last) if count.pages < MOST_PAGES => count.from = Some(last.clone()),
                Some(_) => {
                    tracing::warn!(table = %collection.table, pages = count.pages,
                        "an item collection has more pages than one of 10 GB; its count is given up");
                    return Ok(());
                }
                None => {
                    count.prefixes.pop();
                }
            }
            self.count = Some(count);
        }
        Ok(())
    }

    fn begin(&mut self, discovery: &Discovery, collections: &[Collection], now: i64) -> Option<Count> {
        for (position, collection) in collections.iter().enumerate() {
            let is_here = discovery
                .table(&collection.table)
                .is_some_and(|table| table.keys.is_some());
            let due = self.next.get(&position).is_none_or(|next| now >= *next);
            if collection.query.is_empty() || !is_here || !due {
                continue;
            }
            self.next.insert(position, now + EVERY);
            let prefixes = collection.query.iter();
            return Some(Count {
                collection: position,
                prefixes: prefixes.map(|(prefix, bytes)| (prefix.clone(), *bytes)).collect(),
                from: None,
                bytes: 0.0,
                pages: 0,
            });
        }
        None
    }
}
