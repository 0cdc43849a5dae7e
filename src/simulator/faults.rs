//! What goes wrong, and when: a list of faults, each for an API, a window of minutes and every n-th call.

use serde::Deserialize;

use super::answer::{ApiError, Caller};

/// One planned fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// An operation such as `GetMetricData`; absent: every one.
    pub api: Option<String>,
    pub account: Option<String>,
    pub region: Option<String>,
    /// Minutes since the scenario's start, from inclusive, to exclusive.
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// Strikes every n-th call it applies to.
    #[serde(default = "every_call")]
    pub every: u64,
    pub kind: FaultKind,
    /// Calls it has seen.
    #[serde(skip)]
    seen: u64,
    /// The running second and what it let through, for [`FaultKind::Cap`].
    #[serde(skip)]
    second: (i64, u64),
}

fn every_call() -> u64 {
    1
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    Throttle,
    /// Throttles what goes beyond so many calls in a (simulated) second.
    Cap {
        per_second: u64,
    },
    /// Any other error.
    Error {
        status: u16,
        code: String,
    },
    /// AccessDenied.
    Denied,
    /// ExpiredToken.
    Expired,
    /// Milliseconds of real time.
    Delay {
        ms: u64,
    },
    /// The body ends in the middle.
    Truncate,
    /// The body is neither CBOR nor JSON.
    Malformed,
    /// The connection is closed instead of a body.
    Reset,
    /// Answers of GetMetricData hold at most so many points a page.
    Page {
        points: usize,
    },
    /// NextTokens expire after so many seconds.
    TokenTtl {
        seconds: f64,
    },
    /// X-Ray: every second document is refused with this code, every second trace of BatchGetTraces is not processed.
    Unprocessed {
        code: String,
    },
    /// X-Ray: BatchGetTraces gives only the first segment of a trace.
    LimitExceeded,
    /// Ids of this metric (absent: of all) come back with this status and without values.
    SeriesStatus {
        status: String,
        metric: Option<String>,
    },
}

impl Fault {
    /// A fault of every call to `api` between two minutes.
    pub fn of(api: &str, from: i64, to: i64, kind: FaultKind) -> Self {
        Self {
            api: Some(api.to_owned()),
            account: None,
            region: None,
            from: Some(from),
            to: Some(to),
            every: 1,
            kind,
            seen: 0,
            second: (0, 0),
        }
    }

    /// Strikes only every n-th call.
    pub fn every(mut self, n: u64) -> Self {
        self.every = n;
        self
    }

    fn strikes(&mut self, api: &str, caller: &Caller, minute: i64, now: f64) -> bool {
        let applies = self.api.as_deref().is_none_or(|wanted| wanted == api)
            && self.account.as_deref().is_none_or(|wanted| wanted == caller.account)
            && self.region.as_deref().is_none_or(|wanted| wanted == caller.region)
            && self.from.is_none_or(|from| from <= minute)
            && self.to.is_none_or(|to| minute < to);
        if !applies {
            return false;
        }
        if let FaultKind::Cap { per_second } = self.kind {
            let second = now.floor() as i64;
            if self.second.0 != second {
                self.second = (second, 0);
            }
            self.second.1 += 1;
            return self.second.1 > per_second;
        }
        self.seen += 1;
        self.seen.is_multiple_of(self.every.max(1))
    }
}

/// How one answer of GetMetricData is paged and marked.
#[derive(Clone, Debug, Default)]
pub struct Paging {
    pub points: Option<usize>,
    pub token_ttl_s: Option<f64>,
    /// Status and the metric it is for.
    pub statuses: Vec<(String, Option<String>)>,
}

impl Paging {
    /// The status that a fault gives this id.
    pub fn status_of(&self, _id: &str, metric: &str) -> Option<String> {
        self.statuses
            .iter()
            .find(|(_, wanted)| wanted.as_deref().is_none_or(|wanted| wanted == metric))
            .map(|(status, _)| status.clone())
    }
}

/// What the faults do to one call.
#[derive(Default)]
pub struct Struck {
    pub error: Option<ApiError>,
    pub delay_ms: u64,
    pub truncate: bool,
    pub malform: bool,
    pub unprocessed: Option<String>,
    pub limit_exceeded: bool,
    pub reset: bool,
    pub paging: Paging,
}

/// Asks every fault about one call.
pub fn strike(faults: &mut [Fault], api: &str, caller: &Caller, minute: i64, now: f64) -> Struck {
    let mut struck = Struck::default();
    for fault in faults {
        if !fault.strikes(api, caller, minute, now) {
            continue;
        }
        match &fault.kind {
            FaultKind::Throttle | FaultKind::Cap { .. } => {
                let error = ApiError::sender("ThrottlingException", "Rate exceeded");
                struck.error.get_or_insert(error);
            }
            FaultKind::Error { status, code } => {
                struck.error.get_or_insert(ApiError {
                    status: *status,
                    code: code.clone(),
                    message: "a planned fault".to_owned(),
                });
            }
            FaultKind::Denied => {
                struck.error.get_or_insert(ApiError {
                    status: 403,
                    code: "AccessDeniedException".to_owned(),
                    message: format!("User is not authorized to perform: {api}"),
                });
            }
            FaultKind::Expired => {
                struck.error.get_or_insert(ApiError {
                    status: 403,
                    code: "ExpiredTokenException".to_owned(),
                    message: "The security token included in the request is expired".to_owned(),
                });
            }
            FaultKind::Delay { ms } => struck.delay_ms += ms,
            FaultKind::Truncate => struck.truncate = true,
            FaultKind::Malformed => struck.malform = true,
            FaultKind::Unprocessed { code } => struck.unprocessed = Some(code.clone()),
            FaultKind::LimitExceeded => struck.limit_exceeded = true,
            FaultKind::Reset => struck.reset = true,
            FaultKind::Page { points } => struck.paging.points = Some(*points),
            FaultKind::TokenTtl { seconds } => struck.paging.token_ttl_s = Some(*seconds),
            FaultKind::SeriesStatus { status, metric } => {
                struck.paging.statuses.push((status.clone(), metric.clone()));
            }
        }
    }
    struck
}
