use super::check;
use crate::component::{
    BoxFuture, BuildContext, BuiltConnector, BuiltExporter, BuiltProcessor, ComponentId, ComponentKind, ConnectorPlan,
    Delivery, ExporterPlan, Factory, Outlet, Outlets, Plan, ProcessorPlan, ReceiverPlan, Running, Stability,
    StartError,
};
use crate::config::{Document, Section};
use crate::pdata::Signal;

const ALL: &[Signal] = &[Signal::Traces, Signal::Metrics, Signal::Logs];

/// A component that is only ever checked.
struct Fake {
    kind: ComponentKind,
    type_name: &'static str,
    aliases: &'static [&'static str],
    signals: &'static [Signal],
}

struct FakePlan;

fn never(context: &BuildContext) -> StartError {
    StartError::new(context, "only checked, never built")
}

impl ReceiverPlan for FakePlan {
    fn start(
        &self,
        context: BuildContext,
        _: Outlets,
    ) -> BoxFuture<'_, Result<std::sync::Arc<dyn Running>, StartError>> {
        Box::pin(async move { Err(never(&context)) })
    }
}

impl ProcessorPlan for FakePlan {
    fn build(&self, context: BuildContext, _: Signal, _: Outlet) -> Result<BuiltProcessor, StartError> {
        Err(never(&context))
    }
}

impl ExporterPlan for FakePlan {
    fn delivery(&self) -> Delivery {
        Delivery::default()
    }

    fn build(&self, context: BuildContext) -> Result<BuiltExporter, StartError> {
        Err(never(&context))
    }
}

impl ConnectorPlan for FakePlan {
    fn emits(&self, from: Signal) -> &'static [Signal] {
        match from {
            Signal::Traces => &[Signal::Traces],
            Signal::Metrics => &[Signal::Metrics],
            Signal::Logs => &[Signal::Logs],
        }
    }

    fn build(&self, context: BuildContext, _: Outlets) -> Result<BuiltConnector, StartError> {
        Err(never(&context))
    }
}

impl crate::component::ExtensionPlan for FakePlan {
    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<std::sync::Arc<dyn Running>, StartError>> {
        Box::pin(async move { Err(never(&context)) })
    }
}

#[derive(serde::Deserialize, Default, serde::Serialize)]
#[serde(default)]
struct FakeConfig {
    #[allow(dead_code)] // Only read.
    endpoint: String,
    #[allow(dead_code)] // Only read.
    limit: u32,
}

impl Factory for Fake {
    fn kind(&self) -> ComponentKind {
        self.kind
    }
    fn type_name(&self) -> &'static str {
        self.type_name
    }
    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }
    fn signals(&self) -> &'static [Signal] {
        self.signals
    }
    fn stability(&self) -> Stability {
        Stability::Development
    }
    fn summary(&self) -> &'static str {
        "a fixture"
    }
    fn example(&self) -> &'static str {
        "{}"
    }
    fn check(&self, section: &Section) -> Option<Plan> {
        section.read::<FakeConfig>()?;
        Some(match self.kind {
            ComponentKind::Receiver => Plan::Receiver(Box::new(FakePlan)),
            ComponentKind::Processor => Plan::Processor(Box::new(FakePlan)),
            ComponentKind::Exporter => Plan::Exporter(Box::new(FakePlan)),
            ComponentKind::Connector => Plan::Connector(Box::new(FakePlan)),
            ComponentKind::Extension => Plan::Extension(Box::new(FakePlan)),
        })
    }
}

