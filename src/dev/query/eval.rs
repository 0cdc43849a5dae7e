//! The rows of a segment that fit a query, column by column.

use super::{Bits, KINDS, Key, Node, Op, Operand, Query};
use crate::dev::query::find::Needle;
use crate::dev::query::units::Quantity;
use crate::dev::store::{Pair, Place, Segment, Sym, ValueKind};
use crate::pdata::Signal;

/// Times from the first up to, without, the second, nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: u64,
    pub to: u64,
}

impl Window {
    /// Everything.
    pub const ALL: Window = Window { from: 0, to: u64::MAX };

    /// Whether a time is in it.
    pub fn has(&self, time: u64) -> bool {
        self.from <= time && time < self.to
    }
}

/// What a query may ask that does not stand in a row.
pub trait Extras {
    /// Nanoseconds that a span worked itself.
    fn self_time(&self, segment: &Segment, row: usize) -> Option<u64>;
    /// Rules that found something in a span.
    fn rules(&self, segment: &Segment, row: usize) -> Vec<String>;
}

/// Knows nothing.
pub struct NoExtras;

impl Extras for NoExtras {
    fn self_time(&self, _: &Segment, _: usize) -> Option<u64> {
        None
    }

    fn rules(&self, _: &Segment, _: usize) -> Vec<String> {
        Vec::new()
    }
}

impl Query {
    /// The rows of a segment that fit and whose time is in the window.
    pub fn rows(&self, segment: &Segment, window: Window, extras: &dyn Extras) -> Bits {
        let len = segment.len();
        if len == 0 || segment.first_time >= window.to || segment.last_time < window.from {
            return Bits::none(len);
        }
        let is_whole = window.from <= segment.first_time && segment.last_time < window.to;
        let within = if is_whole {
            Bits::all(len)
        } else {
            Bits::of(len, |row| window.has(segment.starts[row]))
        };
        let search = Search { segment, extras };
        search.node(&self.root, &within).and(&within)
    }
}

struct Search<'a> {
    segment: &'a Segment,
    extras: &'a dyn Extras,
}

