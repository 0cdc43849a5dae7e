//! Receivers that want the same series share one question: who is due first asks for all of them and gives the answer
//! on. Cursors, judgement and output stay with each receiver.
//!
//! Shards of one account, region and endpoint meet in an [`Exchange`]. It knows the series that more than one of them
//! wants, so an agent with one receiver pays nothing for it. A series is *claimed* by the shard that plans it; the
//! others leave it out while the claim stands. A claim ends with the round of its holder: what was not answered then is
//! asked by whoever is due next.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::history::Answer;
use super::want::{Dimensions, Shape, Stat, Want};

/// Identity of a series, and the period it is asked with.
type Key = (u64, i64);

fn key(want: &Want) -> Key {
    (want.identity(), want.shape.period)
}

/// The exchanges of the process, by account, region and endpoint. Kept in the [commons](crate::component::Commons).
#[derive(Default)]
pub struct Exchanges(Mutex<HashMap<(String, String, String), Arc<Exchange>>>);

impl Exchanges {
    /// Where the shards of a place meet. `place`: account, region, endpoint.
    pub fn at(&self, place: (&str, &str, &str)) -> Arc<Exchange> {
        let mut exchanges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (place.0.to_owned(), place.1.to_owned(), place.2.to_owned());
        Arc::clone(exchanges.entry(place).or_default())
    }
}

/// Where shards meet.
#[derive(Default)]
pub struct Exchange(Mutex<Books>);

#[derive(Default)]
struct Books {
    next: u64,
    /// Grows whenever somebody comes or goes.
    generation: u64,
    members: BTreeMap<u64, Member>,
    /// Series that more than one member wants.
    common: HashMap<Key, Common>,
}

struct Member {
    /// Sorted by key; empty where nobody else is here.
    wants: Vec<(Key, Arc<Shape>)>,
    /// Seconds that its questions reach back at least.
    look_back: i64,
    /// The newest answer of each series is enough: its window holds what the one before had.
    gifts: HashMap<Key, Gift>,
    bell: Arc<Notify>,
}

#[derive(Default)]
struct Common {
    shapes: Vec<(u64, Arc<Shape>)>,
    claimed: Option<Claim>,
    /// Whoever claimed has given the answer on.
    answered: bool,
    last: Option<u64>,
    /// Claims in a row, of the one who claimed last, that came to nothing.
    fruitless: u32,
}

/// Whoever claimed so often without an answer lets the others try: its credentials may not suffice, theirs may.
const PATIENCE: u32 = 3;

#[derive(Clone, Copy)]
struct Claim {
    by: u64,
    /// Unix seconds.
    until: i64,
}

/// An answer that somebody else asked for.
#[derive(Clone, Debug)]
pub struct Gift {
    /// The series as the one who is given it wants it.
    pub shape: Arc<Shape>,
    pub dimensions: Dimensions,
    pub answer: Answer,
    /// Unix seconds: from inclusive, to exclusive.
    pub window: (i64, i64),
    pub asked_at: i64,
}

impl Exchange {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one shard. `look_back`: seconds that its questions reach back at least.
    pub fn sit_down(self: &Arc<Self>, look_back: i64) -> Seat {
        let bell = Arc::new(Notify::new());
        let mut books = self.books();
        let id = books.next;
        books.next += 1;
        books.generation += 1;
        let member = Member {
            wants: Vec::new(),
            look_back,
            gifts: HashMap::new(),
            bell: Arc::clone(&bell),
        };
        books.members.insert(id, member);
        Seat {
            exchange: Arc::clone(self),
            id,
            seen: 0,
            bell,
        }
    }
}

/// The place of one shard; given back when it is dropped.
pub struct Seat {
    exchange: Arc<Exchange>,
    id: u64,
    /// The generation its wants were written down in.
    seen: u64,
    /// Rings when there are gifts.
    pub bell: Arc<Notify>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut books = self.exchange.books();
        books.members.remove(&self.id);
        books.generation += 1;
        books.compare();
    }
}

/// What others want of a series that is being asked.
#[derive(Clone, Debug)]
pub struct Together {
    /// With the statistics of everybody, and how far back the question has to reach (seconds).
    pub shape: Arc<Shape>,
    pub look_back: i64,
    /// The others' shapes.
    others: Vec<(u64, Arc<Shape>)>,
}

impl Together {
    /// The statistics of each of the others.
    pub fn others(&self) -> impl Iterator<Item = &[Stat]> {
        self.others.iter().map(|(_, shape)| shape.statistics.as_slice())
    }
}

