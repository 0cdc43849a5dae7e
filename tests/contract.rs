//! The contract that every component of the registry keeps: its examples load, an unknown key is an error with a position,
//! it starts and stops, and after a stop it keeps nothing that it is given.

#![allow(clippy::unwrap_used)] // All of it is test code; helpers may fail a test too.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use radiosonde::component::{
    BoxFuture, BuildContext, BuiltProcessor, ComponentKind, Deadline, Factory, Outlet, Outlets, Plan, Refused, Running,
    Stage,
};
use radiosonde::components::REGISTRY;
use radiosonde::config::Section;
use radiosonde::pdata::{Batch, Origin};

/// Takes everything and counts the batches.
#[derive(Default)]
struct Sink(AtomicUsize);

impl Stage for Sink {
    fn consume(&self, _batch: Batch) -> BoxFuture<'_, Result<(), Refused>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn name(factory: &dyn Factory) -> String {
    format!("{} {}", factory.kind().name(), factory.type_name())
}

/// Ports are picked by the kernel, files lie in a folder of the test: many tests run side by side.
fn local(example: &str) -> String {
    let mut text = String::new();
    for line in example.lines() {
        let is_listener = ["localhost:", "127.0.0.1:", "0.0.0.0:"]
            .iter()
            .any(|host| line.contains(host));
        match line.split_once("endpoint:") {
            Some((before, _)) if is_listener => text.push_str(&format!("{before}endpoint: 127.0.0.1:0\n")),
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

#[test]
fn every_example_loads_without_a_problem() {
    for factory in REGISTRY {
        let section = Section::from_yaml(factory.example());
        let plan = factory.check(&section);
        let errors: Vec<String> = section.problems().into_iter().filter(|line| is_error(line)).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", name(*factory));
        let kind = match plan {
            Some(Plan::Receiver(_)) => ComponentKind::Receiver,
            Some(Plan::Processor(_)) => ComponentKind::Processor,
            Some(Plan::Exporter(_)) => ComponentKind::Exporter,
            Some(Plan::Connector(_)) => ComponentKind::Connector,
            Some(Plan::Extension(_)) => ComponentKind::Extension,
            None => panic!("{}: its example gives no plan", name(*factory)),
        };
        assert_eq!(kind, factory.kind(), "{}", name(*factory));
    }
}

fn is_error(line: &str) -> bool {
    !line.contains("warning: ") && !line.contains("info: ")
}

#[test]
fn an_unknown_key_is_an_error_with_a_position() {
    for factory in REGISTRY {
        let text = match factory.example().trim() {
            "{}" | "" => "no_such_key_: 1\n".to_owned(),
            example => format!("{example}\nno_such_key_: 1\n"),
        };
        let section = Section::from_yaml(&text);
        let _plan = factory.check(&section);
        let problems = section.problems();
        let told = problems
            .iter()
            .any(|line| line.contains("no_such_key_") && line.contains("unknown key"));
        assert!(told, "{}: {problems:?}", name(*factory));
        let line = text.lines().count().to_string();
        assert!(
            problems.iter().any(|problem| problem.contains(&format!("{line}:"))),
            "{}: {problems:?}",
            name(*factory)
        );
    }
}

#[test]
fn names_are_unique_and_stay_within_the_rules() {
    let mut seen = std::collections::BTreeSet::new();
    for factory in REGISTRY {
        for spelling in factory.aliases().iter().copied().chain([factory.type_name()]) {
            assert!(
                seen.insert((factory.kind(), spelling)),
                "{} is there twice: {spelling}",
                name(*factory)
            );
            assert!(
                spelling
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || letter == '_'),
                "{spelling}"
            );
        }
        assert!(!factory.summary().is_empty(), "{}", name(*factory));
        let has_signals = !factory.signals().is_empty();
        assert_eq!(
            has_signals,
            factory.kind() != ComponentKind::Extension,
            "{}",
            name(*factory)
        );
    }
}

#[test]
fn every_component_has_a_readme_whose_example_loads() {
    for factory in REGISTRY {
        let folder = PathBuf::from("src/components")
            .join(factory.kind().section())
            .join(factory.type_name());
        let readme = fs::read_to_string(folder.join("README.md"))
            .unwrap_or_else(|error| panic!("{}: {}: {error}", name(*factory), folder.display()));
        let yaml = readme.split("```yaml").nth(1).and_then(|rest| rest.split("```").next());
        let yaml = yaml.unwrap_or_else(|| panic!("{}: its README has no YAML", name(*factory)));
        let own = own_section(yaml, *factory);
        let section = Section::from_yaml(&own);
        let plan = factory.check(&section);
        let errors: Vec<String> = section.problems().into_iter().filter(|line| is_error(line)).collect();
        assert!(
            plan.is_some() && errors.is_empty(),
            "{}: {errors:?} in\n{own}",
            name(*factory)
        );
    }
}

/// What stands below the component's id: the first id of its type below `receivers:`, ... in the README.
fn own_section(yaml: &str, factory: &dyn Factory) -> String {
    let heading = format!("{}:", factory.kind().section());
    let lines: Vec<&str> = yaml.lines().collect();
    let start = lines.iter().position(|line| line.trim_end() == heading);
    let start = start.unwrap_or_else(|| panic!("{}: its README has no `{heading}`", name(factory))) + 1;
    let spellings: Vec<&str> = factory.aliases().iter().copied().chain([factory.type_name()]).collect();
    let is_own = |line: &str| {
        let id = line.trim().split([':', '/']).next().unwrap_or_default();
        spellings.contains(&id)
    };
    let own = lines[start..].iter().position(|line| is_own(line));
    let own = start + own.unwrap_or_else(|| panic!("{}: its README does not show it", name(factory)));
    let depth = indent(lines[own]);
    let same_line = lines[own].split_once(':').map_or("", |(_, rest)| rest.trim());
    if !same_line.is_empty() && !same_line.starts_with('#') {
        return same_line.to_owned();
    }
    let below = lines[own + 1..]
        .iter()
        .take_while(|line| line.trim().is_empty() || indent(line) > depth);
    let text = below.copied().collect::<Vec<_>>().join("\n");
    if text.trim().is_empty() {
        "{}".to_owned()
    } else {
        text + "\n"
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[tokio::test]
async fn every_component_starts_and_stops_and_a_stopped_processor_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for factory in REGISTRY {
        let section =
            Section::from_yaml(&local(factory.example()).replace("/var/", &format!("{}/", folder.path().display())));
        let Some(plan) = factory.check(&section) else {
            panic!("{}: {:?}", name(*factory), section.problems());
        };
        let mut context = BuildContext::standalone(factory.kind(), factory.type_name());
        if factory.kind() == ComponentKind::Processor {
            context.state_dir = Some(folder.path().join(factory.type_name()));
        }
        let stopping: Vec<Arc<dyn Running>> = match plan {
            Plan::Receiver(plan) => {
                let mut outlets = Outlets::default();
                for signal in factory.signals() {
                    outlets.set(*signal, Outlet::to(Arc::<Sink>::default()));
                }
                vec![plan.start(context, outlets).await.unwrap()]
            }
            Plan::Extension(plan) => vec![plan.start(context).await.unwrap()],
            Plan::Exporter(plan) => vec![plan.build(context).unwrap().running],
            Plan::Connector(plan) => {
                let mut outlets = Outlets::default();
                for signal in factory.signals() {
                    for emitted in plan.emits(*signal) {
                        outlets.set(*emitted, Outlet::to(Arc::<Sink>::default()));
                    }
                }
                vec![plan.build(context, outlets).unwrap().running]
            }
            Plan::Processor(plan) => {
                let mut built_for = 0;
                for signal in factory.signals() {
                    let sink = Arc::<Sink>::default();
                    let built = match plan.build(context.clone(), *signal, Outlet::to(sink.clone())) {
                        Ok(built) => built,
                        // An example may be about one signal; then the refusal of another names it.
                        Err(error) => {
                            assert!(error.message.contains(signal.name()), "{}: {error}", name(*factory));
                            continue;
                        }
                    };
                    built_for += 1;
                    if let BuiltProcessor::Active { stage, running } = built {
                        running.stop(Deadline::after(Duration::from_secs(2))).await;
                        // One empty resource group: well framed, nothing in it.
                        let bytes = bytes::Bytes::from_static(&[0x0a, 0x00]);
                        let late = stage.consume(Batch::from_wire(*signal, bytes, 1, Origin::internal()));
                        let answer = tokio::time::timeout(Duration::from_secs(2), late).await;
                        // Taking it is right only for who passes it on at once: nothing may stay inside.
                        let taken = matches!(answer, Ok(Ok(()))) && sink.0.load(Ordering::Relaxed) == 1;
                        let refused = matches!(answer, Ok(Err(_)));
                        assert!(taken || refused, "{} keeps data after its stop", name(*factory));
                    }
                }
                assert!(built_for > 0, "{} builds for no signal", name(*factory));
                Vec::new()
            }
        };
        for running in stopping {
            let stop = async {
                running.stop(Deadline::after(Duration::from_secs(2))).await;
                // Twice, because a stop may come from a reload and from the end.
                running.stop(Deadline::after(Duration::from_secs(2))).await;
            };
            let stopped = tokio::time::timeout(Duration::from_secs(5), stop).await;
            assert!(stopped.is_ok(), "{} does not stop", name(*factory));
        }
    }
}
