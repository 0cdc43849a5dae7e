//! `debug` exporter: shows what arrives, as the Collector does: counts (`basic`), a line an item (`normal`) or every
//! field (`detailed`).
//!
//! Text of senders reaches a terminal here, so control characters in it are escaped. `text.rs` writes values,
//! `normal.rs` and `detailed.rs` the two long forms, `sink.rs` brings the text out.

mod detailed;
mod normal;
mod sink;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::component::{
    BoxFuture, BuildContext, BuiltExporter, ComponentId, ComponentKind, Delivery, ExporterPlan, Factory, NothingToStop,
    Plan, Refused, Stability, Stage, StartError,
};
use crate::components::exporters::delivery_config;
use crate::config::Section;
use crate::pdata::{Batch, Decoded, Signal, estimate_decoded};
use crate::wire;
use sink::{Sampler, Sink};

/// How much is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verbosity {
    #[default]
    Basic,
    Normal,
    Detailed,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    verbosity: String,
    sampling_initial: u64,
    sampling_thereafter: u64,
    use_internal_logger: bool,
    output_paths: Option<Vec<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            verbosity: "basic".to_owned(),
            sampling_initial: 2,
            sampling_thereafter: 1,
            use_internal_logger: true,
            output_paths: None,
        }
    }
}

/// See the module text.
pub struct DebugFactory;

impl Factory for DebugFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Exporter
    }

    fn type_name(&self) -> &'static str {
        "debug"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["logging"]
    }

    fn signals(&self) -> &'static [Signal] {
        &Signal::ALL
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Shows what arrives, in the log or on the terminal."
    }

    fn example(&self) -> &'static str {
        "verbosity: detailed\nuse_internal_logger: false\noutput_paths: [stdout]\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let mut delivery = delivery_config::read(section, Delivery::default());
        // Attempts cannot hang: there is no timeout to configure.
        delivery.timeout = None;
        // The level as configurations of the old `logging` exporter have it; its own verbosity decides here.
        if section.take("loglevel").is_some() {
            section.warn("`loglevel` has no effect any more: set `verbosity`");
        }
        let config: Config = section.read()?;
        // Any case, as the Collector reads it.
        let verbosity = match config.verbosity.to_ascii_lowercase().as_str() {
            "basic" => Verbosity::Basic,
            "normal" => Verbosity::Normal,
            "detailed" => Verbosity::Detailed,
            _ => {
                section.error_at("verbosity", "must be one of `basic`, `normal`, `detailed`");
                Verbosity::Basic
            }
        };
        if config.use_internal_logger && config.output_paths.is_some() {
            section.warn_at("output_paths", "has an effect only with `use_internal_logger: false`");
        }
        Some(Plan::Exporter(Box::new(DebugPlan {
            config,
            verbosity,
            delivery,
        })))
    }
}

struct DebugPlan {
    config: Config,
    verbosity: Verbosity,
    delivery: Delivery,
}

impl ExporterPlan for DebugPlan {
    fn delivery(&self) -> Delivery {
        self.delivery.clone()
    }

    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError> {
        let sink = if self.config.use_internal_logger {
            Sink::Log
        } else {
            let stdout = || vec!["stdout".to_owned()];
            let paths = self.config.output_paths.clone().unwrap_or_else(stdout);
            Sink::open(&paths).map_err(|problem| StartError::new(&context, problem))?
        };
        let far_end = Debug {
            id: context.id.clone(),
            verbosity: self.verbosity,
            sampler: Sampler::new(self.config.sampling_initial, self.config.sampling_thereafter),
            sink,
        };
        Ok(BuiltExporter {
            far_end: Arc::new(far_end),
            running: Arc::new(NothingToStop),
        })
    }
}

struct Debug {
    id: ComponentId,
    verbosity: Verbosity,
    sampler: Sampler,
    sink: Sink,
}

impl Stage for Debug {
    fn consume(&self, batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            if !self.sampler.admit(batch.signal()) {
                return Ok(());
            }
            let mut batch = batch;
            let counts = Counts::of(&mut batch).map_err(|error| malformed(&error))?;
            let details = self.describe(&mut batch)?;
            self.sink.write(&self.id, batch.signal(), &counts, details).await
        })
    }
}

impl Debug {
    /// The long forms; empty for `basic`.
    fn describe(&self, batch: &mut Batch) -> Result<String, Refused> {
        if self.verbosity == Verbosity::Basic {
            return Ok(String::new());
        }
        // Structs, and the text made of them, whose labels are longer than the fields: it grows by doubling, here and in
        // the log's own copy.
        let forms = match self.verbosity {
            Verbosity::Detailed => 8,
            Verbosity::Basic | Verbosity::Normal => 3,
        };
        let signal = batch.signal();
        let structs: usize = batch.parts().iter().map(|part| estimate_decoded(signal, part)).sum();
        let _permit = match batch.origin().reserve(forms * structs) {
            Ok(permit) => permit,
            // What is shown must not cost what it shows: the data went through.
            Err(problem) => return Ok(format!("(details left out: {problem})")),
        };
        let decoded = batch.decode().map_err(|error| malformed(&error))?;
        Ok(match (self.verbosity, &*decoded) {
            (Verbosity::Detailed, Decoded::Traces(request)) => detailed::traces(request),
            (Verbosity::Detailed, Decoded::Metrics(request)) => detailed::metrics(request),
            (Verbosity::Detailed, Decoded::Logs(request)) => detailed::logs(request),
            (_, Decoded::Traces(request)) => normal::traces(request),
            (_, Decoded::Metrics(request)) => normal::metrics(request),
            (_, Decoded::Logs(request)) => normal::logs(request),
        })
    }
}

fn malformed(error: &dyn std::fmt::Display) -> Refused {
    Refused::permanent(format!("malformed data below the items: {error}")).with_code(tonic::Code::InvalidArgument)
}

/// What `basic` shows, with the Collector's names.
struct Counts(Vec<(&'static str, usize)>);

impl Counts {
    /// From the bytes, or from structs where somebody decoded them before.
    fn of(batch: &mut Batch) -> Result<Self, wire::WireError> {
        let (signal, items) = (batch.signal(), batch.items());
        let mut resources = 0;
        let mut metrics = 0;
        for part in batch.parts() {
            for resource in wire::resources(part) {
                resources += 1;
                let resource = resource?;
                if signal != Signal::Metrics {
                    continue;
                }
                for scope in resource.scopes() {
                    metrics += scope?.items().count();
                }
            }
        }
        Ok(Self(match signal {
            Signal::Traces => vec![("resource spans", resources), ("spans", items)],
            Signal::Metrics => vec![
                ("resource metrics", resources),
                ("metrics", metrics),
                ("data points", items),
            ],
            Signal::Logs => vec![("resource logs", resources), ("log records", items)],
        }))
    }
}
