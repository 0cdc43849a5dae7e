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
