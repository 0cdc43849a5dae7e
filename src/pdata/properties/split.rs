//! Splitting loses nothing, and joins back to what it was.

use opentelemetry_proto::tonic::metrics::v1::ScopeMetrics;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;

use super::well_formed;
use crate::pdata::batch::count_points;
use crate::pdata::{Batch, Decoded, Origin};

/// Every item as text, with the headers it stands under, in order.
fn flat(decoded: &Decoded) -> Vec<String> {
    let mut items = Vec::new();
    match decoded {
        Decoded::Traces(request) => {
            for group in &request.resource_spans {
                for scope in &group.scope_spans {
                    let header = format!(
                        "{:?}{}{:?}{}",
                        group.resource, group.schema_url, scope.scope, scope.schema_url
                    );
                    items.extend(scope.spans.iter().map(|span| format!("{header}{span:?}")));
                }
            }
        }
        Decoded::Logs(request) => {
            for group in &request.resource_logs {
                for scope in &group.scope_logs {
                    let header = format!(
                        "{:?}{}{:?}{}",
                        group.resource, group.schema_url, scope.scope, scope.schema_url
                    );
                    items.extend(scope.log_records.iter().map(|record| format!("{header}{record:?}")));
                }
            }
        }
        Decoded::Metrics(request) => {
            for group in &request.resource_metrics {
                for scope in &group.scope_metrics {
                    let header = format!(
                        "{:?}{}{:?}{}",
                        group.resource, group.schema_url, scope.scope, scope.schema_url
                    );
                    for metric in &scope.metrics {
                        flat_metric(&header, metric, &mut items);
                    }
                }
            }
        }
    }
    items
}

fn flat_metric(header: &str, metric: &opentelemetry_proto::tonic::metrics::v1::Metric, items: &mut Vec<String>) {
    let mut bare = metric.clone();
    let points: Vec<String> = match &mut bare.data {
        None => vec![],
        Some(Data::Gauge(data)) => data.data_points.drain(..).map(|point| format!("{point:?}")).collect(),
        Some(Data::Sum(data)) => data.data_points.drain(..).map(|point| format!("{point:?}")).collect(),
        Some(Data::Histogram(data)) => data.data_points.drain(..).map(|point| format!("{point:?}")).collect(),
        Some(Data::ExponentialHistogram(data)) => {
            data.data_points.drain(..).map(|point| format!("{point:?}")).collect()
        }
        Some(Data::Summary(data)) => data.data_points.drain(..).map(|point| format!("{point:?}")).collect(),
    };
    // A metric without points must not be lost or doubled either.
    if points.is_empty() {
        items.push(format!("{header}{bare:?}"));
    }
    items.extend(points.into_iter().map(|point| format!("{header}{bare:?}{point}")));
}

/// Whether there are groups or metrics without items, which no piece is charged for.
fn has_empties(decoded: &Decoded) -> bool {
    match decoded {
        Decoded::Traces(request) => request
            .resource_spans
            .iter()
            .any(|group| group.scope_spans.is_empty() || group.scope_spans.iter().any(|scope| scope.spans.is_empty())),
        Decoded::Logs(request) => request.resource_logs.iter().any(|group| {
            group.scope_logs.is_empty() || group.scope_logs.iter().any(|scope| scope.log_records.is_empty())
        }),
        Decoded::Metrics(request) => request.resource_metrics.iter().any(|group| {
            let bare = |scope: &ScopeMetrics| {
                scope.metrics.is_empty() || scope.metrics.iter().any(|metric| count_points(metric) == 0)
            };
            group.scope_metrics.is_empty() || group.scope_metrics.iter().any(bare)
        }),
    }
}

fn batch_of(decoded: &Decoded) -> Batch {
    let items = decoded.count_items() as u32;
    Batch::from_wire(decoded.signal(), decoded.encode(), items, Origin::internal())
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn splits_by_items_without_loss((_, _, decoded) in well_formed(), max in 1usize..9) {
        let pieces = batch_of(&decoded).split_by_items(max).unwrap();
        let mut all = Vec::new();
        for piece in &pieces {
            prop_assert!(piece.items() <= max);
            all.extend(flat(piece.clone().decode().unwrap()));
        }
        prop_assert_eq!(&all, &flat(&decoded));
        let mut joined = Batch::join(decoded.signal(), pieces, Origin::internal());
        prop_assert_eq!(joined.items(), decoded.count_items());
        prop_assert_eq!(flat(joined.decode().unwrap()), all);
    }

    #[test]
    fn splits_once_where_it_is_told((_, _, decoded) in well_formed(), first in 0usize..12) {
        let items = decoded.count_items();
        let (left, right) = batch_of(&decoded).split_at_items(first).unwrap();
        prop_assert_eq!(left.items(), first.min(items));
        prop_assert_eq!(right.as_ref().map_or(0, Batch::items), items - first.min(items));
        prop_assert_eq!(right.is_some(), first < items);
    }

    #[test]
    fn splits_by_bytes_without_loss((_, _, decoded) in well_formed(), max in 1usize..900) {
        let pieces = batch_of(&decoded).split_by_bytes(max).unwrap();
        let mut all = Vec::new();
        let has_empties = has_empties(&decoded);
        for piece in &pieces {
            prop_assert!(piece.wire_len() <= max || piece.items() <= 1 || has_empties);
            all.extend(flat(piece.clone().decode().unwrap()));
        }
        prop_assert_eq!(all, flat(&decoded));
    }
}
