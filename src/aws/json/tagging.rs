//! Resource Groups Tagging: which resources carry which tags.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::{JsonClient, Page, request};
use crate::aws::{Calls, Failure};

/// The IAM action.
pub const GET_RESOURCES: &str = "tag:GetResources";

/// Tags by ARN.
pub type Tags = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resources {
    #[serde(default)]
    resource_tag_mapping_list: Vec<Mapping>,
    pagination_token: Option<String>,
}

#[derive(Deserialize)]
struct Mapping {
    #[serde(rename = "ResourceARN")]
    arn: String,
    #[serde(rename = "Tags", default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

impl Page for Resources {
    type Item = Mapping;
    fn open(self) -> (Vec<Mapping>, Option<String>) {
        (self.resource_tag_mapping_list, self.pagination_token)
    }
}

/// The tags of every tagged resource of these types (`dynamodb:table`, `sagemaker:endpoint`). Untagged resources are not
/// in the answer.
///
/// # Errors
/// That of the first page that failed.
pub async fn get_resources(client: &JsonClient, calls: &Calls, types: &[&str]) -> Result<Tags, Failure> {
    let request = request([("ResourceTypeFilters", json!(types)), ("ResourcesPerPage", json!(100))]);
    let listing = client
        .list::<Resources>(calls, "GetResources", request, "PaginationToken")
        .await?;
    let tagged = listing.items.into_iter().map(|mapping| {
        let tags = mapping.tags.into_iter().map(|tag| (tag.key, tag.value));
        (mapping.arn, tags.collect())
    });
    Ok(tagged.collect())
}