impl Seat {
    /// Writes down what is wanted, where somebody else is here to compare with. `changed`: since the last time.
    pub fn publish<'a>(&mut self, wants: impl Iterator<Item = &'a Want>, changed: bool) {
        let mut books = self.exchange.books();
        let generation = books.generation;
        if generation == self.seen && !changed {
            return;
        }
        self.seen = generation;
        let alone = books.members.len() < 2;
        let Some(member) = books.members.get_mut(&self.id) else {
            return;
        };
        member.wants = Vec::new();
        if !alone {
            member.wants = wants.map(|want| (key(want), Arc::clone(&want.shape))).collect();
            member.wants.sort_by_key(|(key, _)| *key);
        }
        books.compare();
    }

    /// Whether nothing of what is wanted is wanted by others.
    pub fn is_alone(&self) -> bool {
        self.exchange.books().common.is_empty()
    }

    /// Claims a series until `until`. False where another one is asking for it.
    pub fn claim(&self, want: &Want, now: i64, until: i64) -> bool {
        let mut books = self.exchange.books();
        let Some(common) = books.common.get_mut(&key(want)) else {
            return true;
        };
        let others = common.claimed.filter(|claim| claim.by != self.id && now < claim.until);
        if others.is_some() {
            return false;
        }
        if common.fruitless >= PATIENCE && common.last == Some(self.id) {
            common.fruitless = 0;
            return false;
        }
        common.last = Some(self.id);
        common.answered = false;
        common.claimed = Some(Claim { by: self.id, until });
        true
    }

    /// What others want of a series; `None` where nobody does.
    pub fn together(&self, want: &Want) -> Option<Together> {
        let books = self.exchange.books();
        let common = books.common.get(&key(want))?;
        let others: Vec<(u64, Arc<Shape>)> = common
            .shapes
            .iter()
            .filter(|(member, shape)| *member != self.id && same_metric(shape, &want.shape))
            .cloned()
            .collect();
        if others.is_empty() {
            return None;
        }
        let mut shape = Shape::clone(&want.shape);
        let mut look_back = 0;
        for (member, other) in &others {
            look_back = books
                .members
                .get(member)
                .map_or(look_back, |member| look_back.max(member.look_back));
            for stat in &other.statistics {
                if !shape.statistics.contains(stat) {
                    shape.statistics.push(stat.clone());
                }
            }
        }
        Some(Together {
            shape: Arc::new(shape),
            look_back,
            others,
        })
    }

    /// Gives the others their answers, in the order of [`Together::others`].
    pub fn give(
        &self,
        want: &Want,
        together: &Together,
        answers: impl Iterator<Item = Option<Answer>>,
        when: ((i64, i64), i64),
    ) {
        let mut books = self.exchange.books();
        if let Some(common) = books.common.get_mut(&key(want)) {
            common.fruitless = 0;
            common.answered = true;
        }
        for ((member, shape), answer) in together.others.iter().zip(answers) {
            let Some((answer, member)) = answer.zip(books.members.get_mut(member)) else {
                continue;
            };
            let gift = Gift {
                shape: Arc::clone(shape),
                dimensions: Arc::clone(&want.dimensions),
                answer,
                window: when.0,
                asked_at: when.1,
            };
            member.gifts.insert(key(want), gift);
        }
    }

    /// The round is over: claims end, and the others are told of their gifts.
    pub fn finish(&self) {
        let mut books = self.exchange.books();
        for common in books.common.values_mut() {
            if common.claimed.is_some_and(|claim| claim.by == self.id) {
                common.claimed = None;
                common.fruitless += u32::from(!std::mem::take(&mut common.answered));
            }
        }
        for member in books.members.values().filter(|member| !member.gifts.is_empty()) {
            member.bell.notify_one();
        }
    }

    /// What others asked for.
    pub fn gifts(&self) -> Vec<Gift> {
        let mut books = self.exchange.books();
        let gifts = books
            .members
            .get_mut(&self.id)
            .map(|member| std::mem::take(&mut member.gifts));
        gifts.unwrap_or_default().into_values().collect()
    }
}

fn same_metric(one: &Shape, other: &Shape) -> bool {
    one.metric == other.metric && one.namespace == other.namespace
}

impl Books {
    /// Finds the series that more than one member wants.
    fn compare(&mut self) {
        let mut found: HashMap<Key, Common> = HashMap::new();
        for (member, own) in &self.members {
            for (other, theirs) in &self.members {
                if other == member {
                    continue;
                }
                // The shorter list is looked up in the longer one.
                if theirs.wants.len() < own.wants.len() {
                    continue;
                }
                for (key, _) in &own.wants {
                    if theirs.of(key).is_some() {
                        found.entry(*key).or_default();
                    }
                }
            }
        }
        for (key, common) in &mut found {
            if let Some(before) = self.common.remove(key) {
                common.claimed = before.claimed.filter(|claim| self.members.contains_key(&claim.by));
                (common.last, common.fruitless) = (before.last, before.fruitless);
            }
            for (id, member) in &self.members {
                common
                    .shapes
                    .extend(member.of(key).map(|shape| (*id, Arc::clone(shape))));
            }
        }
        self.common = found;
    }
}

