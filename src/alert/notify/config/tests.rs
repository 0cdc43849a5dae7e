use super::*;

fn read(text: &str) -> (Settings, Vec<String>) {
    let section = Section::from_yaml(text);
    let settings = Settings::read(&section);
    (settings, section.problems())
}

/// With a receiver `a` and a receiver `b`.
fn with_receivers(text: &str) -> (Settings, Vec<String>) {
    read(&format!("receivers: [{{name: a}}, {{name: b}}]\n{text}"))
}

fn labels(pairs: &[(&str, &str)]) -> super::super::super::Labels {
    let mut labels: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    labels.sort();
    labels
}

#[test]
fn nothing_at_all_tells_nobody() {
    let (settings, problems) = read("{}");
    assert_eq!(problems, Vec::<String>::new());
    assert!(settings.route.is_none());
    assert!(read("route: {}").0.route.is_none());
}

#[test]
fn defaults_are_those_of_the_specification() {
    let (settings, problems) = with_receivers("route: {receiver: a}");
    assert_eq!(problems, Vec::<String>::new());
    let route = settings.route.unwrap();
    let names = ["alertname", "account_id", "region"].map(str::to_owned).to_vec();
    assert_eq!(route.grouping, Grouping::By(names));
    let seconds = [route.group_wait, route.group_interval, route.repeat_interval].map(|nanos| nanos / 1_000_000_000);
    assert_eq!(seconds, [30, 300, 14_400]);
}

#[test]
fn an_alert_takes_the_routes_that_alertmanager_would_send_it_on() {
    let (settings, problems) = with_receivers(
        "route:\n  receiver: a\n  group_by: [alertname]\n  routes:\n  - matchers: [severity=\"critical\"]\n    receiver: b\n    \
         continue: true\n    group_wait: 0s\n    routes: [{matchers: [team=\"x\"], group_by: ['...']}]\n  \
         - match: {severity: critical}\n    repeat_interval: 1h\n  - match_re: {team: \"x|y\"}\n    receiver: b\n",
    );
    assert_eq!(problems, Vec::<String>::new());
    let route = settings.route.unwrap();
    let ids =
        |pairs: &[(&str, &str)]| -> Vec<String> { route.of(&labels(pairs)).iter().map(|one| one.id.clone()).collect() };
    assert_eq!(ids(&[("severity", "info")]), ["0"]);
    assert_eq!(ids(&[("severity", "critical")]), ["0/0", "0/1"]);
    assert_eq!(ids(&[("severity", "critical"), ("team", "x")]), ["0/0/0", "0/1"]);
    assert_eq!(ids(&[("team", "y")]), ["0/2"]);
    let both = route.of(&labels(&[("severity", "critical"), ("team", "x")]));
    assert_eq!((both[0].receiver.as_str(), both[0].group_wait), ("b", 0));
    assert_eq!(
        (both[1].receiver.as_str(), both[1].repeat_interval / 1_000_000_000),
        ("a", 3600)
    );
    assert_eq!(both[0].group_of(&labels(&[("q", "1"), ("r", "2")])).len(), 2);
    assert_eq!(
        both[1].group_of(&labels(&[("q", "1"), ("alertname", "n")])),
        labels(&[("alertname", "n")])
    );
}

