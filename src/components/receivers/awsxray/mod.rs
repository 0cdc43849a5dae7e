//! `awsxray` receiver: takes the place of the X-Ray daemon. Segments by UDP become spans; sampling rules and targets are
//! asked for by TCP on the same port and passed on to AWS.
//!
//! A socket has two tasks: one reads datagrams in batches, and never waits for anything but the socket; one decodes them
//! and hands them to the pipeline. Between them is a bounded queue: when it is full, datagrams are dropped and counted.
//! The translation is in `aws::xray`; sockets and servers are opened by `net`.

mod cache;
mod config;
mod decode;
mod proxy;
mod region;
mod sockets;
mod telemetry;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::config::Config;
use self::decode::{Decoder, Holding};
use self::telemetry::Telemetry;
use crate::aws::xray::hold::Hold;
use crate::aws::xray::translate::Reader;
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, Deadline, Factory, Outlets, Plan, ReceiverPlan, Running, Stability,
    StartError,
};
use crate::config::Section;
use crate::net::server::HttpServer;
use crate::net::udp::{UdpSettings, UdpSocket};
use crate::pdata::Signal;

/// The registry's entry.
pub struct AwsXrayFactory;

impl Factory for AwsXrayFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Receiver
    }

    fn type_name(&self) -> &'static str {
        "awsxray"
    }

    fn signals(&self) -> &'static [Signal] {
        &[Signal::Traces]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "takes X-Ray segments by UDP, and sampling requests by TCP, in place of the X-Ray daemon"
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        Some(Plan::Receiver(Box::new(AwsXrayPlan(Arc::new(Config::check(section)?)))))
    }
}

struct AwsXrayPlan(Arc<Config>);

impl ReceiverPlan for AwsXrayPlan {
    fn start(&self, context: BuildContext, next: Outlets) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        Box::pin(async move { Ok(Arc::new(start(&self.0, &context, next).await?) as Arc<dyn Running>) })
    }
}

/// The sockets, their tasks, and the proxy.
struct Receiver {
    /// Read no more; decode what was read.
    quit: CancellationToken,
    tasks: TaskTracker,
    proxy: HttpServer,
    forwarder: Arc<proxy::Forwarder>,
    holding: Holding,
}

async fn start(config: &Arc<Config>, context: &BuildContext, next: Outlets) -> Result<Receiver, StartError> {
    let fail = |error: String| StartError::new(context, error);
    // Everything is bound before anything runs: a busy port leaves nothing behind.
    let settings = UdpSettings {
        endpoint: config.endpoint.clone(),
        receive_buffer: config.receive_buffer,
        sockets: config.sockets,
    };
    let sockets = UdpSocket::bind(&settings)
        .await
        .map_err(|error| fail(error.to_string()))?;
    let forwarder = proxy::Forwarder::new(config, context).map_err(fail)?;
    let proxy = proxy::serve(&forwarder, config)
        .await
        .map_err(|error| fail(error.to_string()))?;
    tell_where(context, &sockets, &proxy, config);

    let telemetry = Arc::new(Telemetry::new(context));
    let holding: Holding = Arc::new(Mutex::new(Hold::new(config.hold)));
    let receiver = Receiver {
        quit: CancellationToken::new(),
        tasks: TaskTracker::new(),
        proxy,
        forwarder: Arc::clone(&forwarder),
        holding: Arc::clone(&holding),
    };
    telemetry.observe_held(&receiver.holding);
    receiver.tasks.spawn(forwarder.find_region(receiver.quit.clone()));
    let decoder = Arc::new(Decoder {
        reader: Reader::new(config.translation.clone()),
        keep_inferred: config.keep_inferred,
        outlet: next.traces,
        telemetry: Arc::clone(&telemetry),
        holding,
        context: context.clone(),
    });
    let mut decoding = Vec::new();
    for socket in sockets {
        let (queue, chunks) = sockets::queue();
        let reading = sockets::Reading {
            socket,
            queue,
            telemetry: Arc::clone(&telemetry),
            context: context.clone(),
        };
        receiver.tasks.spawn(reading.run(receiver.quit.clone()));
        let decoder = Arc::clone(&decoder);
        decoding.push(receiver.tasks.spawn(async move { decoder.run(chunks).await }));
    }
    // What is held goes on when its time is over, and at the end, behind everything that could complete it.
    receiver
        .tasks
        .spawn(decoder.release_held(receiver.quit.clone(), decoding));
    Ok(receiver)
}

fn tell_where(context: &BuildContext, sockets: &[UdpSocket], proxy: &HttpServer, config: &Config) {
    for socket in sockets {
        let (address, granted) = (socket.address(), socket.granted());
        tracing::info!(receiver = %context.id, %address, receive_buffer = granted, "listening for X-Ray segments");
        if granted < config.receive_buffer {
            tracing::warn!(
                receiver = %context.id,
                wanted = config.receive_buffer,
                granted,
                "the kernel grants a smaller receive buffer; bursts may be lost: sysctl -w net.core.rmem_max={}",
                config.receive_buffer
            );
        }
    }
    for address in proxy.addresses() {
        tracing::info!(receiver = %context.id, %address, "listening for sampling requests of X-Ray SDKs");
    }
    if !config.endpoint.is_local() {
        tracing::warn!(
            receiver = %context.id,
            endpoint = %config.endpoint,
            "listening for other machines; X-Ray's protocol has neither encryption nor authentication"
        );
    }
}

impl Running for Receiver {
    fn stop(&self, deadline: Deadline) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.quit.cancel();
            self.tasks.close();
            let drained = tokio::time::timeout(deadline.remaining(), self.tasks.wait());
            let (drained, ()) = tokio::join!(drained, self.proxy.stop(deadline));
            if drained.is_err() {
                tracing::warn!("X-Ray segments were still being decoded at the deadline");
            }
            self.forwarder.close().await;
        })
    }
}
