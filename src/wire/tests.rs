//! Cases by hand; the property tests against prost stand in `pdata`, which knows prost.

use super::*;

fn len_field(number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, u64::from(number << 3 | 2));
    put_varint(&mut out, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

fn attribute(key: &str, text: &str) -> Vec<u8> {
    let value = len_field(2, &len_field(1, text.as_bytes()));
    [len_field(1, key.as_bytes()), value].concat()
}

#[test]
fn reads_every_varint_it_writes() {
    for shift in 0..64 {
        for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_len(value));
            let mut input = bytes.as_slice();
            assert_eq!(read_varint(&mut input), Ok(value));
            assert!(input.is_empty());
        }
    }
}

#[test]
fn refuses_varints_that_are_too_long_or_cut() {
    assert_eq!(read_varint(&mut [0xff; 11].as_slice()), Err(WireError::Varint));
    let mut beyond_64_bits = [0xff; 10];
    beyond_64_bits[9] = 0x02;
    assert_eq!(read_varint(&mut beyond_64_bits.as_slice()), Err(WireError::Varint));
    assert_eq!(read_varint(&mut [0x80, 0x80].as_slice()), Err(WireError::Truncated));
    assert_eq!(read_varint(&mut [].as_slice()), Err(WireError::Truncated));
    // Longer than needed, but within ten bytes.
    assert_eq!(read_varint(&mut [0x81, 0x80, 0x00].as_slice()), Ok(1));
}

#[test]
fn refuses_groups_unknown_wire_types_and_field_zero() {
    assert_eq!(Fields::new(&[0x0b]).next(), Some(Err(WireError::Group { number: 1 })));
    assert_eq!(Fields::new(&[0x0c]).next(), Some(Err(WireError::Group { number: 1 })));
    let no_such = WireError::NoSuchWireType { number: 1, found: 6 };
    assert_eq!(Fields::new(&[0x0e]).next(), Some(Err(no_such)));
    assert_eq!(Fields::new(&[0x02, 0]).next(), Some(Err(WireError::FieldNumber)));
}

#[test]
fn ends_after_the_first_error() {
    let mut fields = Fields::new(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
    assert_eq!(fields.next(), Some(Err(WireError::Truncated)));
    assert_eq!(fields.next(), None);
}

#[test]
fn finds_an_attribute_of_a_span_and_tells_where_it_stands() {
    let span = [
        len_field(9, &attribute("a", "1")),
        len_field(5, b"GET /"),
        len_field(9, &attribute("b", "2")),
    ]
    .concat();
    let view = Span::of(&span);
    assert_eq!(view.name().unwrap(), "GET /");
    let value = view.attribute("b").unwrap().unwrap();
    assert_eq!(value.as_text().unwrap(), "2");
    assert!(view.attribute("c").unwrap().is_none());
    let found = view.attributes().find("b").unwrap().unwrap();
    let range = range_in(&span, found.raw()).unwrap();
    assert_eq!(span[range], attribute("b", "2"));
}

#[test]
fn merges_a_resource_that_stands_in_two_pieces() {
    let group = [
        len_field(1, &len_field(1, &attribute("a", "1"))),
        len_field(3, b"url"),
        len_field(1, &len_field(1, &attribute("b", "2"))),
    ]
    .concat();
    let request = len_field(1, &group);
    let group = resources(&request).next().unwrap().unwrap();
    let resource = group.resource().unwrap();
    assert_eq!(resource.attributes().count(), 2);
    assert_eq!(resource.attribute("b").unwrap().unwrap().as_text().unwrap(), "2");
}

#[test]
fn merges_an_array_across_two_pieces_of_its_value_and_forgets_what_a_later_member_replaced() {
    let text = |text: &str| len_field(1, &len_field(1, text.as_bytes()));
    let one = len_field(2, &len_field(5, &text("a")));
    let two = len_field(2, &[len_field(5, &text("b")), len_field(5, &text("c"))].concat());
    let merged = [len_field(1, b"k"), one.clone(), two.clone()].concat();
    let Value::Array(values) = KeyValue::of(&merged).value().unwrap() else {
        panic!("no array");
    };
    let texts: Vec<_> = values
        .map(|value| value.unwrap().as_text().unwrap().to_string())
        .collect();
    assert_eq!(texts, ["a", "b", "c"]);

    let replaced = [one, len_field(2, &len_field(1, b"text")), two].concat();
    let Value::Array(values) = KeyValue::of(&replaced).value().unwrap() else {
        panic!("no array");
    };
    assert_eq!(values.count(), 2);
}

#[test]
fn reads_a_metric_down_to_the_value_of_its_point() {
    let mut point = vec![0x31];
    point.extend_from_slice(&42i64.to_le_bytes());
    point.extend(len_field(7, &attribute("host", "a")));
    let metric = [
        len_field(1, b"cpu"),
        len_field(7, &[len_field(1, &point), vec![0x18, 1]].concat()),
    ]
    .concat();
    let view = Metric::of(&metric);
    let data = view.data().unwrap().unwrap();
    assert_eq!(data.kind(), MetricKind::Sum);
    assert!(data.is_monotonic().unwrap());
    assert_eq!(data.count_points().unwrap(), 1);
    let Point::Number(point) = data.points().next().unwrap().unwrap() else {
        panic!("no number point");
    };
    assert_eq!(point.value().unwrap(), Some(Number::Int(42)));
    assert!(point.attribute("host").unwrap().is_some());
}

#[test]
fn takes_repeated_numbers_packed_or_not() {
    let mut point = vec![0x31];
    point.extend_from_slice(&7u64.to_le_bytes());
    point.extend(len_field(6, &[8u64.to_le_bytes(), 9u64.to_le_bytes()].concat()));
    let counts: Result<Vec<_>, _> = HistogramPoint::of(&point).bucket_counts().collect();
    assert_eq!(counts.unwrap(), [7, 8, 9]);
    let cut = len_field(6, &[1, 2, 3]);
    let mut counts = HistogramPoint::of(&cut).bucket_counts();
    assert_eq!(counts.next(), Some(Err(WireError::Truncated)));
    assert_eq!(counts.next(), None);
}
