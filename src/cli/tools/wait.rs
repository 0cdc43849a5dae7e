//! `radiosonde wait`: an assertion for scripts. Ends well when something fits.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::{Failed, Format};
use crate::cli::client::{AgentArgs, Api, ApiError};
use crate::cli::output;

/// Exit code when the time was over first.
const EXIT_TIMEOUT: u8 = 124;
/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// `wait`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example, in a test script:\n  radiosonde wait --for 'service=web name=\"GET /quote\" http.response.status_code=200' --timeout 20s\n\n\
    Exit codes: 0 something fits, 124 nothing did in time, 2 the query cannot be read, 3 no agent answers."
)]
pub struct WaitArgs {
    /// What has to be there: spans, log records or metrics, in the query language.
    #[arg(long = "for", value_name = "QUERY")]
    pub query: String,
    /// How many have to fit.
    #[arg(long, default_value_t = 1)]
    pub count: u64,
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::cli::duration)]
    pub timeout: Duration,
    #[command(flatten)]
    pub agent: AgentArgs,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Waits.
pub async fn wait(args: &WaitArgs) -> Result<u8, Failed> {
    let api = Api::new(&args.agent);
    let end = Instant::now() + args.timeout;
    loop {
        let found = count(&api, &args.query).await?;
        if found >= args.count {
            let text = match args.format {
                Format::Text | Format::Md => format!("{found} fit\n"),
                Format::Json | Format::Jsonl => format!("{}\n", serde_json::json!({"v": 1, "count": found})),
            };
            output::text(&text);
            return Ok(0);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let asked = args.count;
            return Err(Failed::new(
                EXIT_TIMEOUT,
                format!("{found} of {asked} fit {:?} after {:?}", args.query, args.timeout),
            ));
        }
        tokio::time::sleep(EVERY.min(left)).await;
    }
}

/// Spans, log records and metrics that fit.
pub async fn count(api: &Api, query: &str) -> Result<u64, ApiError> {
    let mut found = 0;
    for path in ["/api/v1/spans", "/api/v1/logs", "/api/v1/metrics"] {
        let answer = match api.get(path, &[("q", query), ("limit", "1")]).await {
            // An agent of another version may not have one of them.
            Err(ApiError::Refused { status, .. }) if status == http::StatusCode::NOT_FOUND => continue,
            answer => answer?,
        };
        found += answer["total"].as_u64().unwrap_or(0);
    }
    Ok(found)
}
