//! Why a table or index is throttled, and how: from fifteen minutes of its throttle events, their causes, and its use.

/// Minutes that are looked at.
pub const WINDOW: usize = 15;
/// Below this use of what is provisioned the table as a whole had room: one key range had not.
const HOT_BELOW: f64 = 80.0;

/// What refused the requests, by the metrics of its causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// One key range is asked for more than a partition gives.
    HotPartition,
    /// More than is provisioned.
    ProvisionedCapacity,
    /// More than the maximum that was set for an on-demand table.
    OnDemandMax,
    /// More than the account may have.
    AccountLimit,
    /// Neither causes nor use are known.
    Unknown,
}

impl Cause {
    /// Those that CloudWatch tells apart, in the order of [`Minute::causes`].
    pub const TOLD: [Cause; 4] = [
        Cause::HotPartition,
        Cause::ProvisionedCapacity,
        Cause::OnDemandMax,
        Cause::AccountLimit,
    ];

    /// The value of the attribute.
    pub fn name(self) -> &'static str {
        match self {
            Cause::HotPartition => "hot_partition",
            Cause::ProvisionedCapacity => "provisioned_capacity",
            Cause::OnDemandMax => "on_demand_max",
            Cause::AccountLimit => "account_limit",
            Cause::Unknown => "unknown",
        }
    }

    /// The middle of CloudWatch's name: `Read<...>ThrottleEvents`.
    pub fn metric(self) -> &'static str {
        match self {
            Cause::HotPartition => "KeyRangeThroughput",
            Cause::ProvisionedCapacity => "ProvisionedThroughput",
            Cause::OnDemandMax => "MaxOnDemandThroughput",
            Cause::AccountLimit => "AccountLimit",
            Cause::Unknown => "",
        }
    }
}

/// How throttled minutes lie in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// At most two of fifteen.
    Burst,
    Intermittent,
    /// Five in a row, or ten of fifteen.
    Sustained,
}

impl Pattern {
    /// The value of the attribute.
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Burst => "burst",
            Pattern::Intermittent => "intermittent",
            Pattern::Sustained => "sustained",
        }
    }
}

/// One minute of one direction of a table or index.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Minute {
    /// Throttle events of any cause.
    pub throttles: f64,
    /// By [`Cause::TOLD`].
    pub causes: [f64; 4],
    /// Percent of what is provisioned or allowed, where that is known.
    pub utilization: Option<f64>,
}

impl Minute {
    /// Whether something was refused.
    pub fn is_throttled(&self) -> bool {
        self.throttles > 0.0 || self.causes.iter().any(|events| *events > 0.0)
    }
}

/// What a window says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Throttled minutes.
    pub minutes: u32,
    pub cause: Cause,
    pub pattern: Pattern,
    /// CloudWatch told no cause: it follows from the use.
    pub inferred: bool,
}

/// Judges the last minutes, oldest first; `None` where none was throttled.
pub fn judge(minutes: &[Minute]) -> Option<Verdict> {
    let window = &minutes[minutes.len().saturating_sub(WINDOW)..];
    let throttled = window.iter().filter(|minute| minute.is_throttled()).count();
    if throttled == 0 {
        return None;
    }
    let (cause, inferred) = cause_of(window);
    Some(Verdict {
        minutes: throttled as u32,
        cause,
        pattern: pattern_of(window, throttled),
        inferred,
    })
}

fn pattern_of(window: &[Minute], throttled: usize) -> Pattern {
    let mut in_row = 0;
    let mut longest = 0;
    for minute in window {
        in_row = if minute.is_throttled() { in_row + 1 } else { 0 };
        longest = longest.max(in_row);
    }
    if longest >= 5 || throttled >= 10 {
        Pattern::Sustained
    } else if throttled <= 2 {
        Pattern::Burst
    } else {
        Pattern::Intermittent
    }
}

