//! SNS, simulated.

use super::super::super::dispatch_testing::{told, told_escalating};
use super::*;
use crate::simulator::{Scenario, Simulator};

#[tokio::test]
async fn sns_gets_json_and_text_and_fifo_keys() {
    let simulator = Simulator::frozen(Scenario::named("quiet").unwrap());
    let served = simulator.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let context = context();
    let sign = "sigv4: {region: eu-central-1, access_key: AKIASIM, secret_key: simulated}";
    let config = format!(
        "route: {{receiver: x, group_wait: 0s, group_interval: 1m}}\nreceivers: [{{name: x, sns_configs: [\
         {{api_url: '{url}', topic_arn: 'arn:aws:sns:eu-central-1:123456789012:a.fifo', {sign}}},\
         {{api_url: '{url}', topic_arn: 'arn:aws:sns:eu-central-1:123456789012:b', subject: 'ä {{{{ .Status }}}}', \
         attributes: {{team: ops}}, {sign}}},\
         {{api_url: '{url}', phone_number: '+4912345', {sign}}}]}}]",
        url = served.url()
    );
    let notifier = notifier(&context, &config);
    let labels = [("severity", "critical"), ("TableName", "orders")];
    let alert = told_escalating("A", &labels, START, None, &[]);
    let other = told("B", &labels, START, None);
    tell(&notifier, &[&alert, &other]).await;
    for _ in 0..1_500 {
        if simulator.publications().len() >= 6 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let all = simulator.publications();
    assert_eq!(all.len(), 6, "{all:?}");
    let fifo = all
        .iter()
        .find(|one| one.to.ends_with(".fifo") && one.subject.contains("A is wrong"))
        .unwrap();
    assert_eq!(fifo.group_id, format!("{:016x}", alert.fingerprint()));
    assert_eq!(fifo.deduplication_id.len(), 32);
    let body: serde_json::Value = serde_json::from_str(&fifo.message["default"]).unwrap();
    assert_eq!(body["alerts"][0]["labels"]["TableName"], "orders");
    assert!(
        fifo.message["email"].contains("what to do:\n- look\n- act"),
        "{}",
        fifo.message["email"]
    );
    let topic = all.iter().find(|one| one.to.ends_with(":b")).unwrap();
    assert_eq!((topic.subject.as_str(), topic.group_id.as_str()), ("firing", ""));
    assert_eq!(topic.attributes["team"], "ops");
    assert_eq!(topic.attributes["severity"], "critical");
    let phone = all.iter().find(|one| one.to == "+4912345").unwrap();
    assert!(phone.message["default"].starts_with("[FIRING]"), "{phone:?}");
    served.stop().await;
}