const fn fake(kind: ComponentKind, type_name: &'static str, aliases: &'static [&'static str]) -> Fake {
    Fake {
        kind,
        type_name,
        aliases,
        signals: ALL,
    }
}

const REGISTRY: &[&dyn Factory] = &[
    &fake(ComponentKind::Receiver, "in", &[]),
    &Fake {
        signals: &[Signal::Traces],
        ..fake(ComponentKind::Receiver, "spans", &[])
    },
    &fake(ComponentKind::Processor, "step", &[]),
    &fake(ComponentKind::Processor, "memory_limiter", &[]),
    &fake(ComponentKind::Exporter, "out", &["out_grpc", "old"]),
    &fake(ComponentKind::Connector, "join", &[]),
    &fake(ComponentKind::Extension, "health", &[]),
];

fn lines(text: &str) -> Vec<String> {
    let document = Document::from_text("c", text, &|_: &str| None).unwrap();
    match check(&document, REGISTRY) {
        Ok(checked) => checked.warnings.lines(),
        Err(problems) => problems.lines(),
    }
}

const GOOD: &str = "
receivers: {in: , spans/a: {endpoint: x}}
processors: {step: {}}
exporters: {out: {limit: 3}}
extensions: {health: }
service:
  extensions: [health]
  pipelines:
    traces: {receivers: [in, spans/a], processors: [step], exporters: [out]}
    logs/2: {receivers: [in], exporters: [out]}
";

#[test]
fn a_good_configuration_is_resolved() {
    let document = Document::from_text("c", GOOD, &|_: &str| None).unwrap();
    let checked = check(&document, REGISTRY).unwrap();
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    assert_eq!(checked.components.len(), 5);
    assert_eq!(checked.extensions, [ComponentId::new("health")]);
    assert_eq!(checked.pipelines[0].name, "traces");
    assert_eq!(checked.pipelines[0].receivers.len(), 2);
    assert_eq!(checked.pipelines[1].signal, Signal::Logs);
    assert!(
        checked
            .component(ComponentKind::Exporter, &ComponentId::new("out"))
            .is_some()
    );
}

#[test]
fn the_fingerprint_follows_the_content_not_the_layout() {
    let print = |text: &str| {
        let document = Document::from_text("c", text, &|_: &str| None).unwrap();
        let checked = check(&document, REGISTRY).unwrap();
        let id = ComponentId::new("out");
        checked.component(ComponentKind::Exporter, &id).unwrap().fingerprint
    };
    let same = GOOD.replace(
        "exporters: {out: {limit: 3}}",
        "exporters:\n  out:\n    limit: 3 # three",
    );
    let other = GOOD.replace("limit: 3", "limit: 4");
    assert_eq!(print(GOOD), print(&same));
    assert_ne!(print(GOOD), print(&other));
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_text() {
    let text = "
receivers:
  in: {endpiont: a}
  inn: {}
  '1x': {}
exporters:
  out: {limit: many}
  old: {}
  batch: {}
colour: red
service:
  pipelines:
    trace: {receivers: [in], exporters: [out]}
    metrics:
      receivers: [spans, in/2, out]
      exporters: []
      procesors: []
    profiles: {receivers: [in], exporters: [out]}
";
    assert_eq!(
        lines(text),
        [
            "c:3:8: receivers::in::endpiont: unknown key; did you mean \"endpoint\"?",
            "c:4:3: receivers::inn: unknown receiver \"inn\"; did you mean \"in\"?",
            "c:5:3: receivers::1x: \"1x\" is not a type: a letter, then letters, digits and _, at most 63",
            "c:7:16: exporters::out::limit: expected a whole number, found \"many\"",
            "c:8:3: warning: exporters::old: \"old\" is the old name of \"out\"",
            "c:9:3: exporters::batch: unknown exporter \"batch\"; allowed: old, out, out_grpc",
            "c:10:1: colour: unknown key; known here: connectors, exporters, extensions, processors, receivers, service",
            "c:13:5: service::pipelines::trace: unknown signal \"trace\"; did you mean \"traces\"?",
            "c:15:19: service::pipelines::metrics::receivers::0: no receiver is called \"spans\"; allowed: in, inn",
            "c:15:26: service::pipelines::metrics::receivers::1: no receiver is called \"in/2\"; allowed: in, inn",
            "c:15:32: service::pipelines::metrics::receivers::2: no receiver is called \"out\"; it is declared under exporters only",
            "c:16:7: service::pipelines::metrics::exporters: a pipeline needs at least one of exporters",
            "c:17:7: service::pipelines::metrics::procesors: unknown key; did you mean \"processors\"?",
            "c:18:5: service::pipelines::profiles: pipelines of profiles are not supported",
        ]
    );
}

#[test]
fn signals_must_fit() {
    let text = GOOD.replace("logs/2: {receivers: [in]", "logs/2: {receivers: [spans/a]");
    let lines = lines(&text);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].ends_with("the receiver \"spans/a\" does not do logs; it does traces"),
        "{lines:?}"
    );
}

