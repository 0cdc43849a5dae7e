//! Alert rules. So far one kind: a threshold over a metric, printed with its resolution steps.