impl Member {
    fn of(&self, key: &Key) -> Option<&Arc<Shape>> {
        let position = self.wants.binary_search_by_key(key, |(key, _)| *key).ok()?;
        self.wants.get(position).map(|(_, shape)| shape)
    }
}

#[cfg(test)]
mod tests {
    use super::super::want::{Class, Names};
    use super::*;
    use crate::aws::catalogue::Kind;

    fn want(metric: &str, statistics: &[Stat]) -> Want {
        let mut names = Names::default();
        Want {
            shape: Arc::new(Shape {
                namespace: names.name("n"),
                metric: names.name(metric),
                kind: Kind::Gauge,
                unit: names.name("Count"),
                statistics: statistics.to_vec(),
                period: 60,
                class: Class::Core,
                fill: false,
                heartbeat: false,
            }),
            dimensions: names.dimensions(&[("a", "1")]),
            resource: names.name("r"),
            exists_from: 0,
        }
    }

    fn answer() -> Answer {
        let mut answer = Answer::of_width(1);
        answer.push(60, [1.0]);
        answer
    }

    #[test]
    fn the_first_who_claims_asks_for_all_and_gives_the_answer_on() {
        let exchange = Arc::new(Exchange::default());
        let (mut one, mut other) = (exchange.sit_down(1_200), exchange.sit_down(2_400));
        let mine = [want("m", &[Stat::Sum]), want("alone", &[Stat::Sum])];
        let theirs = [want("m", &[Stat::Average])];
        one.publish(mine.iter(), true);
        assert!(one.is_alone(), "the other has said nothing yet");
        other.publish(theirs.iter(), true);
        assert!(one.claim(&mine[0], 0, 60) && one.claim(&mine[1], 0, 60));
        assert!(!other.claim(&theirs[0], 0, 60), "it is being asked");
        assert!(other.claim(&theirs[0], 60, 120), "a claim ends by itself");
        assert!(one.together(&mine[1]).is_none());
        let together = one.together(&mine[0]).unwrap();
        assert_eq!(together.shape.statistics, [Stat::Sum, Stat::Average]);
        assert_eq!(together.look_back, 2_400);
        assert_eq!(together.others().collect::<Vec<_>>(), [[Stat::Average]]);
        one.give(&mine[0], &together, [Some(answer())].into_iter(), ((0, 120), 100));
        one.finish();
        let gifts = other.gifts();
        assert_eq!((gifts.len(), gifts[0].window, gifts[0].asked_at), (1, (0, 120), 100));
        assert!(other.gifts().is_empty() && one.gifts().is_empty());
    }

    #[test]
    fn who_gets_no_answer_lets_the_others_try() {
        let exchange = Arc::new(Exchange::default());
        let (mut one, mut other) = (exchange.sit_down(1_200), exchange.sit_down(1_200));
        let mine = [want("m", &[Stat::Sum])];
        one.publish(mine.iter(), true);
        other.publish(mine.iter(), true);
        for _ in 0..PATIENCE {
            assert!(one.claim(&mine[0], 0, 60));
            one.finish();
        }
        assert!(!one.claim(&mine[0], 0, 60), "its turn is over");
        assert!(other.claim(&mine[0], 0, 60));
    }

    #[test]
    fn nothing_is_shared_when_the_other_has_left_or_wants_something_else_now() {
        let exchange = Arc::new(Exchange::default());
        let (mut one, mut other) = (exchange.sit_down(1_200), exchange.sit_down(1_200));
        let mine = [want("m", &[Stat::Sum])];
        one.publish(mine.iter(), true);
        other.publish(mine.iter(), true);
        assert!(other.claim(&mine[0], 0, 60) && !one.claim(&mine[0], 0, 60));
        other.publish([want("n", &[Stat::Sum])].iter(), true);
        assert!(one.is_alone() && one.claim(&mine[0], 0, 60));
        other.publish(mine.iter(), true);
        assert!(!one.is_alone());
        drop(other);
        assert!(one.is_alone() && one.claim(&mine[0], 0, 60));
        one.publish(mine.iter(), false);
        assert!(
            exchange.books().members[&one.id].wants.is_empty(),
            "nothing is kept for nobody"
        );
    }
}
