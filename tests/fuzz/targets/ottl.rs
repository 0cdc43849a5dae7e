//! OTTL: no text makes the parser panic or leave its text with an offset, and no bytes make an evaluation panic. The
//! condition goes to the first zero byte, the telemetry follows it.

use radiosonde::component::SystemClock;
use radiosonde::ottl::{Condition, Context, Item, Target, check_statement};
use radiosonde::pdata::Origin;
use radiosonde::wire::{self, ResourceGroup, ScopeGroup, WireError};

pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(text) = std::str::from_utf8(&data[..end]) else {
        return;
    };
    let telemetry = data.get(end + 1..).unwrap_or_default();
    for context in Context::ALL {
        match Condition::new(text, context) {
            Ok(condition) => {
                // Malformed telemetry ends the walk; what was reached must not have panicked.
                let _ = judge(&condition, telemetry);
            }
            Err(error) => assert!(
                text.is_char_boundary(error.offset),
                "offset {} of {text:?}",
                error.offset
            ),
        }
    }
    if let Err(error) = Condition::inferred(text) {
        assert!(
            text.is_char_boundary(error.offset),
            "offset {} of {text:?}",
            error.offset
        );
    }
    assert!(check_statement(text, Context::Span).offset <= text.len());
}

fn judge(condition: &Condition, telemetry: &[u8]) -> Result<(), WireError> {
    let origin = Origin::default();
    for resource in wire::resources(telemetry) {
        let resource = resource?;
        for scope in resource.scopes() {
            let scope = scope?;
            judge_items(condition, resource, scope, &origin)?;
        }
    }
    Ok(())
}

fn judge_items(
    condition: &Condition,
    resource: ResourceGroup<'_>,
    scope: ScopeGroup<'_>,
    origin: &Origin,
) -> Result<(), WireError> {
    let holds = |item| {
        let target = Target {
            resource,
            scope: Some(scope),
            item,
            origin,
            clock: &SystemClock,
        };
        let once = condition.holds(&target);
        // `Now()` aside, an evaluation has no state.
        if !condition.text().contains("Now") {
            assert_eq!(once, condition.holds(&target), "{}", condition.text());
        }
    };
    match condition.context() {
        Context::Resource | Context::Scope => holds(Item::None),
        Context::Span => scope.spans().flatten().for_each(|span| holds(Item::Span(span))),
        Context::SpanEvent => {
            for span in scope.spans() {
                let span = span?;
                for (index, event) in span.events().flatten().enumerate() {
                    holds(Item::SpanEvent { span, event, index });
                }
            }
        }
        Context::Metric => scope.metrics().flatten().for_each(|metric| holds(Item::Metric(metric))),
        Context::DataPoint => {
            for metric in scope.metrics() {
                let metric = metric?;
                if let Some(data) = metric.data()? {
                    data.points()
                        .flatten()
                        .for_each(|point| holds(Item::DataPoint { metric, point }));
                }
            }
        }
        Context::Log => scope.log_records().flatten().for_each(|log| holds(Item::Log(log))),
    }
    Ok(())
}
