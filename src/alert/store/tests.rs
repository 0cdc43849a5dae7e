use super::*;
use crate::alert::promql::Expression;

fn select(store: &mut Store, text: &str) -> SelectionId {
    let expression = Expression::parse(text).unwrap();
    let mut id = 0;
    expression.selectors(&mut |selector| id = store.select(selector.name.as_deref(), &selector.matchers));
    id
}

fn intern(store: &mut Store, name: &str, table: &str) -> Result<SeriesId, NotKept> {
    store.intern(
        &[("__name__", name), ("TableName", table), ("region", "eu-central-1")],
        Origin::default(),
    )
}

#[test]
fn only_selected_series_are_kept_and_each_once() {
    let mut store = Store::new(StoreLimits::default());
    let all = select(&mut store, "x");
    let orders = select(&mut store, "x{TableName=\"orders\"}");
    assert_eq!(select(&mut store, "x"), all, "the same condition is the same selection");
    let id = intern(&mut store, "x", "orders").unwrap();
    assert_eq!(intern(&mut store, "x", "orders"), Ok(id));
    intern(&mut store, "x", "users").unwrap();
    assert_eq!(intern(&mut store, "y", "orders"), Err(NotKept::Unselected));
    assert_eq!(store.selection(all).unwrap().members().len(), 2);
    assert_eq!(store.selection(orders).unwrap().members(), [id]);
    let late = select(&mut store, "{TableName=~\"o.*\"}");
    assert_eq!(
        store.selection(late).unwrap().members(),
        [id],
        "what is there becomes a member"
    );
}

#[test]
fn points_stand_in_order_and_late_ones_are_told() {
    let mut store = Store::new(StoreLimits::default());
    select(&mut store, "x");
    let id = intern(&mut store, "x", "orders").unwrap();
    assert_eq!(store.push(id, 100, Point::Float(1.0)), Pushed::Newest);
    assert_eq!(store.push(id, 300, Point::Float(3.0)), Pushed::Newest);
    assert_eq!(store.push(id, 200, Point::Float(2.0)), Pushed::Changed);
    assert_eq!(store.push(id, 200, Point::Float(2.0)), Pushed::Known);
    assert_eq!(store.push(id, 200, Point::Float(2.5)), Pushed::Changed);
    let Samples::Floats(points) = &store.series(id).unwrap().samples else {
        panic!()
    };
    assert_eq!(points[..], [(100, 1.0), (200, 2.5), (300, 3.0)]);
}

#[test]
fn both_limits_hold_and_room_comes_back() {
    let mut store = Store::new(StoreLimits {
        bytes: 1 << 12,
        series: 3,
    });
    select(&mut store, "x");
    for table in ["a", "b", "c"] {
        intern(&mut store, "x", table).unwrap();
    }
    assert_eq!(intern(&mut store, "x", "d"), Err(NotKept::Full));
    let mut time = 0;
    while store.push(0, time, Point::Float(1.0)) != Pushed::Full {
        time += 1;
        assert!(time < 1_000, "the store grows without end");
    }
    assert_eq!(store.expire(time, time), 3, "silent series go");
    assert!(store.is_empty());
    assert_eq!(store.sample_bytes(), 0);
    assert!(intern(&mut store, "x", "d").is_ok());
}

#[test]
fn series_with_one_hash_are_told_apart_and_go_one_by_one() {
    let mut store = Store::new(StoreLimits::default());
    let all = select(&mut store, "x");
    let ids: Vec<SeriesId> = (0..500)
        .map(|n| intern(&mut store, "x", &n.to_string()).unwrap())
        .collect();
    for id in &ids {
        store.push(*id, i64::from(*id % 2), Point::Float(0.0));
    }
    assert_eq!(store.expire(0, 1), 250);
    assert_eq!(store.selection(all).unwrap().members().len(), 250);
    for n in (1..500).step_by(2) {
        assert_eq!(intern(&mut store, "x", &n.to_string()), Ok(ids[n]));
    }
}

#[test]
fn a_series_without_samples_takes_at_most_160_bytes() {
    let mut store = Store::new(StoreLimits::default());
    select(&mut store, "aws_dynamodb_throttled_requests_sum");
    let operations = ["GetItem", "PutItem", "Query", "Scan", "UpdateItem"];
    for n in 0..200_000 {
        let table = format!("table-{}", n / 5);
        let labels = [
            ("__name__", "aws_dynamodb_throttled_requests_sum"),
            ("account_id", "123456789012"),
            ("region", "eu-central-1"),
            ("TableName", table.as_str()),
            ("Operation", operations[n % 5]),
        ];
        store.intern(&labels, Origin::default()).unwrap();
    }
    let each = store.series_bytes() / store.len();
    assert!(each <= 160, "{each} bytes");
}

#[test]
fn quantiles_of_native_histograms_lie_in_their_buckets() {
    let histogram = Histogram {
        scale: 0,
        count: 12.0,
        sum: 40.0,
        zero_count: 2.0,
        zero_threshold: 0.001,
        positive: Spread {
            offset: 0,
            counts: vec![2.0, 3.0, 0.0, 5.0],
        },
        negative: Spread::default(),
    };
    // (1,2] (2,4] (4,8] (8,16]
    assert!((histogram.quantile(0.5) - 2.0 * (2.0_f64).powf(2.0 / 3.0)).abs() < 1e-9);
    assert!((histogram.quantile(1.0) - 16.0).abs() < 1e-9);
    assert!((histogram.fraction(8.0, f64::INFINITY) - 5.0 / 12.0).abs() < 1e-9);
    let doubled = histogram.combine(&histogram, |a, b| a + b);
    assert_eq!(doubled.count, 24.0);
    let coarse = Histogram {
        scale: -1,
        ..histogram.clone()
    };
    assert_eq!(histogram.combine(&coarse, |a, b| a + b).scale, -1);
    assert!(histogram.is_reset_after(&doubled));
    assert!(!doubled.is_reset_after(&histogram));
}