impl Search<'_> {
    /// The rows that fit. Only those in `among` are asked for; others may be in the answer too.
    fn node(&self, node: &Node, among: &Bits) -> Bits {
        let len = self.segment.len();
        match node {
            Node::All => Bits::all(len),
            Node::And(nodes) => {
                let mut left = among.clone();
                // What needs a look at each row comes when the others have left few.
                let (slow, quick): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| is_slow(node));
                for node in quick.into_iter().chain(slow) {
                    if left.is_empty() {
                        break;
                    }
                    let fitting = self.node(node, &left);
                    left = left.and(&fitting);
                }
                left
            }
            Node::Or(nodes) => {
                let mut sum = Bits::none(len);
                for node in nodes {
                    sum = sum.or(&self.node(node, among));
                }
                sum
            }
            Node::Not(node) => self.node(node, among).inverse(),
            Node::Text(needle) => self.text(needle),
            Node::Has(key) => self.has(key, among),
            Node::Compare(key, op, operand) => self.compare(key, *op, operand, among),
            Node::In(key, operands) => {
                let mut sum = Bits::none(len);
                for operand in operands {
                    sum = sum.or(&self.compare(key, Op::Eq, operand, among));
                }
                sum
            }
        }
    }

    fn compare(&self, key: &Key, op: Op, operand: &Operand, among: &Bits) -> Bits {
        match op {
            Op::Ne => return self.compare(key, Op::Eq, operand, among).inverse(),
            Op::MatchesNot => return self.compare(key, Op::Matches, operand, among).inverse(),
            _ => {}
        }
        let segment = self.segment;
        let len = segment.len();
        let traces = segment.signal == Signal::Traces;
        let logs = segment.signal == Signal::Logs;
        let none = || Bits::none(len);
        match key {
            Key::Signal => self.if_all(segment.signal as u64 == operand.number && op == Op::Eq),
            Key::Service => self.by_resource(|entry| holds(segment.texts.get(entry.service), op, operand)),
            Key::Run => self.by_resource(|entry| holds(segment.texts.get(entry.run), op, operand)),
            Key::Scope => {
                let fitting: Vec<bool> = segment
                    .scopes
                    .iter()
                    .map(|entry| holds(segment.texts.get(entry.name), op, operand))
                    .collect();
                Bits::of(len, |row| fitting[usize::from(segment.scope[row])])
            }
            Key::Name => self.by_text(&segment.names, op, operand),
            Key::Body if logs => self.by_text(&segment.messages, op, operand),
            Key::Kind if traces => self.by_name(op, operand, |row| {
                KINDS.get(usize::from(segment.kinds[row])).copied().unwrap_or_default()
            }),
            Key::Status if traces => match op {
                Op::Matches | Op::Contains => self.by_name(op, operand, |row| {
                    super::STATUSES[usize::from(segment.statuses[row].min(2))]
                }),
                _ => self.by_number(op, operand.number, |row| u64::from(segment.statuses[row])),
            },
            Key::Severity if logs => self.severity(op, operand),
            Key::Duration if traces => {
                let (wanted, longest) = (operand.number, segment.longest);
                if matches!(op, Op::Gt | Op::Ge | Op::Eq) && longest < wanted {
                    return none();
                }
                self.by_number(op, wanted, |row| segment.durations[row])
            }
            Key::SelfTime if traces => {
                let wanted = operand.number;
                Bits::of(len, |row| {
                    // No span works longer itself than it lasts.
                    let hopeless = matches!(op, Op::Gt | Op::Ge) && segment.durations[row] < wanted;
                    among.has(row)
                        && !hopeless
                        && self
                            .extras
                            .self_time(segment, row)
                            .is_some_and(|own| ordered(own.cmp(&wanted), op))
                })
            }
            Key::Time => self.by_number(op, operand.number, |row| segment.starts[row]),
            Key::Trace if !segment.traces.is_empty() => self.by_hex(op, operand, |row| segment.traces[row]),
            Key::Span if !segment.spans.is_empty() => self.by_hex(op, operand, |row| segment.spans[row].to_be_bytes()),
            Key::Parent if traces => self.by_hex(op, operand, |row| segment.parents[row].to_be_bytes()),
            Key::Alert if traces => Bits::of(len, |row| {
                among.has(row)
                    && self
                        .extras
                        .rules(segment, row)
                        .iter()
                        .any(|rule| holds(rule, op, operand))
            }),
            Key::Attribute(name, placed) => self.attribute(name, placed.as_ref(), |pairs, key, place| {
                self.pairs_with(pairs, key, place, op, operand);
            }),
            _ => none(),
        }
    }

    fn has(&self, key: &Key, among: &Bits) -> Bits {
        let segment = self.segment;
        let len = segment.len();
        let traces = segment.signal == Signal::Traces;
        match key {
            Key::Attribute(name, placed) => self.attribute(name, placed.as_ref(), |pairs, key, place| {
                let all = segment.pairs.all().iter().enumerate();
                pairs.extend(
                    all.filter(|(_, pair)| pair.key == key && fits(pair.place, place))
                        .map(|(at, _)| at as u32),
                );
            }),
            Key::Signal | Key::Time => Bits::all(len),
            Key::Service => self.by_resource(|entry| entry.service != 0),
            Key::Run => self.by_resource(|entry| entry.run != 0),
            Key::Scope => Bits::of(len, |row| segment.scope_of(row).name != 0),
            Key::Name => Bits::of(len, |row| segment.names[row] != 0),
            Key::Body => self
                .if_all(segment.signal == Signal::Logs)
                .and(&Bits::of(len, |row| segment.messages[row] != 0)),
            Key::Kind | Key::Status | Key::Duration | Key::SelfTime => self.if_all(traces),
            Key::Severity => Bits::of(len, |row| segment.signal == Signal::Logs && segment.kinds[row] != 0),
            Key::Trace => Bits::of(len, |row| segment.trace(row) != [0; 16]),
            Key::Span => Bits::of(len, |row| segment.span(row) != 0),
            Key::Parent => Bits::of(len, |row| traces && segment.parents[row] != 0),
            Key::Alert => Bits::of(len, |row| {
                traces && among.has(row) && !self.extras.rules(segment, row).is_empty()
            }),
        }
    }

    fn if_all(&self, holds: bool) -> Bits {
        let len = self.segment.len();
        if holds { Bits::all(len) } else { Bits::none(len) }
    }

    fn by_resource(&self, holds: impl Fn(&crate::dev::store::ResourceEntry) -> bool) -> Bits {
        let segment = self.segment;
        let fitting: Vec<bool> = segment.resources.iter().map(|entry| holds(entry)).collect();
        if !fitting.contains(&true) {
            return Bits::none(segment.len());
        }
        Bits::of(segment.len(), |row| fitting[usize::from(segment.resource[row])])
    }

    fn by_number(&self, op: Op, wanted: u64, number: impl Fn(usize) -> u64) -> Bits {
        Bits::of(self.segment.len(), |row| ordered(number(row).cmp(&wanted), op))
    }

    fn by_name<'n>(&self, op: Op, operand: &Operand, name: impl Fn(usize) -> &'n str) -> Bits {
        let lower = Operand {
            text: operand.text.to_lowercase(),
            ..operand.clone()
        };
        Bits::of(self.segment.len(), |row| holds(name(row), op, &lower))
    }

    /// A column of texts: each distinct one is asked once.
    fn by_text(&self, column: &[Sym], op: Op, operand: &Operand) -> Bits {
        let texts = &self.segment.texts;
        if op == Op::Eq && operand.quantity.is_none() {
            return match texts.find(&operand.text) {
                Some(sym) => Bits::of(column.len(), |row| column[row] == sym),
                None => Bits::none(column.len()),
            };
        }
        // 0 not asked yet, 1 no, 2 yes.
        let mut asked = vec![0_u8; texts.count()];
        Bits::of(column.len(), |row| {
            let sym = column[row];
            let answer = &mut asked[sym as usize];
            if *answer == 0 {
                *answer = 1 + u8::from(holds(texts.get(sym), op, operand));
            }
            *answer == 2
        })
    }

    /// `severity=error` means the level, `severity=18` the number.
    fn severity(&self, op: Op, operand: &Operand) -> Bits {
        let kinds = &self.segment.kinds;
        if matches!(op, Op::Matches | Op::Contains) {
            let texts = &self.segment.texts;
            return Bits::of(kinds.len(), |row| {
                holds(texts.get(self.segment.parents[row] as Sym), op, operand)
            });
        }
        if operand.quantity.is_some() {
            return self.by_number(op, operand.number, |row| u64::from(kinds[row]));
        }
        let level = |number: u64| number.div_ceil(4);
        let wanted = level(operand.number);
        Bits::of(kinds.len(), |row| {
            kinds[row] != 0 && ordered(level(u64::from(kinds[row])).cmp(&wanted), op)
        })
    }

    /// Ids: the whole, or a prefix of at least one digit.
    fn by_hex<const N: usize>(&self, op: Op, operand: &Operand, id: impl Fn(usize) -> [u8; N]) -> Bits {
        let len = self.segment.len();
        let wanted = operand.text.to_lowercase();
        if op == Op::Eq {
            let mut whole = [0; N];
            if hex::decode_to_slice(&wanted, &mut whole).is_ok() {
                return Bits::of(len, |row| id(row) == whole);
            }
            return Bits::of(len, |row| {
                wanted.len() < 2 * N && hex::encode(id(row)).starts_with(&wanted)
            });
        }
        Bits::of(len, |row| holds(&hex::encode(id(row)), op, operand))
    }

    /// Rows with one of the attributes that `pick` puts in the list. A name with a prefix may also be the whole name.
    fn attribute(
        &self,
        name: &str,
        placed: Option<&(Place, String)>,
        pick: impl Fn(&mut Vec<u32>, Sym, Option<Place>),
    ) -> Bits {
        let mut pairs = Vec::new();
        if let Some(key) = self.segment.texts.find(name) {
            pick(&mut pairs, key, None);
        }
        if let Some((place, name)) = placed
            && let Some(key) = self.segment.texts.find(name)
        {
            pick(&mut pairs, key, Some(*place));
        }
        self.rows_with(&pairs)
    }

    fn pairs_with(&self, pairs: &mut Vec<u32>, key: Sym, place: Option<Place>, op: Op, operand: &Operand) {
        const KINDS: [ValueKind; 8] = [
            ValueKind::None,
            ValueKind::String,
            ValueKind::Bool,
            ValueKind::Int,
            ValueKind::Double,
            ValueKind::Bytes,
            ValueKind::Array,
            ValueKind::Map,
        ];
        let (texts, all) = (&self.segment.texts, &self.segment.pairs);
        if op == Op::Eq && operand.quantity.is_none() {
            let Some(value) = texts.find(&operand.text) else { return };
            for at in [Place::Own, Place::Event, Place::Resource, Place::Scope] {
                if !fits(at, place) {
                    continue;
                }
                pairs.extend(KINDS.into_iter().filter_map(|kind| {
                    all.find(Pair {
                        place: at,
                        kind,
                        key,
                        value,
                    })
                }));
            }
            return;
        }
        for (at, pair) in all.all().iter().enumerate() {
            if pair.key == key && fits(pair.place, place) && holds(texts.get(pair.value), op, operand) {
                pairs.push(at as u32);
            }
        }
    }

    /// Rows that have one of these attributes, themselves or by their resource or scope.
    fn rows_with(&self, pairs: &[u32]) -> Bits {
        let segment = self.segment;
        let len = segment.len();
        let mut found = Bits::none(len);
        if pairs.is_empty() {
            return found;
        }
        let mut wanted = Bits::none(segment.pairs.all().len());
        let (mut of_row, mut of_resource, mut of_scope) = (false, false, false);
        for pair in pairs {
            match segment.pairs.get(*pair).place {
                Place::Resource => of_resource = true,
                Place::Scope => of_scope = true,
                Place::Own | Place::Event => {
                    of_row = true;
                    for row in segment.rows_with(*pair).unwrap_or_default() {
                        found.set(usize::from(*row));
                    }
                }
            }
            wanted.set(*pair as usize);
        }
        let any = |list: &[u32]| list.iter().any(|pair| wanted.has(*pair as usize));
        if of_row && !segment.complete {
            found = found.or(&Bits::of(len, |row| any(segment.attributes(row))));
        }
        if of_resource {
            found = found.or(&self.by_resource(|entry| any(&entry.pairs)));
        }
        if of_scope {
            let fitting: Vec<bool> = segment.scopes.iter().map(|entry| any(&entry.pairs)).collect();
            found = found.or(&Bits::of(len, |row| fitting[usize::from(segment.scope[row])]));
        }
        found
    }

    /// Every distinct text is looked at once, all of them in one pass.
    fn text(&self, needle: &Needle) -> Bits {
        let segment = self.segment;
        let (texts, len) = (&segment.texts, segment.len());
        let mut hits = Bits::none(texts.count());
        let mut at = 0;
        let mut any = false;
        while let Some(start) = needle.find_from(texts.buffer(), at) {
            let (sym, range) = texts.covering(start);
            // A hit may run over the border of two texts: then it is none.
            if needle.is_in(texts.buffer().get(start..range.end).unwrap_or_default()) {
                hits.set(sym as usize);
                any = true;
            }
            at = range.end.max(start + 1);
        }
        if !any {
            return Bits::none(len);
        }
        let pairs = segment.pairs.all().iter().enumerate();
        let pairs: Vec<u32> = pairs
            .filter(|(_, pair)| hits.has(pair.value as usize))
            .map(|(at, _)| at as u32)
            .collect();
        let in_columns = Bits::of(len, |row| {
            hits.has(segment.names[row] as usize) || hits.has(segment.messages[row] as usize)
        });
        in_columns.or(&self.rows_with(&pairs))
    }
}

