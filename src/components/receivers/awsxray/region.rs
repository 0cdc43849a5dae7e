//! Which region's X-Ray the proxy talks to, where the configuration does not say.

use std::path::Path;
use std::time::Duration;

/// For the ECS metadata file, which the agent may see before it is complete.
const LARGEST_FILE: u64 = 1 << 20;

/// `AWS_DEFAULT_REGION`, then `AWS_REGION`, as the X-Ray daemon has it.
pub(super) fn of_environment(lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut found = ["AWS_DEFAULT_REGION", "AWS_REGION"].into_iter().filter_map(lookup);
    found.find(|region| !region.is_empty())
}

/// From the task's ARN in the metadata file of ECS, where the container has one.
pub(super) async fn of_ecs(lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    if lookup("ECS_ENABLE_CONTAINER_METADATA").as_deref() != Some("true") {
        return None;
    }
    let file = lookup("ECS_CONTAINER_METADATA_FILE")?;
    let read = async {
        let size = tokio::fs::metadata(Path::new(&file)).await.ok()?.len();
        if size > LARGEST_FILE {
            return None;
        }
        tokio::fs::read(Path::new(&file)).await.ok()
    };
    let text = tokio::time::timeout(Duration::from_secs(5), read).await.ok()??;
    region_of_task(&text)
}

fn region_of_task(metadata: &[u8]) -> Option<String> {
    let metadata: serde_json::Value = serde_json::from_slice(metadata).ok()?;
    // arn:aws:ecs:REGION:account:task/...
    let region = metadata.get("TaskARN")?.as_str()?.split(':').nth(3)?;
    (!region.is_empty()).then(|| region.to_owned())
}

/// X-Ray's own endpoint in a region.
pub(super) fn endpoint(region: &str) -> String {
    let suffix = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else if region.starts_with("us-isob-") {
        "sc2s.sgov.gov"
    } else if region.starts_with("us-iso-") {
        "c2s.ic.gov"
    } else {
        "amazonaws.com"
    };
    format!("https://xray.{region}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_region_comes_before_the_region() {
        let both = |name: &str| Some(name.to_lowercase());
        assert_eq!(of_environment(both).as_deref(), Some("aws_default_region"));
        let one = |name: &str| {
            Some(if name == "AWS_REGION" {
                "r".to_owned()
            } else {
                String::new()
            })
        };
        assert_eq!(of_environment(one).as_deref(), Some("r"));
        assert_eq!(of_environment(|_| None), None);
    }

    #[tokio::test]
    async fn a_container_finds_its_region_in_the_arn_of_its_task() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, br#"{"TaskARN":"arn:aws:ecs:eu-west-3:1:task/x"}"#).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let lookup = |enabled: &'static str| {
            let path = path.clone();
            move |name: &str| match name {
                "ECS_ENABLE_CONTAINER_METADATA" => Some(enabled.to_owned()),
                "ECS_CONTAINER_METADATA_FILE" => Some(path.clone()),
                _ => None,
            }
        };
        assert_eq!(of_ecs(lookup("true")).await.as_deref(), Some("eu-west-3"));
        assert_eq!(of_ecs(lookup("false")).await, None);
        assert_eq!(region_of_task(b"{}"), None);
        assert_eq!(region_of_task(b"{\"TaskARN\":\"x\"}"), None);
    }

    #[test]
    fn every_partition_has_its_endpoint() {
        for (region, url) in [
            ("eu-central-1", "https://xray.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", "https://xray.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://xray.cn-north-1.amazonaws.com.cn"),
            ("us-iso-east-1", "https://xray.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "https://xray.us-isob-east-1.sc2s.sgov.gov"),
        ] {
            assert_eq!(endpoint(region), url);
        }
    }
}
