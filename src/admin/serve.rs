//! The admin listener itself.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tower::ServiceExt;

use super::guard::{Guard, PageToken};
use super::host_check;
use super::pipeline;
use super::rates::{Rates, SAMPLE_EVERY};
use super::status::{Reading, of_components, to_json};
use super::tap::{self, Tapping, Viewers};
use super::v1;
use super::v1::admin_service_server::{AdminService, AdminServiceServer};
use crate::alert::notify;
use crate::component::{BoxFuture, Clock, Commons, Deadline, Registry, Running, StatusBoard, SystemClock};
use crate::config::types::Secret;
use crate::dev;
use crate::net::server::{BindError, Endpoint, HttpServer, ServerSettings, serve_http};
use crate::pdata::MemoryBudget;
use crate::telemetry::process;

/// What the admin API shows.
#[derive(Clone)]
pub struct Admin {
    pub board: StatusBoard,
    pub registry: Registry,
    pub memory: MemoryBudget,
    pub started: Instant,
    /// The alert engines that run are found here.
    pub commons: Commons,
    /// What a request that changes something must bring.
    pub token: Option<Secret>,
    /// The pages and the API of `dev`; `run` has none.
    pub pages: Option<Pages>,
}

/// How the pages of `dev` are served.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// Where OTLP is taken: the protocol and the address.
    pub otlp: Vec<(&'static str, String)>,
    /// Where the page is.
    pub ui: String,
    /// The configuration that runs, secrets redacted.
    pub config: String,
    /// What a browser or a client of the API must bring, where others than this machine can reach them.
    pub token: Option<PageToken>,
}

/// Samples between two looks of the lints at the agent itself.
const LINT_EVERY: u64 = 5;

struct Api {
    admin: Admin,
    rates: Rates,
}

impl Api {
    fn status(&self) -> v1::GetStatusResponse {
        let (window, grown) = self.rates.window();
        let mut status = of_components(&Reading {
            board: &self.admin.board,
            samples: &self.admin.registry.gather(),
            grown: &grown,
            window,
        });
        let limit = self.admin.memory.limit();
        status.version = env!("CARGO_PKG_VERSION").to_owned();
        status.uptime_seconds = self.admin.started.elapsed().as_secs_f64();
        status.memory = Some(v1::Memory {
            admitted_bytes: self.admin.memory.used(),
            limit_bytes: if limit == u64::MAX { 0 } else { limit },
            resident_bytes: process::resident_bytes(),
        });
        status
    }
}

/// The generated trait needs a type of its own.
struct Service(Arc<Api>);

#[tonic::async_trait]
impl AdminService for Service {
    async fn get_status(
        &self,
        _request: tonic::Request<v1::GetStatusRequest>,
    ) -> Result<tonic::Response<v1::GetStatusResponse>, tonic::Status> {
        Ok(tonic::Response::new(self.0.status()))
    }
}

/// The listener and the task that samples the rates.
pub struct AdminServer {
    http: HttpServer,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl AdminServer {
    /// Where it listens.
    pub fn addresses(&self) -> &[std::net::SocketAddr] {
        self.http.addresses()
    }
}

impl Running for AdminServer {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.tasks.close();
            self.http.stop(deadline).await;
        })
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Binds and serves.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(endpoint: Endpoint, admin: Admin) -> Result<AdminServer, BindError> {
    let configured = endpoint.to_string();
    let viewers = match (&admin.pages, &admin.token) {
        // The guard asks whoever comes from elsewhere.
        (Some(_), _) => Viewers::Everybody,
        (None, _) if endpoint.is_local() => Viewers::Everybody,
        (None, Some(token)) => Viewers::Bearer(token.clone()),
        (None, None) => Viewers::Nobody,
    };
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let tapping = Tapping {
        commons: admin.commons.clone(),
        viewers,
        tasks: tasks.clone(),
        stop: stop.clone(),
        others: 1,
    };
    let api = Arc::new(Api {
        admin,
        rates: Rates::default(),
    });
    let guard = Arc::new(Guard::new(
        api.admin.pages.as_ref().and_then(|pages| pages.token.clone()),
    ));
    let router = router(&api, tapping).await;
    let handler = move |request: Request<Incoming>, _peer| {
        let router = router.clone();
        let allowed = host_check::is_allowed(&request, &configured);
        let stopped = guard.stops(&request);
        async move {
            if !allowed {
                return (StatusCode::MISDIRECTED_REQUEST, "this host name is not served here\n").into_response();
            }
            if let Some(answer) = stopped {
                return answer;
            }
            answer(router, request).await
        }
    };
    let http = serve_http(&ServerSettings::new(endpoint), handler).await?;

    let stopped = stop.clone();
    tasks.spawn(async move {
        let mut every = tokio::time::interval(SAMPLE_EVERY);
        let mut samples = 0_u64;
        while stopped.run_until_cancelled(every.tick()).await.is_some() {
            api.rates.sample(&api.admin.registry);
            samples += 1;
            if api.admin.pages.is_some() && samples.is_multiple_of(LINT_EVERY) {
                let lints = api.admin.commons.get::<dev::lints::Lints>();
                lints.look_at_agent(&api.admin.registry.gather(), SystemClock.now().0);
            }
        }
    });
    Ok(AdminServer { http, tasks, stop })
}

