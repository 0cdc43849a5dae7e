//! `health_check`: tells probes and balancers whether the agent takes data.
//!
//! The configured path keeps the Collector's answer; `/livez`, `/readyz` and `/startupz` are Kubernetes' probes. None
//! depends on back ends: a restart does not repair somebody else's outage.

mod answer;
mod pulse;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::answer::{Health, Texts};
use self::pulse::Pulse;
use super::http_config::HttpConfig;
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, Deadline, ExtensionPlan, Factory, Plan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::net::server::{HttpServer, serve_http};
use crate::pdata::Signal;

/// Keys of the Collector's second form of this extension.
const NOT_BUILT: [&str; 4] = ["use_v2", "http", "grpc", "component_health"];

#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Config {
    path: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { path: "/".to_owned() }
    }
}

#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
struct ResponseBody {
    healthy: Option<String>,
    unhealthy: Option<String>,
}

/// The registry's entry.
pub struct HealthCheckFactory;

impl Factory for HealthCheckFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Extension
    }

    fn type_name(&self) -> &'static str {
        "health_check"
    }

    fn signals(&self) -> &'static [Signal] {
        &[]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Answers health probes over HTTP."
    }

    fn example(&self) -> &'static str {
        "endpoint: localhost:13133\npath: /health\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        for key in NOT_BUILT.into_iter().filter(|key| section.has(key)) {
            section.take(key);
            section.error_at(key, format!("`{key}` is not built yet"));
        }
        if section.take("check_collector_pipeline").is_some() {
            section.warn_at("check_collector_pipeline", "has no effect, as in the Collector");
        }
        let body: ResponseBody = match section.take("response_body") {
            Some(body) => body.read()?,
            None => ResponseBody::default(),
        };
        let http = HttpConfig::check(section, "localhost:13133");
        let config: Config = section.read()?;
        if !config.path.starts_with('/') {
            section.error_at("path", format!("{:?} must begin with a slash", config.path));
            return None;
        }
        Some(Plan::Extension(Box::new(HealthCheck {
            http: http?,
            texts: Texts {
                path: config.path,
                healthy: body.healthy,
                unhealthy: body.unhealthy,
            },
        })))
    }
}

struct HealthCheck {
    http: HttpConfig,
    texts: Texts,
}

impl ExtensionPlan for HealthCheck {
    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        Box::pin(async move {
            let pulse = Pulse::new();
            let health = Arc::new(Health {
                texts: self.texts.clone(),
                headers: self.http.response_headers.clone(),
                board: context.status.clone(),
                up_since: context.clock.now(),
                started: tokio::time::Instant::now(),
                pulse: Arc::clone(&pulse),
            });
            let handler = move |request: Request<Incoming>, _peer| {
                let health = Arc::clone(&health);
                async move { health.answer(request.method(), request.uri()).map(Full::<Bytes>::from) as Response<_> }
            };
            let server = serve_http(&self.http.server, handler)
                .await
                .map_err(|error| StartError::new(&context, error.to_string()))?;
            let stop = CancellationToken::new();
            let tasks = TaskTracker::new();
            tasks.spawn(pulse.beat(context.memory.clone(), stop.clone()));
            let running = Serving { server, tasks, stop };
            Ok(Arc::new(running) as Arc<dyn Running>)
        })
    }
}

struct Serving {
    server: HttpServer,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Running for Serving {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.server.stop(deadline).await;
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
