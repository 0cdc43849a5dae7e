//! The far end of an `otlp` exporter: one unary call for each batch.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, header};
use tonic::Code;

use super::super::answer::Rejections;
use super::config::Config;
use crate::component::{BoxFuture, BuildContext, NamedAuth, Outgoing, Refused, Stage};
use crate::net::client::batch_id::batch_id_header;
use crate::net::client::chunks::gather;
use crate::net::client::dial::{Dialer, Target};
use crate::net::client::grpc::{Channel, ChannelSettings};
use crate::net::client::message;
use crate::net::client::proxy::ProxyRules;
use crate::net::client::status::{GrpcStatus, PartialSuccess};
use crate::net::codec::compress::Compressor;
use crate::net::tls::client::TlsSource;
use crate::pdata::{Batch, Parts, Pieces, Signal};

/// An open channel and everything that is the same for all calls.
pub struct FarEnd {
    channel: Channel,
    endpoint: String,
    headers: HeaderMap,
    compressor: Option<Compressor>,
    rejections: Rejections,
    auth: Option<NamedAuth>,
}

impl FarEnd {
    /// Begins to connect; does not wait for the peer.
    pub fn open(config: &Config, context: &BuildContext) -> Result<Self, String> {
        let compressor = match config.compression {
            Some((kind, level, _)) => Some(Compressor::new(kind, level).map_err(|problem| problem.to_string())?),
            None => None,
        };
        let tls = config.tls.clone().map(|tls| Arc::new(TlsSource::new(tls, &[b"h2"])));
        if let Some(tls) = &tls {
            tls.observe(&context.instruments);
        }
        let settings = ChannelSettings {
            target: Target {
                host: config.endpoint.host.clone(),
                port: config.endpoint.port,
            },
            dialer: Dialer {
                tls,
                proxies: Arc::new(ProxyRules::from_environment()),
            },
            authority: config.authority.clone(),
            balancer: config.balancer,
            keepalive: config.keepalive,
            wait_for_ready: config.wait_for_ready,
            write_buffer: config.write_buffer,
        };
        Ok(Self {
            channel: Channel::open(settings),
            endpoint: config.endpoint.authority(),
            headers: request_headers(config),
            compressor,
            rejections: Rejections::new(context),
            auth: config
                .auth
                .clone()
                .map(|id| NamedAuth::new(id, &context.authenticators)),
        })
    }

    /// Ends the connections.
    pub async fn close(&self) {
        self.channel.close().await;
    }

    async fn send(&self, batch: Batch) -> Result<(), Refused> {
        let signal = batch.signal();
        // Holds the memory permits until the data has left.
        let origin = Arc::clone(batch.origin());
        let chunks = self.message(batch.into_parts()).await;
        let answer = match chunks {
            Ok(chunks) => self.call(path(signal), &chunks, origin.pieces.as_deref()).await?,
            Err(status) => Err(status),
        };
        match answer {
            Ok(answer) => {
                self.rejections.record(signal, PartialSuccess::from_protobuf(&answer));
                Ok(())
            }
            Err(status) => {
                let unproven = status.code == Code::Unauthenticated;
                let mut refused = status.into_refused(&self.endpoint);
                if unproven && self.auth.as_ref().is_some_and(NamedAuth::was_rejected) {
                    refused.permanent = false;
                }
                Err(refused)
            }
        }
    }

    /// One call, proven where that is configured.
    async fn call(
        &self,
        path: PathAndQuery,
        chunks: &[Bytes],
        pieces: Option<&Pieces>,
    ) -> Result<Result<Bytes, GrpcStatus>, Refused> {
        let batch_id = pieces.and_then(batch_id_header);
        if self.auth.is_none() && batch_id.is_none() {
            return Ok(self.channel.unary(path, &self.headers, chunks).await);
        }
        let mut headers = self.headers.clone();
        headers.extend(batch_id);
        let Some(auth) = &self.auth else {
            return Ok(self.channel.unary(path, &headers, chunks).await);
        };
        let uri = self.channel.uri(path.clone());
        let uri = uri.map_err(|status| status.into_refused(&self.endpoint))?;
        let request = Outgoing {
            method: &http::Method::POST,
            uri: &uri,
            headers: &mut headers,
            body: chunks,
        };
        auth.authorize(request).await?;
        Ok(self.channel.unary(path, &headers, chunks).await)
    }

    /// The gRPC message: prefix and content.
    async fn message(&self, parts: Parts) -> Result<Vec<Bytes>, GrpcStatus> {
        let Some(compressor) = &self.compressor else {
            let length = parts.iter().map(Bytes::len).sum();
            return Ok(gather(&message::prefix(false, length)?, &parts));
        };
        let mut message = vec![0; message::PREFIX];
        compressor
            .compress(&parts, &mut message)
            .await
            .map_err(|problem| GrpcStatus::new(Code::Internal, format!("cannot compress: {problem}")))?;
        let prefix = message::prefix(true, message.len() - message::PREFIX)?;
        message[..message::PREFIX].copy_from_slice(&prefix);
        Ok(vec![message.into()])
    }
}

impl Stage for FarEnd {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(self.send(batch))
    }
}

fn path(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    })
}

fn request_headers(config: &Config) -> HeaderMap {
    let mut headers = config.headers.clone();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::USER_AGENT, config.user_agent.clone());
    if let Some((_, _, name)) = config.compression {
        headers.insert("grpc-encoding", HeaderValue::from_static(name));
    }
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    if let Some(timeout) = config.delivery.timeout {
        // At most eight digits (gRPC over HTTP/2, "Timeout"): beyond a day there is no point in telling.
        let millis = timeout.as_millis().clamp(1, 99_999_999);
        if let Ok(value) = HeaderValue::try_from(format!("{millis}m")) {
            headers.insert("grpc-timeout", value);
        }
    }
    headers
}