async fn answer(router: Router, request: Request<Incoming>) -> Response {
    let answered: Result<Response, Infallible> = router.oneshot(request).await;
    match answered {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn router(api: &Arc<Api>, tapping: Tapping) -> Router {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<AdminServiceServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    let mut routes = Routes::new(AdminServiceServer::new(Service(Arc::clone(api)))).add_service(health);
    // The descriptors were written by our own build; should they not be readable, everything but reflection works.
    match reflection.build_v1() {
        Ok(service) => routes = routes.add_service(service),
        Err(error) => tracing::warn!(%error, "The admin API has no reflection."),
    }
    let http = Router::new()
        .route("/api/v1/status", get(status_json))
        .with_state(Arc::clone(api))
        .merge(crate::alert::runtime::router(api.admin.commons.get()));
    let alerts = notify::router(api.admin.commons.get(), api.admin.token.clone());
    // Routers of further parts of dev mode and its pages are merged into this one, behind the same guard.
    let mut dev = http
        .merge(tap::router(tapping))
        .merge(dev::http::api(api.admin.commons.get()));
    let mut alerts = alerts;
    if api.admin.pages.is_some() {
        let sources = dev::parts::Sources {
            board: api.admin.board.clone(),
            registry: api.admin.registry.clone(),
        };
        let own = Router::new()
            .route("/api/v1/pipeline", get(pipeline_json))
            .with_state(Arc::clone(api));
        dev = dev.merge(own).merge(dev::parts::router(&api.admin.commons, sources));
        dev = dev.merge(dev::assets::router());
        // `/alerts` is a page here.
        alerts = Router::new().nest("/notify", alerts);
    }
    let dev = dev::http::guarded(dev);
    routes
        .prepare()
        .into_axum_router()
        .merge(alerts)
        .merge(dev)
        .fallback(unknown)
}

/// What is not here: tonic alone would answer 200 to everybody.
async fn unknown(headers: http::HeaderMap, uri: http::Uri) -> Response {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    if content_type.starts_with(b"application/grpc") {
        return tonic::Status::unimplemented("no such service").into_http::<axum::body::Body>();
    }
    let text = format!("nothing is served at {}", uri.path());
    (StatusCode::NOT_FOUND, axum::Json(json!({"v": 1, "error": text}))).into_response()
}

async fn pipeline_json(State(api): State<Arc<Api>>) -> Response {
    let clients = api.admin.commons.get::<dev::lints::Lints>().clients();
    let config = api.admin.pages.as_ref().map_or("", |pages| pages.config.as_str());
    axum::Json(pipeline::as_json(&api.status(), &clients, config)).into_response()
}

async fn status_json(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let mut status = to_json(&api.status());
    let store = api.admin.commons.get::<dev::store::Store>();
    if let (true, Some(fields)) = (store.is_fed(), status.as_object_mut()) {
        fields.extend(dev::http::status_fields(&store));
    }
    if let Some(pages) = &api.admin.pages {
        let otlp = pages
            .otlp
            .iter()
            .map(|(protocol, endpoint)| json!({"protocol": protocol, "endpoint": endpoint}));
        status["otlp"] = otlp.collect();
        status["ui"] = pages.ui.clone().into();
    }
    (headers, format!("{status}\n"))
}