#[test]
fn connectors_need_two_ends_that_fit_and_no_circle() {
    let with = |pipelines: &str| {
        lines(&format!(
            "receivers: {{in: }}\nexporters: {{out: }}\nconnectors: {{join: , join/2: }}\nservice:\n  pipelines:\n{pipelines}"
        ))
    };
    let good = with(
        "    traces/a: {receivers: [in], exporters: [join]}\n    traces/b: {receivers: [join], exporters: [out]}\n",
    );
    assert_eq!(good.len(), 1, "only the unused one is noted: {good:?}");

    let one_end = with("    traces: {receivers: [in], exporters: [join]}\n");
    assert!(
        one_end
            .iter()
            .any(|line| line.contains("no pipeline has it as receiver")),
        "{one_end:?}"
    );
    let other_end = with("    traces: {receivers: [join], exporters: [out]}\n");
    assert!(
        other_end
            .iter()
            .any(|line| line.contains("no pipeline has it as exporter")),
        "{other_end:?}"
    );

    let misfit =
        with("    traces: {receivers: [in], exporters: [join]}\n    logs: {receivers: [join], exporters: [out]}\n");
    assert!(
        misfit.iter().any(|line| line.contains("cannot pass traces")),
        "{misfit:?}"
    );
    assert!(
        misfit.iter().any(|line| line.contains("cannot make logs")),
        "{misfit:?}"
    );

    let circle = with(
        "    traces/a: {receivers: [in, join/2], exporters: [join]}\n    traces/b: {receivers: [join], exporters: [join/2, out]}\n    traces/c: {receivers: [join], exporters: [out]}\n",
    );
    assert!(
        circle
            .iter()
            .any(|line| line.ends_with("in a circle: traces/a, traces/b")),
        "{circle:?}"
    );
}

#[test]
fn a_memory_limiter_behind_others_is_a_trap() {
    let text = GOOD
        .replace("processors: {step: {}}", "processors: {step: {}, memory_limiter: }")
        .replace("processors: [step]", "processors: [step, memory_limiter]");
    let lines = lines(&text);
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("warning") && lines[0].contains("not the first"),
        "{lines:?}"
    );
}

#[test]
fn missing_parts_are_named() {
    assert!(lines("receivers: {in: }")[0].contains("\"service\" with its pipelines is missing"));
    assert!(lines("service: {}")[0].contains("\"pipelines\" is missing"));
    assert!(lines("service: {pipelines: {}}")[0].contains("at least one pipeline"));
    let lines = lines("service: {pipelines: {logs: }}");
    assert!(lines[0].contains("at least one of receivers"), "{lines:?}");
    assert!(lines[1].contains("at least one of exporters"), "{lines:?}");
}

#[test]
fn the_old_ballast_is_accepted_without_effect() {
    let text = GOOD
        .replace(
            "extensions: {health: }",
            "extensions: {health: , memory_ballast: {size_mib: 64}}",
        )
        .replace("extensions: [health]", "extensions: [memory_ballast, health]");
    let lines = lines(&text);
    assert!(lines[0].contains("has no effect"), "{lines:?}");
}
