//! Who is speaking: the resource of our own telemetry.

use std::path::Path;

/// Defaults, overridden or removed by what is configured.
pub fn attributes(configured: &[(String, Option<String>)]) -> Vec<(String, String)> {
    let called_as = std::env::args_os().next().unwrap_or_default();
    merge(service_name(Path::new(&called_as)), configured)
}

fn merge(name: &str, configured: &[(String, Option<String>)]) -> Vec<(String, String)> {
    let mut attributes = vec![
        ("service.instance.id".to_owned(), uuid::Uuid::new_v4().to_string()),
        ("service.name".to_owned(), name.to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    for (key, value) in configured {
        attributes.retain(|(have, _)| have != key);
        if let Some(value) = value {
            attributes.push((key.clone(), value.clone()));
        }
    }
    attributes
}

/// Where the AWS distribution's entry point is used, its name is expected on dashboards.
fn service_name(called_as: &Path) -> &'static str {
    if called_as.file_name().is_some_and(|name| name == "awscollector") {
        "aws-otel-collector"
    } else {
        "radiosonde"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_replaces_or_removes_a_default() {
        let configured = [
            ("service.version".to_owned(), None),
            ("service.name".to_owned(), Some("edge".to_owned())),
            ("team".to_owned(), Some("a".to_owned())),
        ];
        let merged = merge("radiosonde", &configured);
        let of = |key: &str| {
            merged
                .iter()
                .find(|(have, _)| have == key)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(of("service.name"), Some("edge"));
        assert_eq!(of("service.version"), None);
        assert_eq!(of("team"), Some("a"));
        assert_eq!(of("service.instance.id").map(str::len), Some(36));
    }

    #[test]
    fn the_name_it_is_called_by_selects_the_service_name() {
        assert_eq!(service_name(Path::new("/awscollector")), "aws-otel-collector");
        assert_eq!(service_name(Path::new("/usr/bin/radiosonde")), "radiosonde");
    }
}
