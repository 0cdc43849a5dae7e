use super::*;
use crate::component::{Commons, Deadline};
use crate::dev::store::BooksNow;
use crate::pdata::{DoorLimits, Origin};

fn built(commons: &Commons) -> BuiltExporter {
    let section = Section::from_yaml("memory: 64MiB\n");
    let Some(Plan::Exporter(plan)) = DevStoreFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    let context = BuildContext {
        commons: commons.clone(),
        ..BuildContext::standalone(ComponentKind::Exporter, "devstore")
    };
    plan.build(context).unwrap()
}

#[tokio::test]
async fn what_is_exported_is_in_the_store_of_the_process() {
    let commons = Commons::default();
    let exporter = built(&commons);
    let store = commons.get::<Store>();
    assert_eq!((store.is_fed(), store.cap()), (true, 64 << 20));
    let text = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;
    let batch = Batch::from_json(Signal::Logs, text, &DoorLimits::default(), Origin::internal()).unwrap();
    exporter.far_end.consume(batch.batch).await.unwrap();
    let books = BooksNow {
        received: 1,
        stored: 1,
        ..BooksNow::default()
    };
    assert_eq!(store.books(Signal::Logs), books);
    exporter
        .running
        .stop(Deadline::after(std::time::Duration::from_secs(5)))
        .await;
    drop(exporter);
    assert!(!store.is_fed());
}

#[test]
fn a_store_too_small_for_its_segments_is_refused() {
    let section = Section::from_yaml("memory: 1MiB\n");
    DevStoreFactory.check(&section);
    assert!(
        section.problems()[0].contains("at least 16MiB"),
        "{:?}",
        section.problems()
    );
}

#[test]
fn alerts_and_prices_are_read_and_their_mistakes_have_a_place() {
    let section = Section::from_yaml(
        "alerts:\n- {name: checkout fails, query: 'name=checkout status=error', threshold: 3, window: 1m, severity: critical}\n\
         genai_prices: {small: {input: 0.15, output: 0.6}}\n",
    );
    let Some(Plan::Exporter(plan)) = DevStoreFactory.check(&section) else {
        panic!("{:?}", section.problems());
    };
    assert_eq!(section.problems(), Vec::<String>::new());
    let commons = Commons::default();
    let context = BuildContext {
        commons: commons.clone(),
        ..BuildContext::standalone(ComponentKind::Exporter, "devstore")
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _built = runtime.block_on(async { plan.build(context) }).unwrap();
    assert!(commons.get::<CustomRules>().is_due(), "there is a rule to look at");
    for (yaml, part) in [
        ("alerts: [{query: a=b}]", "needs a name"),
        ("alerts: [{name: x}]", "needs a query"),
        ("alerts: [{name: x, query: 'a=('}]", "at character"),
        ("alerts: [{name: x, query: a=b, threshold: 0}]", "at least 1"),
        ("alerts: [{name: x, query: a=b, window: 0s}]", "longer than nothing"),
        ("alerts: [{name: x, query: a=b, severity: loud}]", "loud"),
        ("alerts: [{name: x, query: a=b, treshold: 2}]", "treshold"),
        ("genai_prices: {small: {input: -1, output: 1}}", "zero or more"),
    ] {
        let section = Section::from_yaml(yaml);
        DevStoreFactory.check(&section);
        let problems = section.problems();
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{yaml}: {problems:?}"
        );
    }
}
