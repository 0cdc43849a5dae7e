//! Region and service from the host of an AWS endpoint.

/// Hosts whose first label begins so, and what they sign for.
const SERVICES: &[(&str, &str)] = &[
    ("aps-workspaces", "aps"),
    ("search-", "es"),
    ("logs", "logs"),
    ("xray", "xray"),
    ("monitoring", "monitoring"),
];

/// Service and region, as far as the host tells them: `xray.us-east-1.amazonaws.com`,
/// `search-name.eu-west-1.es.amazonaws.com`.
pub fn named_by(host: &str) -> (Option<&'static str>, Option<&str>) {
    let service = SERVICES.iter().find(|(prefix, _)| host.starts_with(prefix));
    let region = host.split('.').nth(1).filter(|region| {
        let mut parts = region.rsplit('-');
        let number = parts.next().unwrap_or_default();
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number && parts.count() >= 2
    });
    match service {
        Some((_, service)) => (Some(service), region),
        None => (None, region.filter(|_| host.contains(".amazonaws."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_of_the_services_give_service_and_region() {
        for (host, service, region) in [
            ("xray.us-east-1.amazonaws.com", Some("xray"), Some("us-east-1")),
            ("logs.us-gov-west-1.amazonaws.com", Some("logs"), Some("us-gov-west-1")),
            (
                "aps-workspaces.eu-central-1.amazonaws.com",
                Some("aps"),
                Some("eu-central-1"),
            ),
            ("search-x-abc.eu-west-1.es.amazonaws.com", Some("es"), Some("eu-west-1")),
            ("sqs.us-east-2.amazonaws.com", None, Some("us-east-2")),
            ("collector.example", None, None),
            ("127.0.0.1", None, None),
        ] {
            assert_eq!(named_by(host), (service, region), "{host}");
        }
    }
}
