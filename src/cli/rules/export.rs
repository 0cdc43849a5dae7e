//! `radiosonde rules export`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::alert::export::{Options, Target, export as write};
use crate::alert::packs::{self, PACKS};
use crate::alert::rules::{Reading, RuleFile, read};
use crate::cli::output;
use crate::config::{Document, ProcessEnvironment};

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    Prometheus,
    Alertmanager,
    Cloudformation,
    Terraform,
}

#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    #[arg(long, value_enum)]
    pub to: To,
    /// Rule files; without any the shipped packs.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Which packs, with their parameters: what stands under `packs` of the component alerts.
    #[arg(long, value_name = "YAML", conflicts_with = "config")]
    pub packs: Option<String>,
    /// The packs of the components `alerts` of a configuration.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Operations that tables are used with; each is a metric of an alarm.
    #[arg(long = "operation", value_name = "NAME", value_delimiter = ',')]
    pub operations: Vec<String>,
    /// Prometheus: without steps, contact and escalation as annotations.
    #[arg(long)]
    pub no_guidance: bool,
}

/// Writes to stdout what the arguments ask for.
pub fn export(args: &ExportArgs) -> ExitCode {
    let files = match files(args) {
        Ok(files) => files,
        Err(lines) => {
            output::stderr(&format!("{}\n", lines.join("\n")));
            return ExitCode::FAILURE;
        }
    };
    let target = match args.to {
        To::Prometheus => Target::Prometheus,
        To::Alertmanager => Target::Alertmanager,
        To::Cloudformation => Target::CloudFormation,
        To::Terraform => Target::Terraform,
    };
    let mut options = Options {
        guidance: !args.no_guidance,
        ..Options::default()
    };
    if !args.operations.is_empty() {
        options.operations.clone_from(&args.operations);
    }
    let exported = write(target, &files, &options);
    output::text(&exported.text);
    let nobody = files
        .iter()
        .flat_map(|file| &file.groups)
        .flat_map(|group| &group.rules);
    if nobody.into_iter().any(|rule| rule.guidance.contact.is_empty()) {
        output::stderr("some rules have no contact: set ALERT_CONTACT, or `contact` of the pack\n");
    }
    if !exported.left_out.is_empty() {
        output::stderr(&format!(
            "differs from the rules:\n- {}\n",
            exported.left_out.join("\n- ")
        ));
    }
    ExitCode::SUCCESS
}

fn files(args: &ExportArgs) -> Result<Vec<RuleFile>, Vec<String>> {
    let mut texts = Vec::new();
    for path in &args.files {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => texts.push((name, text)),
            Err(error) => return Err(vec![format!("{name}: {error}")]),
        }
    }
    if texts.is_empty() || args.packs.is_some() || args.config.is_some() {
        texts.extend(pack_texts(args)?);
    }
    let mut files = Vec::new();
    for (name, text) in texts {
        let reading: Reading = read(&name, &text, &ProcessEnvironment);
        if reading.has_errors() {
            return Err(reading.lines());
        }
        files.push(reading.file);
    }
    Ok(files)
}

/// The packs that are asked for; all of them as they are shipped where nothing is said.
fn pack_texts(args: &ExportArgs) -> Result<Vec<(String, String)>, Vec<String>> {
    let (document, components) = if let Some(text) = &args.packs {
        let document = Document::plain("--packs", text).map_err(|problems| problems.lines())?;
        (document, false)
    } else if let Some(path) = &args.config {
        let inputs = crate::config::Inputs {
            uris: vec![path.display().to_string()],
            ..crate::config::Inputs::default()
        };
        (
            Document::load(&inputs, &ProcessEnvironment).map_err(|problems| problems.lines())?,
            true,
        )
    } else {
        let all = PACKS.iter();
        return Ok(all
            .map(|pack| (format!("pack {}", pack.name), pack.text.to_owned()))
            .collect());
    };
    let sections = if components {
        of_components(&document)
    } else {
        vec![document.root().clone()]
    };
    let mut texts = Vec::new();
    for section in &sections {
        texts.extend(
            packs::read(Some(section))
                .into_iter()
                .map(|pack| (pack.name, pack.text)),
        );
        section.report_untaken();
    }
    let problems = document.problems();
    if problems.has_errors() {
        return Err(problems.lines());
    }
    if texts.is_empty() {
        return Err(vec![
            "the configuration has no component `alerts` with `packs`".to_owned(),
        ]);
    }
    Ok(texts)
}

fn of_components(document: &Document) -> Vec<crate::config::Section> {
    let mut found = Vec::new();
    for kind in ["processors", "connectors"] {
        let Some(components) = document.root().take(kind) else {
            continue;
        };
        for key in components.keys() {
            let is_alerts = key.split('/').next() == Some("alerts");
            if let Some(packs) = is_alerts
                .then(|| components.take(&key))
                .flatten()
                .and_then(|own| own.take("packs"))
            {
                found.push(packs);
            }
        }
    }
    found
}
