//! `GET /api/v1/aws`: what the AWS receivers see, from the telemetry of theirs that is stored and from the agent's own
//! figures. No AWS call is made by it.

mod books;
mod newest;
mod sagemaker;
mod tables;
#[cfg(test)]
mod tests;
// Retention is there with the AWS SDK only.
#[cfg(feature = "aws")]
mod xray;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

use self::books::Figures;
use self::newest::{Newest, Subject};
use super::problem;
use crate::alert::notify::Desk;
use crate::component::{Commons, Registry, StatusBoard};
use crate::dev::store::Store;

/// Rows of a list.
const MOST_ROWS: usize = 500;

/// Where the receivers' states and figures are.
#[derive(Clone)]
pub struct Sources {
    pub board: StatusBoard,
    pub registry: Registry,
}

#[derive(Clone)]
struct Aws {
    store: Arc<Store>,
    desk: Arc<Desk>,
    #[cfg(feature = "aws")]
    commons: Commons,
    sources: Sources,
}

/// The route.
pub fn router(commons: &Commons, sources: Sources) -> Router {
    Router::new().route("/api/v1/aws", get(aws)).with_state(Aws {
        store: commons.get(),
        desk: commons.get(),
        #[cfg(feature = "aws")]
        commons: commons.clone(),
        sources,
    })
}

async fn aws(State(aws): State<Aws>) -> Response {
    let figures = Figures::of_registry(&aws.sources.registry);
    let sources = books::sources(&aws.sources.board, &figures);
    if sources.is_empty() {
        let how = "No receiver reads AWS here. `radiosonde demo` shows one; or radiosonde dev --config aws.yaml with a receiver \
                   dynamodb, sagemaker, awscloudwatch or xray in it (config/dynamodb.yaml is an example).";
        return Json(json!({"v": 1, "configured": false, "how": how})).into_response();
    }
    // Alerts are an addition: without them the rest is shown.
    let firing = Firing(aws.desk.incidents().await.unwrap_or_default());
    let computed = tokio::task::spawn_blocking(move || answer(&aws, &figures, sources, &firing)).await;
    match computed {
        Ok(answer) => Json(answer).into_response(),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "this answer could not be computed"),
    }
}

fn answer(aws: &Aws, figures: &Figures, sources: Vec<Value>, firing: &Firing) -> Value {
    let newest = Newest::of(&aws.store);
    let reasons = sagemaker::Reasons::of(&aws.store);
    #[cfg(feature = "aws")]
    let xray = xray::part(&newest, figures, &aws.commons.get(), &aws.store);
    #[cfg(not(feature = "aws"))]
    let xray = Value::Null;
    json!({
        "v": 1,
        "configured": true,
        "newest": newest.latest().to_string(),
        "sources": sources,
        "tables": tables::rows(&newest, |subject| firing.about(["TableName", "GlobalSecondaryIndexName"], false, subject)),
        "endpoints": sagemaker::endpoints(&newest, |subject| firing.about(["EndpointName", "VariantName"], true, subject)),
        "jobs": sagemaker::jobs(&newest, &reasons),
        "pipelines": sagemaker::pipelines(&newest, &reasons),
        "xray": xray,
        "calls": books::calls(figures),
        "bill": books::bill(figures),
    })
}

/// The alerts of rules that fire.
struct Firing(Vec<Value>);

impl Firing {
    /// Those about a subject. One that names no part is about the whole: a table has a row for that, an endpoint has not
    /// (`is_of_parts`).
    fn about(&self, [name, part]: [&str; 2], is_of_parts: bool, subject: &Subject) -> Vec<Value> {
        let fits = |incident: &&Value| {
            let label = |key: &str| incident["labels"][key].as_str().unwrap_or_default();
            incident["state"] == "firing"
                && label(name) == subject.name
                && (label(part) == subject.part || is_of_parts && label(part).is_empty())
        };
        let shown = self.0.iter().filter(fits).map(|incident| {
            let id = format!("rule-{}", incident["fingerprint"].as_str().unwrap_or_default());
            json!({"id": id, "title": incident["labels"]["alertname"]})
        });
        shown.collect()
    }
}
