//! The pages. Everything that comes from a configuration or a component is escaped.

use tokio::time::Instant;

use crate::component::{ComponentId, ComponentKind, ComponentState, StatusBoard, UnixNanos};

/// What the pages are made from.
pub struct Pages {
    pub board: StatusBoard,
    pub started: Instant,
    pub started_at: UnixNanos,
}

impl Pages {
    /// The page at a path.
    pub fn page(&self, path: &str) -> Option<String> {
        Some(match path.trim_end_matches('/') {
            "/debug/servicez" => document("Service", &self.service()),
            "/debug/pipelinez" => document("Pipelines", &self.pipelines()),
            "/debug/extensionz" => document("Extensions", &self.components(Some(ComponentKind::Extension))),
            "/debug/featurez" => document("Features", FEATURES),
            _ => return None,
        })
    }

    fn service(&self) -> String {
        let since = jiff::Timestamp::from_nanosecond(i128::from(self.started_at.0));
        let since = since.map_or_else(|_| String::new(), |time| time.to_string());
        let uptime = format!("{} s", self.started.elapsed().as_secs());
        let rows = [
            vec!["Command".to_owned(), "radiosonde".to_owned()],
            vec!["Version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()],
            vec!["Started".to_owned(), since],
            vec!["Uptime".to_owned(), uptime],
            vec!["Ready".to_owned(), self.board.is_ready().to_string()],
        ];
        let links = ["pipelinez", "extensionz", "featurez"]
            .map(|page| format!("<li><a href=\"/debug/{page}\">{page}</a></li>"))
            .concat();
        format!("{}<ul>{links}</ul>{}", table(&["", ""], &rows), self.components(None))
    }

    fn pipelines(&self) -> String {
        let join = |ids: &[ComponentId]| ids.iter().map(ComponentId::as_str).collect::<Vec<_>>().join(", ");
        let mut rows = Vec::new();
        for pipeline in self.board.pipelines() {
            rows.push(vec![
                pipeline.name.clone(),
                pipeline.signal.to_string(),
                join(&pipeline.receivers),
                join(&pipeline.processors),
                join(&pipeline.exporters),
            ]);
        }
        table(&["Pipeline", "Signal", "Receivers", "Processors", "Exporters"], &rows)
    }

    fn components(&self, only: Option<ComponentKind>) -> String {
        let mut rows = Vec::new();
        for (kind, id, state) in self.board.components() {
            if only.is_some_and(|only| only != kind) {
                continue;
            }
            let state = match state {
                ComponentState::Starting => "starting".to_owned(),
                ComponentState::Ok => "ok".to_owned(),
                ComponentState::Degraded(message) => format!("degraded: {message}"),
                ComponentState::Stopping => "stopping".to_owned(),
                ComponentState::Stopped => "stopped".to_owned(),
            };
            rows.push(vec![kind.name().to_owned(), id.as_str().to_owned(), state]);
        }
        table(&["Kind", "Id", "State"], &rows)
    }
}

/// Gates are accepted on the command line; in this version none of them changes anything.
const FEATURES: &str = "<p>No feature gate has an effect in this version.</p>";

fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\
         <body><h1>{title}</h1>{body}</body></html>\n"
    )
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<table border=\"1\"><tr>");
    for cell in head {
        html.push_str(&format!("<th>{}</th>", escape(cell)));
    }
    html.push_str("</tr>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            html.push_str(&format!("<td>{}</td>", escape(cell)));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
    html
}

/// Text as HTML text or attribute value.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