/// The cause with the most events, else what the use says.
fn cause_of(window: &[Minute]) -> (Cause, bool) {
    let mut largest = (0.0, Cause::Unknown);
    for (position, cause) in Cause::TOLD.into_iter().enumerate() {
        let events: f64 = window.iter().map(|minute| minute.causes[position]).sum();
        if events > largest.0 {
            largest = (events, cause);
        }
    }
    if largest.1 != Cause::Unknown {
        return (largest.1, false);
    }
    let used = window.iter().filter(|minute| minute.is_throttled());
    let used = used.filter_map(|minute| minute.utilization).reduce(f64::max);
    let cause = match used {
        Some(used) if used < HOT_BELOW => Cause::HotPartition,
        Some(_) => Cause::ProvisionedCapacity,
        None => Cause::Unknown,
    };
    (cause, true)
}

/// Whether an index holds back its table: it refuses writes in a minute in which the table itself has no reason to.
pub fn is_backpressure(index: &Minute, table: &Minute) -> bool {
    index.throttles > 0.0 && table.causes.iter().all(|events| *events == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window by its throttled minutes.
    fn window(throttled: &[usize]) -> Vec<Minute> {
        let mut minutes = vec![Minute::default(); WINDOW];
        for at in throttled {
            minutes[*at].throttles = 3.0;
        }
        minutes
    }

    fn pattern(throttled: &[usize]) -> Option<Pattern> {
        judge(&window(throttled)).map(|verdict| verdict.pattern)
    }

    #[test]
    fn patterns_follow_the_rule() {
        assert_eq!(pattern(&[]), None);
        assert_eq!(pattern(&[3]), Some(Pattern::Burst));
        assert_eq!(pattern(&[3, 4]), Some(Pattern::Burst));
        assert_eq!(pattern(&[3, 4, 9]), Some(Pattern::Intermittent));
        assert_eq!(pattern(&[3, 4, 5, 6]), Some(Pattern::Intermittent));
        assert_eq!(pattern(&[3, 4, 5, 6, 7]), Some(Pattern::Sustained));
        assert_eq!(pattern(&[0, 1, 3, 4, 6, 7, 9, 10, 12, 13]), Some(Pattern::Sustained));
        assert_eq!(pattern(&[0, 1, 3, 4, 6, 7, 9, 10, 12]), Some(Pattern::Intermittent));
    }

    #[test]
    fn older_minutes_than_fifteen_do_not_count() {
        let mut minutes = window(&[0, 1, 2, 3, 4]);
        minutes.extend(vec![Minute::default(); 5]);
        assert_eq!(judge(&minutes), None);
    }

    #[test]
    fn the_cause_with_the_most_events_counts() {
        for (position, cause) in Cause::TOLD.into_iter().enumerate() {
            let mut minutes = window(&[3, 4]);
            minutes[3].causes = [1.0; 4];
            minutes[4].causes[position] = 2.0;
            let verdict = judge(&minutes).unwrap();
            assert_eq!((verdict.cause, verdict.inferred), (cause, false));
        }
    }

    #[test]
    fn without_causes_the_use_tells() {
        let with = |used: Option<f64>| {
            let mut minutes = window(&[3, 4]);
            // A busy minute without a throttle says nothing.
            minutes[9].utilization = Some(100.0);
            minutes[3].utilization = used;
            let verdict = judge(&minutes).unwrap();
            assert!(verdict.inferred);
            verdict.cause
        };
        assert_eq!(with(Some(30.0)), Cause::HotPartition);
        assert_eq!(with(Some(80.0)), Cause::ProvisionedCapacity);
        assert_eq!(with(None), Cause::Unknown);
    }

    #[test]
    fn an_index_presses_back_where_its_table_has_no_cause_of_its_own() {
        let index = window(&[3])[3];
        let mut table = Minute::default();
        assert!(is_backpressure(&index, &table));
        assert!(!is_backpressure(&Minute::default(), &table));
        table.causes[1] = 1.0;
        assert!(!is_backpressure(&index, &table));
    }
}
