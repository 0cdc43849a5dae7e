//! `awss3` exporter: one object a batch into a bucket of S3 or a directory, with a manifest for what audits of span
//! retention ask.
//!
//! `config.rs` reads the Collector's keys and ours; what an object and a manifest are is in `retention::archives::objects`.

mod config;
mod far_end;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::config::Config;
use self::far_end::FarEnd;
use crate::aws::permission::Permission;
use crate::component::{
    BuildContext, BuiltExporter, ComponentKind, Delivery, ExporterPlan, Factory, NothingToStop, Plan, Stability,
    StartError,
};
use crate::config::Section;
use crate::pdata::Signal;
use crate::retention::archives::objects::place::Root;

/// The registry's entry.
pub struct AwsS3Factory;

impl Factory for AwsS3Factory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Exporter
    }

    fn type_name(&self) -> &'static str {
        "awss3"
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Alpha
    }

    fn summary(&self) -> &'static str {
        "Writes objects to S3 or a directory: OTLP, with manifests for span retention."
    }

    fn example(&self) -> &'static str {
        include_str!("example.yaml")
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        Some(Plan::Exporter(Box::new(AwsS3Plan(Arc::new(Config::check(section)?)))))
    }
}

/// What an exporter with this section needs of AWS, and the role that it takes.
pub fn permissions(section: &Section) -> Option<(String, Vec<Permission>)> {
    let config = Config::check(section)?;
    let Root::Bucket(bucket) = &config.place.root else {
        return Some((String::new(), Vec::new()));
    };
    Some((bucket.place.role_arn.clone(), bucket.writing(&config.place.prefix)))
}

struct AwsS3Plan(Arc<Config>);

impl ExporterPlan for AwsS3Plan {
    fn delivery(&self) -> Delivery {
        self.0.delivery.clone()
    }

    fn signals(&self) -> Option<&'static [Signal]> {
        Some(self.0.layout.marshaler.signals())
    }

    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError> {
        if let Root::Directory(path) = &self.0.place.root {
            let made = std::fs::create_dir_all(path);
            made.map_err(|error| StartError::new(&context, format!("cannot create {}: {error}", path.display())))?;
        }
        Ok(BuiltExporter {
            far_end: Arc::new(FarEnd::new(Arc::clone(&self.0), &context)),
            running: Arc::new(NothingToStop),
        })
    }
}