fn is_slow(node: &Node) -> bool {
    match node {
        Node::Compare(Key::SelfTime | Key::Alert, ..)
        | Node::Has(Key::Alert)
        | Node::In(Key::SelfTime | Key::Alert, _) => true,
        Node::Not(node) => is_slow(node),
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(is_slow),
        _ => false,
    }
}

fn fits(place: Place, wanted: Option<Place>) -> bool {
    wanted.is_none_or(|wanted| wanted == place)
}

fn ordered(order: std::cmp::Ordering, op: Op) -> bool {
    match op {
        Op::Eq => order.is_eq(),
        Op::Ne => order.is_ne(),
        Op::Lt => order.is_lt(),
        Op::Le => order.is_le(),
        Op::Gt => order.is_gt(),
        Op::Ge => order.is_ge(),
        Op::Matches | Op::MatchesNot | Op::Contains => false,
    }
}

/// Whether a text fits. Numbers are compared as numbers where both sides are; a value with another unit is brought to
/// the same base, one without a unit counts as it stands.
pub(crate) fn holds(text: &str, op: Op, operand: &Operand) -> bool {
    match op {
        Op::Matches => return operand.regex.as_ref().is_some_and(|regex| regex.is_match(text)),
        Op::MatchesNot => return operand.regex.as_ref().is_some_and(|regex| !regex.is_match(text)),
        Op::Contains => return operand.needle.as_ref().is_some_and(|needle| needle.is_in(text)),
        Op::Eq if text == operand.text => return true,
        Op::Ne if text == operand.text => return false,
        _ => {}
    }
    if let Some(wanted) = operand.quantity {
        let have = super::units::quantity(text).map(Quantity::base);
        return match have.and_then(|have| have.partial_cmp(&wanted.base())) {
            Some(order) => ordered(order, op),
            None => op == Op::Ne,
        };
    }
    ordered(text.cmp(operand.text.as_str()), op)
}
