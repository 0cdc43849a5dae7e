//! Signals computed from settled points: how much of its capacity a table or index used.

use super::discovery::{Discovery, NAMESPACE};
use crate::aws::cloudwatch::{Builder, OwnPoint, SeriesId, Settled, Tracks};

/// Adds `aws.dynamodb.capacity.utilization` for a point of consumed capacity; nothing where no ceiling is known. Returns
/// what it added.
pub fn utilization(point: &Settled, discovery: &Discovery, tracks: &Tracks, into: &mut Builder) -> Option<f64> {
    let want = &point.want;
    let direction = match &*want.shape.metric {
        "ConsumedReadCapacityUnits" => "Read",
        "ConsumedWriteCapacityUnits" => "Write",
        _ => return None,
    };
    // The series by Source are parts of the same consumption.
    if want.dimension("Source").is_some() {
        return None;
    }
    let (table, consumed) = (want.dimension("TableName")?, point.values.first()?);
    let index = want.dimension("GlobalSecondaryIndexName");
    let (ceiling, basis) = ceiling(discovery, tracks, table, index, direction)?;
    let used = consumed / want.shape.period as f64 / ceiling * 100.0;
    let mut attributes = vec![("TableName", table), ("Direction", direction), ("Basis", basis)];
    attributes.extend(index.map(|index| ("GlobalSecondaryIndexName", index)));
    into.add_derived(
        &want.resource,
        &OwnPoint {
            name: "aws.dynamodb.capacity.utilization",
            unit: "%",
            attributes: &attributes,
            start: point.at,
            time: point.end(),
            value: used,
        },
    );
    Some(used)
}

/// Units per second, and where the number comes from.
fn ceiling(
    discovery: &Discovery,
    tracks: &Tracks,
    table: &str,
    index: Option<&str>,
    direction: &str,
) -> Option<(f64, &'static str)> {
    let mut dimensions = vec![("TableName", table)];
    dimensions.extend(index.map(|index| ("GlobalSecondaryIndexName", index)));
    let metric = |name: String, dimensions: &[(&str, &str)]| {
        let value = tracks.newest_value(&SeriesId::new(NAMESPACE, &name, dimensions));
        value.filter(|value| *value > 0.0)
    };
    let info = discovery.table(table)?;
    let limits = info.part(index).map(|part| part.limits).unwrap_or_default();
    let described = if direction == "Read" { limits.read } else { limits.write };
    if info.on_demand != Some(true) {
        let provisioned = described.or_else(|| metric(format!("Provisioned{direction}CapacityUnits"), &dimensions));
        return Some((provisioned?, "provisioned"));
    }
    if let Some(maximum) = described {
        return Some((maximum, "on_demand_max"));
    }
    let account = metric(format!("AccountMaxTableLevel{direction}s"), &[]);
    Some((account?, "account_table_max"))
}
