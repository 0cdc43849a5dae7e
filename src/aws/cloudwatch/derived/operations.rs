//! Numbers of a whole table out of those of its operations: throttles and errors are published by operation only.

/// What one operation did in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Operation {
    /// Requests that succeeded: the latency's sample count.
    pub successes: f64,
    /// Milliseconds of all of them together.
    pub latency_sum: f64,
    pub latency_p99: Option<f64>,
    pub throttled: f64,
    pub system_errors: f64,
}

/// The same of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Table {
    pub throttled: f64,
    pub system_errors: f64,
    /// Milliseconds; `None` without a request. Weighted by the number of requests.
    pub latency_mean: Option<f64>,
    /// Of the slowest operation. Percentiles do not add up, so there is none of the table.
    pub latency_p99_max: Option<f64>,
}

/// Adds operations up.
pub fn table<'a>(operations: impl Iterator<Item = &'a Operation> + Clone) -> Table {
    let sum = |of: fn(&Operation) -> f64| -> f64 { operations.clone().map(of).sum() };
    let successes = sum(|operation| operation.successes);
    let p99 = operations.clone().filter_map(|operation| operation.latency_p99);
    Table {
        throttled: sum(|operation| operation.throttled),
        system_errors: sum(|operation| operation.system_errors),
        latency_mean: (successes > 0.0).then(|| sum(|operation| operation.latency_sum) / successes),
        latency_p99_max: p99.reduce(f64::max),
    }
}

/// Shares of an operation's requests that were throttled and that failed inside AWS; `None` without a request.
pub fn error_ratios(operation: &Operation) -> Option<(f64, f64)> {
    let all = operation.successes + operation.throttled + operation.system_errors;
    (all > 0.0).then(|| (operation.throttled / all, operation.system_errors / all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_the_sum_and_the_weighted_mean_of_its_operations() {
        let get = Operation {
            successes: 90.0,
            latency_sum: 180.0,
            latency_p99: Some(9.0),
            throttled: 10.0,
            system_errors: 0.0,
        };
        let scan = Operation {
            successes: 10.0,
            latency_sum: 500.0,
            latency_p99: Some(80.0),
            throttled: 0.0,
            system_errors: 2.0,
        };
        let operations = [get, scan];
        let of = table(operations.iter());
        assert_eq!((of.throttled, of.system_errors), (10.0, 2.0));
        assert_eq!((of.latency_mean, of.latency_p99_max), (Some(6.8), Some(80.0)));
        assert_eq!(error_ratios(&get), Some((0.1, 0.0)));
        assert_eq!(error_ratios(&Operation::default()), None);
        assert_eq!(table([].iter()), Table::default());
    }
}
