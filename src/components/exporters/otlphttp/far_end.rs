//! The far end of an `otlphttp` exporter: one POST for each batch.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use smallvec::smallvec;
use tonic::Code;

use super::super::answer::Rejections;
use super::config::{Address, Config, Encoding, ProxySource};
use super::split::{Failed, Splitter};
use crate::component::{BoxFuture, BuildContext, Clock, NamedAuth, Outgoing, Refused, Stage};
use crate::net::client::batch_id::batch_id_header;
use crate::net::client::chunks::gather;
use crate::net::client::dial::Dialer;
use crate::net::client::http::{Answer, HttpClient, HttpSettings};
use crate::net::client::proxy::ProxyRules;
use crate::net::client::status::{HttpFailure, PartialSuccess};
use crate::net::codec::compress::Compressor;
use crate::net::tls::client::TlsSource;
use crate::pdata::{Batch, Permit, Signal};

/// A client with its pool and everything that is the same for all requests.
pub struct FarEnd {
    client: HttpClient,
    /// By signal: where to, and the headers.
    targets: [Option<(Address, HeaderMap)>; 3],
    encoding: Encoding,
    compressor: Option<Compressor>,
    rejections: Rejections,
    clock: Arc<dyn Clock>,
    auth: Option<NamedAuth>,
    splitter: Option<Splitter>,
}

impl FarEnd {
    /// Connects when the first batch comes.
    pub fn new(config: &Config, context: &BuildContext) -> Result<Self, String> {
        let compressor = match config.compression {
            Some((kind, level, _)) => Some(Compressor::new(kind, level).map_err(|problem| problem.to_string())?),
            None => None,
        };
        let alpn: &[&'static [u8]] = if config.http2 {
            &[b"h2", b"http/1.1"]
        } else {
            &[b"http/1.1"]
        };
        let proxies = match &config.proxies {
            ProxySource::Configured(rules) => rules.clone(),
            ProxySource::Environment => ProxyRules::from_environment(),
        };
        let tls = Arc::new(TlsSource::new(config.tls.clone(), alpn));
        tls.observe(&context.instruments);
        let settings = HttpSettings {
            dialer: Dialer {
                tls: Some(tls),
                proxies: Arc::new(proxies),
            },
            max_idle: config.max_idle,
            max_connections: config.max_connections,
            idle_timeout: config.idle_timeout,
            no_keepalive: config.no_keepalive,
            http2_ping_after: config.http2_ping_after,
            http2_ping_timeout: config.http2_ping_timeout,
            write_buffer: config.write_buffer,
            read_buffer: config.read_buffer,
        };
        let with_headers = |address: &Address| (address.clone(), request_headers(config, address));
        Ok(Self {
            client: HttpClient::new(settings),
            targets: config
                .addresses
                .each_ref()
                .map(|address| address.as_ref().map(with_headers)),
            encoding: config.encoding,
            compressor,
            rejections: Rejections::new(context),
            clock: Arc::clone(&context.clock),
            auth: config
                .auth
                .clone()
                .map(|id| NamedAuth::new(id, &context.authenticators)),
            splitter: config.split_for_aws.then(|| Splitter::new(context)),
        })
    }

    /// Ends the connections.
    pub async fn close(&self) {
        self.client.close().await;
    }

    async fn send(&self, batch: Batch) -> Result<(), Refused> {
        match &self.splitter {
            Some(splitter) => {
                splitter
                    .send(batch, self.clock.now(), |piece| self.attempt(piece))
                    .await
            }
            None => self.send_one(batch).await,
        }
    }

    async fn send_one(&self, batch: Batch) -> Result<(), Refused> {
        self.attempt(batch).await.map_err(|failed| failed.refused)
    }

    /// One POST.
    async fn attempt(&self, batch: Batch) -> Result<(), Failed> {
        let before = |refused| Failed { refused, status: None };
        let signal = batch.signal();
        let Some((address, headers)) = &self.targets[signal as usize] else {
            let refused = Refused::permanent(format!("no endpoint is configured for {signal}"));
            return Err(before(refused));
        };
        // Holds the memory permits until the data has left.
        let origin = Arc::clone(batch.origin());
        let (chunks, _permit) = self.body(batch).await.map_err(before)?;
        let mut headers = headers.clone();
        if self.encoding == Encoding::Protobuf {
            headers.extend(origin.pieces.as_deref().and_then(batch_id_header));
        }
        if let Some(auth) = &self.auth {
            let request = Outgoing {
                method: &http::Method::POST,
                uri: &address.uri,
                headers: &mut headers,
                body: &chunks,
            };
            auth.authorize(request).await.map_err(before)?;
        }
        let answer = self.client.post(address.uri.clone(), headers, chunks).await;
        let answer = answer.map_err(|problem| {
            before(Refused::retryable(format!("{}: {problem}", address.uri)).with_code(Code::Unavailable))
        })?;
        self.judge(signal, address, &answer).map_err(|mut refused| {
            let unproven = answer.status == http::StatusCode::UNAUTHORIZED;
            if unproven && self.auth.as_ref().is_some_and(NamedAuth::was_rejected) {
                refused.permanent = false;
            }
            Failed {
                refused,
                status: Some(answer.status),
            }
        })
    }

    fn judge(&self, signal: Signal, address: &Address, answer: &Answer) -> Result<(), Refused> {
        if answer.status.is_success() {
            self.rejections.record(signal, partial_success(answer));
            return Ok(());
        }
        let failure = HttpFailure {
            status: answer.status,
            headers: &answer.headers,
            body: &answer.body,
            now: self.clock.now(),
        };
        Err(failure.into_refused(&address.uri.to_string()))
    }

    /// The pieces, and the permit over them where they are not the batch's own bytes.
    async fn body(&self, batch: Batch) -> Result<(Vec<Bytes>, Option<Permit>), Refused> {
        let mut held = None;
        let parts = match self.encoding {
            Encoding::Protobuf => batch.into_parts(),
            Encoding::Json => {
                // The door looked no deeper than the items; what is broken below them shows here.
                let (json, permit) = batch.to_json_within().map_err(|problem| match problem.is_retryable() {
                    true => Refused::retryable(problem.to_string()),
                    false => Refused::permanent(format!("cannot be written as JSON: {problem}")),
                })?;
                held = Some(permit);
                smallvec![Bytes::from(json)]
            }
        };
        let Some(compressor) = &self.compressor else {
            return Ok((gather(&[], &parts), held));
        };
        let mut body = Vec::new();
        compressor
            .compress(&parts, &mut body)
            .await
            .map_err(|problem| Refused::permanent(format!("cannot compress: {problem}")))?;
        Ok((vec![body.into()], None))
    }
}

impl Stage for FarEnd {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(self.send(batch))
    }
}

fn partial_success(answer: &Answer) -> Option<PartialSuccess> {
    let content_type = answer.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.starts_with("application/json") {
        PartialSuccess::from_json(&answer.body)
    } else if content_type.starts_with("application/x-protobuf") {
        PartialSuccess::from_protobuf(&answer.body)
    } else {
        None
    }
}

fn request_headers(config: &Config, address: &Address) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("radiosonde/", env!("CARGO_PKG_VERSION"))),
    );
    if let Some(authorization) = &address.authorization {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    // What is configured replaces the two above.
    for name in config.headers.keys() {
        headers.remove(name);
        for value in config.headers.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(match config.encoding {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        }),
    );
    if let Some((_, _, name)) = config.compression {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    headers
}
