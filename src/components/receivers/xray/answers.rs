//! Answers of the AWS APIs without a network: any bytes are read as the receiver reads an answer. For whoever wants to see
//! that no answer does harm (`tests/fuzz`).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::CALLS;
use super::config::{self, Config};
use super::emit::{Emitter, Wanted};
use super::signals::Signals;
use crate::aws::json::logs::filter_log_events;
use crate::aws::xray::api::fetch::{self, Fetched};
use crate::aws::xray::api::listing::{RangeType, list};
use crate::aws::xray::api::{Clients, Names, Window};
use crate::aws::xray::document::Arena;
use crate::aws::xray::translate::logged_span;
use crate::aws::{Access, AccessSettings, Failure};
use crate::component::{BuildContext, Clock, ComponentKind};
use crate::config::Section;

const WINDOW: Window = Window {
    from: 1_700_000_000,
    to: 1_700_003_600,
};

/// The same answer to everything.
#[derive(Clone, Default)]
struct Canned(Arc<Mutex<(u16, Vec<u8>)>>);

impl fmt::Debug for Canned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canned")
    }
}

impl HttpConnector for Canned {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let (status, body) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let status = StatusCode::try_from(status).unwrap_or(StatusCode::try_from(200).expect("200 is a status"));
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}

impl HttpClient for Canned {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// What was made of an answer.
#[derive(Debug, Default)]
pub struct Read {
    /// Ids of traces in the order in which they would be fetched.
    pub listed: Vec<String>,
    /// Ids that would be asked for again.
    pub unprocessed: Vec<String>,
    pub spans: Vec<ResourceSpans>,
    pub failure: Option<Failure>,
}

/// A receiver without a network.
pub struct Answers {
    canned: Canned,
    clients: Clients,
    clock: Arc<dyn Clock>,
    emitter: Emitter,
    config: Config,
}

/// The answers that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    GetTraceSummaries,
    BatchGetTraces,
    Retrieval,
    /// Service graph, sampling rules and statistics.
    Signals,
    FilterLogEvents,
}

impl Call {
    /// Every one.
    pub const ALL: [Call; 5] = [
        Call::GetTraceSummaries,
        Call::BatchGetTraces,
        Call::Retrieval,
        Call::Signals,
        Call::FilterLogEvents,
    ];
}

impl Answers {
    /// `clock`: waiting is done by it, too, so a quick one does not wait.
    pub async fn new(clock: Arc<dyn Clock>) -> Option<Self> {
        let yaml = "regions: [eu-central-1]\ncredentials: {access_key_id: A, secret_access_key: B}\n\
                    service_graph: {enabled: true}\nsampling_rules: {enabled: true}\ntraces_processed: 'off'";
        let config = config::check(&Section::from_yaml(yaml))?;
        let access = Access::load(AccessSettings::clone(&config.access), Arc::clone(&clock)).await;
        let place = access.places().into_iter().next()?;
        let canned = Canned::default();
        let sdk = access.config(&place).await;
        let sdk = sdk.into_builder().http_client(canned.clone()).build();
        let mut context = BuildContext::standalone(ComponentKind::Receiver, "xray");
        context.clock = Arc::clone(&clock);
        let names = Names {
            calls: CALLS,
            account: "",
            region: &place.region,
        };
        let clients = Clients::new(&access, &sdk, names, config.rate, &context);
        Some(Self {
            canned,
            clients,
            clock,
            emitter: Emitter::new(config.options.clone()),
            config,
        })
    }

    /// Asks, and reads these bytes as the answer.
    pub async fn read(&mut self, call: Call, status: u16, body: &[u8]) -> Read {
        *self.canned.0.lock().unwrap_or_else(PoisonError::into_inner) = (status, body.to_vec());
        let ids = ["1-5759e988-bd862e3fe1be46a994272793".to_owned()];
        let mut read = Read::default();
        match call {
            Call::GetTraceSummaries => {
                let listing = list(&self.clients, "", WINDOW, RangeType::Event, 1.0, &self.clock).await;
                read.listed = listing.traces.into_iter().map(|trace| trace.id).collect();
                read.failure = listing.failure;
            }
            Call::BatchGetTraces => match fetch::batch(&self.clients, &ids).await {
                Ok(answer) => self.emit(answer, &mut read),
                Err(failure) => read.failure = Some(failure),
            },
            Call::Retrieval => match fetch::retrieve(&self.clients, &self.clock, &ids, WINDOW).await {
                Ok(answer) => self.emit(answer, &mut read),
                Err(failure) => read.failure = Some(failure),
            },
            Call::Signals => {
                let mut signals = Signals::new(&self.config, "r", WINDOW.from, WINDOW.from);
                signals.searches(true);
                let round = signals.round(&self.clients, &self.config, WINDOW.from + 300).await;
                read.failure = round.err();
            }
            Call::FilterLogEvents => {
                let members = filter_log_events("aws/spans", WINDOW.from, WINDOW.to, None);
                let asked = self.clients.events.send(|| self.clients.logs.log_page(&members));
                match asked.await {
                    Ok(page) => {
                        let mut arena = Arena::default();
                        let spans = page.events.iter();
                        read.spans = spans
                            .filter_map(|event| logged_span(&event.message, &mut arena))
                            .collect();
                    }
                    Err(failure) => read.failure = Some(failure),
                }
            }
        }
        read
    }

    fn emit(&mut self, answer: fetch::Answer, read: &mut Read) {
        read.unprocessed = answer.unprocessed;
        for fetched in &answer.traces {
            let Fetched { id, .. } = fetched;
            read.listed.push(id.clone());
            let fresh = self.emitter.fresh(fetched, None, Wanted::default(), 1);
            read.spans.extend(fresh.resource_spans);
        }
    }
}
