//! What the store holds and what came to it.

use serde::Serialize;

use super::Ns;
use crate::dev::store::{BooksNow, Store, Tombstone};
use crate::pdata::Signal;

/// The parts of `GET /api/v1/status` that are the store's.
#[derive(Clone, Debug, Serialize)]
pub struct StatusAnswer {
    pub started: Ns,
    pub store: StoreStatus,
    pub intake: Intake,
    pub data_dir: Option<String>,
}

/// What is stored.
#[derive(Clone, Debug, Serialize)]
pub struct StoreStatus {
    pub cap: u64,
    pub used: u64,
    pub traces: usize,
    pub spans: usize,
    pub metric_points: usize,
    pub log_records: usize,
    pub series: usize,
    pub oldest: Option<Ns>,
    pub newest: Option<Ns>,
    pub tombstones: Vec<Tombstone>,
}

/// The books.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Intake {
    pub spans: BooksNow,
    pub metric_points: BooksNow,
    pub log_records: BooksNow,
}

/// See [`StatusAnswer`].
pub fn status(store: &Store) -> StatusAnswer {
    let span = store.span();
    StatusAnswer {
        started: Ns(store.started()),
        store: StoreStatus {
            cap: store.cap(),
            used: store.used(),
            traces: store.traces().count(),
            spans: store.rows(Signal::Traces),
            metric_points: store.rows(Signal::Metrics),
            log_records: store.rows(Signal::Logs),
            series: store.series().count(),
            oldest: span.map(|(oldest, _)| Ns(oldest)),
            newest: span.map(|(_, newest)| Ns(newest)),
            tombstones: store.tombstones().all(),
        },
        intake: Intake {
            spans: store.books(Signal::Traces),
            metric_points: store.books(Signal::Metrics),
            log_records: store.books(Signal::Logs),
        },
        data_dir: store.data_dir().map(|dir| dir.display().to_string()),
    }
}
