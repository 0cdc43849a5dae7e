//! Where a reader of a message can go on: the trace of an exemplar, the resource in the AWS console, our own API.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::config::{Links, label};
use super::message::Facts;

/// The links of one alert; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertLinks {
    pub traces: Vec<String>,
    pub console: String,
    pub runbook: String,
    /// Ours: shows the alert and how to silence it.
    pub silence: String,
}

/// Labels of resources: name, service and path of the console, with `{}` for the value.
const CONSOLES: [(&str, &str); 4] = [
    ("TableName", "dynamodbv2/home?region={region}#table?name={}"),
    ("EndpointName", "sagemaker/home?region={region}#/endpoints/{}"),
    ("PipelineName", "sagemaker/home?region={region}#/pipelines/{}"),
    ("FunctionName", "lambda/home?region={region}#/functions/{}"),
];

/// The links of an alert.
pub fn of(facts: &Facts, settings: &Links) -> AlertLinks {
    let region = label(&facts.labels, "region");
    let traces = facts.traces.iter().filter_map(|id| trace(id, &settings.trace, region));
    let silence = if settings.external_url.is_empty() {
        String::new()
    } else {
        format!("{}/alerts/{:016x}", settings.external_url, facts.fingerprint)
    };
    AlertLinks {
        traces: traces.collect(),
        console: console(facts, region),
        runbook: facts.runbook_url.clone(),
        silence,
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "console.amazonaws.cn"
    } else if region.starts_with("us-gov-") {
        "console.amazonaws-us-gov.com"
    } else {
        "console.aws.amazon.com"
    }
}

fn console(facts: &Facts, region: &str) -> String {
    if !is_region(region) {
        return String::new();
    }
    for (name, path) in CONSOLES {
        let value = label(&facts.labels, name);
        if !value.is_empty() {
            let path = path.replace("{region}", region).replace("{}", &encoded(value));
            return format!("https://{region}.{}/{path}", domain(region));
        }
    }
    String::new()
}

fn trace(id: &str, template: &str, region: &str) -> Option<String> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return None;
    }
    if !template.is_empty() {
        return Some(template.replace("{trace_id}", id));
    }
    // X-Ray writes a trace's id with its version and its time apart.
    let (time, rest) = id.split_at(8);
    is_region(region).then(|| {
        format!(
            "https://{region}.{}/xray/home?region={region}#/traces/1-{time}-{rest}",
            domain(region)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::dispatch_testing::told;
    use super::*;

    #[test]
    fn links_lead_to_the_resource_the_trace_and_our_own_page() {
        let mut alert = told(
            "Throttled",
            &[("region", "eu-central-1"), ("TableName", "a/b c")],
            1,
            None,
        );
        alert.traces = vec!["5759e988bd862e3fe1be46a994272793".to_owned(), "not an id".to_owned()];
        let facts = Facts::of(&alert);
        let settings = Links {
            external_url: "http://agent:4320".to_owned(),
            trace: String::new(),
        };
        let links = of(&facts, &settings);
        assert_eq!(
            links.console,
            "https://eu-central-1.console.aws.amazon.com/dynamodbv2/home?region=eu-central-1#table?name=a%2Fb%20c"
        );
        assert_eq!(
            links.traces,
            [
                "https://eu-central-1.console.aws.amazon.com/xray/home?region=eu-central-1#/traces/1-5759e988-bd862e3fe1be46a994272793"
            ]
        );
        assert_eq!(
            links.silence,
            format!("http://agent:4320/alerts/{:016x}", facts.fingerprint)
        );
        let settings = Links {
            trace: "https://t/{trace_id}?x".to_owned(),
            ..Links::default()
        };
        assert_eq!(
            of(&facts, &settings).traces,
            ["https://t/5759e988bd862e3fe1be46a994272793?x"]
        );
    }
}
