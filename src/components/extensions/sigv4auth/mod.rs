//! `sigv4auth`: signs requests of exporters with AWS Signature Version 4.
//!
//! Credentials come from the default chain, a profile-less one as the SDKs have it, or a role; they are read when the
//! first request is signed and again before they expire. Knows nothing of what is sent.

mod config;
mod host;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::config::Config;
use self::sign::Signer;
use crate::component::{
    BoxFuture, BuildContext, ClientAuth, ComponentKind, ExtensionPlan, Factory, Plan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::pdata::Signal;

/// The registry's entry.
pub struct SigV4AuthFactory;

impl Factory for SigV4AuthFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Extension
    }

    fn type_name(&self) -> &'static str {
        "sigv4auth"
    }

    fn signals(&self) -> &'static [Signal] {
        &[]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Signs requests of exporters with AWS Signature Version 4."
    }

    fn example(&self) -> &'static str {
        "region: us-east-1\nservice: xray\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config = Config::read(section)?;
        Some(Plan::Extension(Box::new(SigV4Plan(config))))
    }
}

struct SigV4Plan(Config);

impl ExtensionPlan for SigV4Plan {
    fn authenticates(&self) -> bool {
        true
    }

    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let auth: Arc<dyn ClientAuth> = Arc::new(Signer::new(self.0.clone(), Arc::clone(&context.clock)));
        let registered = context.authenticators.register(&context.id, Some(auth), None);
        Box::pin(std::future::ready(Ok(registered)))
    }
}
