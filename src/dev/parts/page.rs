//! One trace as Markdown, and as a page of its own that needs nothing else: the data stand in a script element that they
//! cannot leave, the page's own script writes text nodes only, and its policy lets it load nothing.

use base64::Engine;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::dev::terminal::text::{duration_text, harmless};

const SCRIPT: &str = r#"
const trace = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");
const make = (tag, text, style) => { const node = document.createElement(tag); node.textContent = text ?? ""; if (style) node.style.cssText = style; return node; };
const ms = (text) => { const n = Number(text) / 1e6; return n >= 1000 ? (n / 1000).toFixed(2) + " s" : n.toPrecision(3) + " ms"; };
const t = trace.trace, whole = Math.max(1, Number(t.duration)), table = document.createElement("table");
document.title = (t.root ? t.root.name : "trace") + " " + t.trace_id.slice(0, 8);
main.append(make("h1", document.title), make("p", `${t.spans} spans, ${t.errors} errors, ${ms(t.duration)}, trace ${t.trace_id}`));
for (const row of trace.rows) {
  const line = document.createElement("tr");
  if (row.status === "error") line.className = "error";
  const name = make("td", row.service + "  " + row.name, `padding-left:${Math.min(row.depth, 40) * 14 + 4}px`);
  const bar = document.createElement("td"), box = document.createElement("div");
  box.className = "bar";
  box.style.cssText = `margin-left:${100 * Number(row.start) / whole}%;width:${Math.max(0.3, 100 * Number(row.duration) / whole)}%`;
  bar.append(box);
  line.append(name, make("td", ms(row.duration)), bar, make("td", row.status_message ?? ""));
  table.append(line);
}
main.append(table);
if (trace.rows_total > trace.rows.length) main.append(make("p", `${trace.rows_total - trace.rows.length} more spans are not in this file`));
"#;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:24px;color-scheme:light dark}table{border-collapse:collapse;\
    width:100%}td{padding:2px 8px;white-space:nowrap;font-variant-numeric:tabular-nums}td:nth-child(3){width:50%}.bar{height:10px;\
    background:#4a7fb5;border-radius:2px;min-width:2px}.error .bar{background:#c0504d}.error td{font-weight:600}";

/// The page.
pub fn html(answer: &Value) -> String {
    // No `<` in the data: nothing in it ends its element or begins another.
    let data = answer
        .to_string()
        .replace('<', "\\u003c")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'sha256-{}'\">\n<title>trace</title>\n<style>{STYLE}</style>\n<main></main>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>{SCRIPT}</script>\n</html>\n",
        hash(SCRIPT)
    )
}

/// A list, indented by depth.
pub fn markdown(answer: &Value) -> String {
    let text = |value: &Value| {
        let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        harmless(&plain)
            .replace('\\', "\\\\")
            .replace('`', "\\`")
            .replace('<', "&lt;")
            .replace('*', "\\*")
            .replace('_', "\\_")
    };
    let nanos = |value: &Value| {
        value
            .as_str()
            .and_then(|text| text.parse().ok())
            .map(duration_text)
            .unwrap_or_default()
    };
    let trace = &answer["trace"];
    let mut lines = vec![
        format!("# Trace {}", text(&trace["trace_id"])),
        String::new(),
        format!(
            "{} spans, {} errors, {}",
            trace["spans"],
            trace["errors"],
            nanos(&trace["duration"])
        ),
        String::new(),
    ];
    for row in answer["rows"].as_array().into_iter().flatten() {
        let indent = "  ".repeat(row["depth"].as_u64().unwrap_or(0).min(20) as usize);
        let failure = match (&row["status"], row["status_message"].as_str()) {
            (status, Some(message)) if status == "error" && !message.is_empty() => {
                format!(" **error: {}**", text(&message.into()))
            }
            (status, _) if status == "error" => " **error**".to_owned(),
            _ => String::new(),
        };
        lines.push(format!(
            "{indent}- {} {} {}{failure}",
            text(&row["service"]),
            text(&row["name"]),
            nanos(&row["duration"])
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_do_not_leave_their_element() {
        let hostile = "</script><script>alert(1)</script><!--";
        let answer = json!({"trace": {"trace_id": "00", "spans": 1, "errors": 0, "duration": "1"}, "rows": [
            {"service": "a", "name": hostile, "depth": 0, "duration": "1000", "start": "0", "status": "error", "status_message": "`<b>`"}]});
        let page = html(&answer);
        assert_eq!(page.matches("</script>").count(), 2);
        assert_eq!(page.matches("<script").count(), 2);
        assert!(page.contains("\\u003c/script>"), "{page}");
        let list = markdown(&answer);
        assert!(!list.contains('<') && list.contains("error: \\`&lt;b>\\`"), "{list}");
    }
}
