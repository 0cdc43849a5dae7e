//! Answers of the X-Ray API and of the log group: no panic, no end of reading that does not come, no trace twice, spans with
//! sound ids. The first byte says which call is answered, the second with which status, the rest is the body.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use radiosonde::component::{BoxFuture, Clock, UnixNanos};
use radiosonde::components::receivers::xray::answers::{Answers, Call};

const STATUSES: [u16; 9] = [200, 200, 200, 400, 403, 404, 429, 500, 503];

/// Whoever waits has waited at once.
struct Quick(AtomicU64);

impl Clock for Quick {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_add(nanos, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

struct Reader {
    runtime: tokio::runtime::Runtime,
    answers: Answers,
}

impl Reader {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let clock = Arc::new(Quick(AtomicU64::new(1_700_000_000_000_000_000)));
        let answers = runtime.block_on(Answers::new(clock)).expect("a sound configuration");
        Self { runtime, answers }
    }
}

thread_local! {
    static READER: std::cell::RefCell<Option<Reader>> = const { std::cell::RefCell::new(None) };
}

pub fn run(data: &[u8]) {
    let [call, status, body @ ..] = data else { return };
    let call = Call::ALL[usize::from(call.wrapping_sub(b'0')) % Call::ALL.len()];
    let status = STATUSES[usize::from(status.wrapping_sub(b'0')) % STATUSES.len()];
    READER.with_borrow_mut(|reader| {
        let Reader { runtime, answers } = reader.get_or_insert_with(Reader::new);
        let read = runtime.block_on(answers.read(call, status, body));
        let listed: BTreeSet<&String> = read.listed.iter().collect();
        assert_eq!(listed.len(), read.listed.len(), "a trace twice");
        assert!(read.unprocessed.len() <= 1, "more is unprocessed than was asked for");
        let scopes = read.spans.iter().flat_map(|group| &group.scope_spans);
        for span in scopes.flat_map(|scope| &scope.spans) {
            assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
            assert!(matches!(span.parent_span_id.len(), 0 | 8));
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        }
        // A permission that is missing ends only its own part of the signals.
        let is_error = read.failure.is_some() || call == Call::Signals;
        assert!(status < 400 || is_error, "{status} is read as a success");
    });
}
