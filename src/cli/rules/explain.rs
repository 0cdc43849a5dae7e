//! `rules explain`: asks a running agent why an alert fires or does not.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value as Json;

use crate::cli::args::Format;
use crate::cli::client::{AgentArgs, Api};
use crate::cli::output;
use crate::cli::tools::Failed;

#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// The name of the alert.
    alert: String,
    /// Only what has these labels.
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    labels: Vec<String>,
    /// A time in place of the last evaluation, such as 2026-11-20T14:20:00Z; as far back as points are kept.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    agent: AgentArgs,
}

pub(super) async fn explain(args: &ExplainArgs) -> Result<u8, Failed> {
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    for label in &args.labels {
        let pair = label.split_once('=');
        parameters.push(pair.ok_or_else(|| Failed::new(2, format!("{label:?} is not NAME=VALUE")))?);
    }
    parameters.extend(args.at.as_deref().map(|at| ("at", at)));
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    if args.alert.is_empty() || !args.alert.chars().all(is_name) {
        return Err(Failed::new(2, format!("{:?} is no name of an alert", args.alert)));
    }
    let answer = Api::new(&args.agent)
        .get(&format!("/api/v1/rules/{}", args.alert), &parameters)
        .await?;
    match args.format {
        Format::Json => output::json(&answer),
        Format::Text => {
            for rule in list(&answer["rules"]) {
                output::text(&text_of(rule));
            }
        }
    }
    Ok(0)
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn labels(value: &Json) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn text_of(rule: &Json) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_rule(&mut out, rule);
    out
}

fn write_rule(out: &mut String, rule: &Json) -> std::fmt::Result {
    let of = |key: &str| text(&rule[key]);
    writeln!(
        out,
        "{} ({}) of engine {}, {}",
        of("alert"),
        of("severity"),
        of("engine"),
        of("place")
    )?;
    writeln!(
        out,
        "  evaluated each {}, last at {}; known up to {}",
        of("interval"),
        of("at"),
        of("watermark")
    )?;
    writeln!(
        out,
        "  for {}, keep_firing_for {}, datapoints {}, missing: {}",
        of("for"),
        of("keep_firing_for"),
        of("datapoints"),
        of("missing")
    )?;
    if rule["stale"] == true {
        writeln!(out, "  stale: its data does not come")?;
    }
    if !rule["error"].is_null() {
        writeln!(out, "  error: {}", of("error"))?;
    }
    writeln!(out, "alerts")?;
    for alert in list(&rule["alerts"]) {
        let (state, value) = (text(&alert["state"]), text(&alert["value"]));
        writeln!(
            out,
            "  {state} {} value {value}: {}",
            labels(&alert["labels"]),
            text(&alert["why"])
        )?;
    }
    writeln!(out, "expression")?;
    for part in list(&rule["parts"]) {
        let depth = usize::try_from(part["depth"].as_u64().unwrap_or(0)).unwrap_or(0);
        let indent = "  ".repeat(depth + 1);
        writeln!(out, "{indent}{}", text(&part["expr"]))?;
        if !part["error"].is_null() {
            writeln!(out, "{indent}  error: {}", text(&part["error"]))?;
        }
        for value in list(&part["values"]) {
            writeln!(
                out,
                "{indent}  = {} {}",
                text(&value["value"]),
                labels(&value["labels"])
            )?;
        }
        let (shown, all) = (list(&part["values"]).len() as u64, part["of"].as_u64().unwrap_or(0));
        if all > shown {
            writeln!(out, "{indent}  and {} more", all - shown)?;
        }
        if all == 0 && part["error"].is_null() {
            writeln!(out, "{indent}  = nothing")?;
        }
    }
    writeln!(out, "points")?;
    for selector in list(&rule["points"]) {
        writeln!(
            out,
            "  {}: {} series",
            text(&selector["selector"]),
            text(&selector["of"])
        )?;
        for series in list(&selector["series"]) {
            let (period, missing) = (text(&series["period"]), text(&series["a_missing_point_is"]));
            writeln!(
                out,
                "    {} period {period}, a missing point is {missing}",
                labels(&series["labels"])
            )?;
            for point in list(&series["points"]) {
                writeln!(out, "      {} {}", text(&point[0]), text(&point[1]))?;
            }
        }
    }
    writeln!(out, "sources")?;
    for source in list(&rule["sources"]) {
        writeln!(
            out,
            "  {} ({}): known until {}, delay {}, last arrival {}{}",
            text(&source["source"]),
            text(&source["kind"]),
            text(&source["known_until"]),
            text(&source["delay"]),
            text(&source["last_arrival"]),
            if source["blind"] == true { ", BLIND" } else { "" },
        )?;
    }
    Ok(())
}
