//! `zpages`: plain HTML pages about what runs: `/debug/servicez`, `pipelinez`, `extensionz`, `featurez`.

mod pages;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;

use self::pages::Pages;
use super::http_config::{HttpConfig, add_headers};
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, ExtensionPlan, Factory, Plan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::net::server::serve_http;
use crate::pdata::Signal;

/// The registry's entry.
pub struct ZpagesFactory;

impl Factory for ZpagesFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Extension
    }

    fn type_name(&self) -> &'static str {
        "zpages"
    }

    fn signals(&self) -> &'static [Signal] {
        &[]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Pages about the service, its pipelines and extensions."
    }

    fn example(&self) -> &'static str {
        "endpoint: localhost:55679\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let http = HttpConfig::check(section, "localhost:55679")?;
        Some(Plan::Extension(Box::new(Zpages { http })))
    }
}

struct Zpages {
    http: HttpConfig,
}

impl ExtensionPlan for Zpages {
    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        Box::pin(async move {
            let pages = Arc::new(Pages {
                board: context.status.clone(),
                started: Instant::now(),
                started_at: context.clock.now(),
            });
            let headers = self.http.response_headers.clone();
            let handler = move |request: Request<Incoming>, _peer| {
                let mut response = answer(&pages, &request);
                add_headers(&headers, response.headers_mut());
                async move { response }
            };
            let server = serve_http(&self.http.server, handler)
                .await
                .map_err(|error| StartError::new(&context, error.to_string()))?;
            Ok(Arc::new(server) as Arc<dyn Running>)
        })
    }
}

fn answer<B>(pages: &Pages, request: &Request<B>) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let page = pages.page(request.uri().path()).filter(|_| is_read);
    let (code, body) = match page {
        Some(html) => (StatusCode::OK, html),
        None if is_read => (StatusCode::NOT_FOUND, "not found\n".to_owned()),
        None => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Nothing but text is on these pages; should a value ever slip through unescaped, it must not run.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'"),
    );
    response
}