#[test]
fn every_mistake_has_its_place_and_says_what_is_meant() {
    for (text, part) in [
        ("route: {reciever: a}", "did you mean \"receiver\""),
        ("route: {receiver: c}", "there is no receiver \"c\""),
        ("route: {group_by: [alertname]}", "needs a `receiver`"),
        ("route: {receiver: a, matchers: [x=y]}", "takes every alert"),
        ("route: {receiver: a, continue: true}", "takes every alert"),
        ("route: {receiver: a, mute_time_intervals: [n]}", "no time interval"),
        ("route: {receiver: a, group_by: [a-b]}", "no label name"),
        ("route: {receiver: a, group_by: [x, x]}", "twice"),
        ("route: {receiver: a, group_by: ['...', x]}", "stands alone"),
        ("route: {receiver: a, group_interval: 0s}", "cannot be zero"),
        ("route: {receiver: a, repeat_interval: 1.5h}", "no duration"),
        ("route: {receiver: a, routes: [{matchers: ['x']}]}", "no matcher"),
        (
            "route: {receiver: a, routes: [{match_re: {x: '('}}]}",
            "no regular expression",
        ),
        (
            "inhibit_rules: [{source_matchers: ['a=b'], equal: [a-b]}]\nroute: {receiver: a}",
            "no label name",
        ),
        (
            "inhibit_rules: [{source_machers: ['a=b']}]\nroute: {receiver: a}",
            "did you mean \"source_matchers\"",
        ),
        (
            "silences: [{matchers: ['a=b'], ends_at: 2027-01-01T00:00:00Z, created_by: me}]\nroute: {receiver: a}",
            "`comment`",
        ),
        (
            "silences: [{matchers: ['a=~.*'], ends_at: 2027-01-01T00:00:00Z, created_by: me, comment: c}]\nroute: {receiver: a}",
            "silences everything",
        ),
        (
            "silences: [{matchers: ['a=b'], created_by: me, comment: c}]\nroute: {receiver: a}",
            "no time",
        ),
        ("links: {trace: 'https://x/'}\nroute: {receiver: a}", "{trace_id}"),
        ("templates: [/nowhere/at/all]\nroute: {receiver: a}", "nowhere"),
        ("inhibit_rules: []", "without a `route`"),
    ] {
        let (_, problems) = with_receivers(text);
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{text}: {problems:?}"
        );
        assert!(
            problems.iter().all(|problem| problem.starts_with("yaml:")),
            "{problems:?}"
        );
    }
}

#[test]
fn receivers_are_checked_to_their_last_key() {
    for (text, part) in [
        ("{outs: []}", "needs a `name`"),
        ("{name: a, email_configs: []}", "not built"),
        ("{name: a, webhok_configs: []}", "did you mean \"webhook_configs\""),
        ("{name: a, webhook_configs: [{}]}", "must be a URL"),
        ("{name: a, webhook_configs: [{url: 'ftp://x'}]}", "must be a URL"),
        (
            "{name: a, webhook_configs: [{url: 'http://x', secret: ''}]}",
            "is empty",
        ),
        (
            "{name: a, webhook_configs: [{url: 'http://x', http_config: {tls_config: {}}}]}",
            "write it as `tls`",
        ),
        (
            "{name: a, webhook_configs: [{url: 'http://x', uri: y}]}",
            "did you mean \"url\"",
        ),
        ("{name: a, slack_configs: [{channel: '#x'}]}", "must be a URL"),
        ("{name: a, slack_configs: [{bot_token: t}]}", "needs a `channel`"),
        (
            "{name: a, slack_configs: [{api_url: 'http://x', text: '{{ .Statu }}'}]}",
            "did you mean \"Status\"",
        ),
        ("{name: a, pagerduty_configs: [{}]}", "`routing_key` is missing"),
        ("{name: a, pagerduty_configs: [{service_key: x}]}", "first version"),
        ("{name: a, sns_configs: [{}]}", "exactly one"),
        ("{name: a, sns_configs: [{topic_arn: x}]}", "must be an ARN"),
        ("{name: a, alertmanager_configs: [{}]}", "`urls` is missing"),
        ("{name: a, fallback: nobody}", "there is no receiver \"nobody\""),
        ("{name: x}", "two receivers"),
    ] {
        let (_, problems) = read(&format!("route: {{receiver: x}}\nreceivers: [{{name: x}}, {text}]"));
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn each_peer_of_an_alertmanager_is_an_outlet_of_its_own() {
    let (settings, problems) = read(
        "route: {receiver: x}\nreceivers:\n- name: x\n  alertmanager_configs: [{urls: ['http://a:9093', 'http://b:9093/am/']}]\n  \
         webhook_configs: [{url: 'http://h/', send_resolved: false}]\n  \
         sns_configs: [{topic_arn: 'arn:aws:sns:eu-central-1:123456789012:x.fifo'}]",
    );
    assert_eq!(problems, Vec::<String>::new());
    let mut shown = Vec::new();
    for out in &settings.receivers[0].outs {
        let url = match &out.target {
            Target::Alertmanager(peer) => peer.http.uri.to_string(),
            Target::Webhook(hook) => hook.http.uri.to_string(),
            Target::Sns(sns) => format!("{} {}", sns.to.is_fifo(), sns.place.region),
            _ => String::new(),
        };
        shown.push(format!("{} {} {url}", out.id, out.send_resolved));
    }
    assert_eq!(
        shown,
        [
            "x/webhook/0 false http://h/",
            "x/sns/0 true true eu-central-1",
            "x/alertmanager/0 true http://a:9093/api/v2/alerts",
            "x/alertmanager/1 true http://b:9093/am/api/v2/alerts",
        ]
    );
}
