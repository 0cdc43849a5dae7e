//! `radiosonde query`: what a running `dev` has stored.

use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::{Failed, Format, WindowArgs, show};
use crate::cli::client::{Api, StoreArgs};
use crate::cli::colour::Colour;
use crate::cli::output;
use crate::dev::terminal::text::Style;

/// `query`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  radiosonde query traces 'service=cart status=error duration>100ms'\n  \
    radiosonde query trace a41c77e0 --format md\n  radiosonde query logs --all '\"card declined\"'\n\n\
    Exit codes: 0 ok, 1 no such id, 2 the query cannot be read or the id is not unique, 3 no agent answers."
)]
pub struct QueryArgs {
    #[command(subcommand)]
    pub what: What,
    #[command(flatten)]
    pub store: StoreArgs,
    #[arg(long, value_enum, global = true, default_value_t)]
    pub format: Format,
    #[arg(long, value_enum, global = true, value_name = "WHEN", default_value_t)]
    pub color: Colour,
}

/// Which part of it.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Traces, the newest first.
    Traces {
        #[command(flatten)]
        list: ListArgs,
        /// recent, duration, errors or spans.
        #[arg(long, default_value = "recent")]
        sort: String,
        /// With health checks.
        #[arg(long)]
        health: bool,
        /// Only of this run.
        #[arg(long)]
        run: Option<String>,
    },
    /// One trace as a tree.
    Trace {
        /// Its id, or the beginning of it.
        id: String,
        /// Rows.
        #[arg(long)]
        limit: Option<usize>,
    },
    /// Spans.
    Spans(ListArgs),
    /// Log records.
    Logs(ListArgs),
    /// Metrics.
    Metrics(ListArgs),
    /// Errors, grouped by service, type and message.
    Errors(ListArgs),
    /// Services and their operations.
    Services(ListArgs),
    /// Operations by their 95th percentile.
    Slow(ListArgs),
    /// Aggregates.
    Stats {
        #[command(flatten)]
        list: ListArgs,
        /// Group by this key.
        #[arg(long)]
        by: Option<String>,
        /// What is aggregated.
        #[arg(long, default_value = "duration")]
        of: String,
    },
    /// What lints and alert rules have found.
    Alerts(ListArgs),
    /// Runs of applications.
    Runs,
}

/// A list.
#[derive(Args, Clone, Debug, Default)]
pub struct ListArgs {
    /// In the query language; several words are one query.
    #[arg(value_name = "QUERY")]
    pub q: Vec<String>,
    #[command(flatten)]
    pub window: WindowArgs,
    /// So many, however long the answer gets.
    #[arg(long)]
    pub limit: Option<usize>,
    /// Goes on where an answer ended.
    #[arg(long)]
    pub cursor: Option<String>,
}

/// Prints the answer.
pub async fn query(args: &QueryArgs) -> Result<u8, Failed> {
    let api = Api::reading(&args.store).await?;
    let style = Style {
        is_ascii: false,
        is_coloured: args.color.of_stdout() && args.format == Format::Text,
    };
    let text = match &args.what {
        What::Trace { id, limit } => {
            let path = format!("/api/v1/traces/{}", segment(id));
            let rows = limit.unwrap_or(100).to_string();
            let mut answer = api.get(&path, &[("limit", &rows)]).await?;
            let whole = answer["trace"]["trace_id"].as_str().unwrap_or(id).to_owned();
            answer["link"] = Json::from(link(api.base(), &format!("trace/{whole}"), &[]));
            show::trace(&answer, args.format, style)
        }
        other => {
            let asked = Asked::of(other);
            let answer = asked.ask(&api).await?;
            show::list(&answer, asked.list, asked.kind, args.format, style)
        }
    };
    output::text(&text);
    Ok(0)
}

/// A list as it is asked of the API.
struct Asked<'a> {
    path: &'static str,
    list: &'static str,
    kind: &'static str,
    args: &'a ListArgs,
    more: Vec<(&'static str, String)>,
}

const NO_LIST: &ListArgs = &ListArgs {
    q: Vec::new(),
    window: WindowArgs {
        from: None,
        to: None,
        all: true,
    },
    limit: None,
    cursor: None,
};

impl<'a> Asked<'a> {
    fn of(what: &'a What) -> Self {
        let plain = |path, list, args| Asked {
            path,
            list,
            kind: list,
            args,
            more: Vec::new(),
        };
        match what {
            What::Traces {
                list,
                sort,
                health,
                run,
            } => Asked {
                more: vec![
                    ("sort", sort.clone()),
                    ("health", u8::from(*health).to_string()),
                    ("run", run.clone().unwrap_or_default()),
                ],
                ..plain("/api/v1/traces", "traces", list)
            },
            What::Spans(list) => plain("/api/v1/spans", "spans", list),
            What::Logs(list) => plain("/api/v1/logs", "logs", list),
            What::Metrics(list) => plain("/api/v1/metrics", "metrics", list),
            What::Errors(list) => plain("/api/v1/errors", "errors", list),
            What::Services(list) => plain("/api/v1/services", "services", list),
            What::Slow(list) => plain("/api/v1/slow", "operations", list).with_kind("slow"),
            What::Stats { list, by, of } => Asked {
                more: vec![("by", by.clone().unwrap_or_default()), ("of", of.clone())],
                ..plain("/api/v1/stats", "stats", list)
            },
            What::Alerts(list) => plain("/api/v1/alerts", "alerts", list),
            What::Trace { .. } | What::Runs => plain("/api/v1/runs", "runs", NO_LIST),
        }
    }

    fn with_kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    /// The answer; one that would be too long is asked for again, shorter, so that its cursor is right.
    async fn ask(&self, api: &Api) -> Result<Json, Failed> {
        const USUAL: usize = 50;
        let mut answer = self.ask_for(api, self.args.limit.unwrap_or(USUAL)).await?;
        let fit = show::how_many_fit(&answer, self.list);
        let have = answer[self.list].as_array().map_or(0, Vec::len);
        if self.args.limit.is_none() && fit < have {
            answer = self.ask_for(api, fit).await?;
        }
        let q = self.args.q.join(" ");
        let window = &self.args.window;
        let parameters = [("q", q.as_str()), ("from", window.from()), ("to", window.to())];
        if answer.is_object() {
            answer["link"] = Json::from(link(api.base(), self.kind, &parameters));
        }
        Ok(answer)
    }

    async fn ask_for(&self, api: &Api, limit: usize) -> Result<Json, Failed> {
        let q = self.args.q.join(" ");
        let limit = limit.to_string();
        let window = &self.args.window;
        let mut parameters = vec![
            ("q", q.as_str()),
            ("from", window.from()),
            ("to", window.to()),
            ("limit", limit.as_str()),
            ("cursor", self.args.cursor.as_deref().unwrap_or_default()),
        ];
        for (name, value) in &self.more {
            parameters.push((name, value));
        }
        Ok(api.get(self.path, &parameters).await?)
    }
}

/// One segment of a path.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Where the page shows the same.
pub fn link(base: &str, page: &str, parameters: &[(&str, &str)]) -> Option<String> {
    if base.is_empty() {
        return None;
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    Some(format!("{base}/{page}{mark}{query}"))
}
