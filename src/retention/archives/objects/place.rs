//! Where objects are kept: a bucket, or a directory; and how they are reached.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::http::{Credentials, OwnHttp, client};
use super::lifecycle::Rules;
use super::store::Objects;
use crate::aws::access::{OnePlace, partition};
use crate::aws::permission::Permission;
use crate::component::Clock;
use crate::config::Section;

/// Retries inside one call; whoever calls has a queue or another run behind it.
const RETRIES: usize = 2;
const RETRYING: Duration = Duration::from_secs(20);

/// A place and what stands before every key in it.
#[derive(Clone, Debug)]
pub struct Place {
    pub root: Root,
    /// Without slashes at its ends.
    pub prefix: String,
}

/// What holds the objects.
#[derive(Clone, Debug)]
pub enum Root {
    Directory(PathBuf),
    Bucket(Box<Bucket>),
}

/// A bucket of S3, or of what speaks like it.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    pub name: String,
    /// A URL; empty: AWS' own.
    pub endpoint: String,
    pub path_style: bool,
    pub place: OnePlace,
}

impl Place {
    /// Reads `s3://bucket/prefix` or `file:///directory`. Problems are reported at `key`.
    pub fn parse_url(section: &Section, key: &str, text: &str) -> Option<Self> {
        let Ok(url) = url::Url::parse(text) else {
            section.error_at(key, "must be a URL: s3://bucket/prefix or file:///directory");
            return None;
        };
        let prefix = url.path().trim_matches('/').to_owned();
        match url.scheme() {
            "s3" => {
                let name = url.host_str().unwrap_or_default().to_owned();
                if name.is_empty() {
                    section.error_at(key, "names no bucket: s3://bucket/prefix");
                    return None;
                }
                let bucket = Bucket {
                    name,
                    ..Bucket::default()
                };
                let root = Root::Bucket(Box::new(bucket));
                Some(Self { root, prefix })
            }
            "file" => match url.to_file_path() {
                Ok(path) if path.parent().is_some() => Some(Self {
                    root: Root::Directory(path),
                    prefix: String::new(),
                }),
                _ => {
                    section.error_at(key, "must name a directory: file:///var/lib/traces");
                    None
                }
            },
            other => {
                section.error_at(key, format!("`{other}` is not built yet: `s3` and `file` are"));
                None
            }
        }
    }

    /// For messages.
    pub fn name(&self) -> String {
        let (root, slash) = match &self.root {
            Root::Directory(path) => (format!("file://{}", path.display()), ""),
            Root::Bucket(bucket) => (format!("s3://{}", bucket.name), "/"),
        };
        format!("{root}{slash}{}", self.prefix).trim_end_matches('/').to_owned()
    }

    /// Makes the client; asks nobody but the sources of credentials. A directory is created where `create` is set.
    ///
    /// # Errors
    /// In words for an operator.
    pub async fn open(&self, clock: Arc<dyn Clock>, create: bool) -> Result<Objects, String> {
        match &self.root {
            Root::Directory(path) => {
                if create {
                    let made = std::fs::create_dir_all(path);
                    made.map_err(|error| format!("cannot create {}: {error}", path.display()))?;
                }
                let store = LocalFileSystem::new_with_prefix(path).map_err(|error| error.to_string())?;
                // An object that was acknowledged must outlive a power cut.
                let store: Arc<dyn ObjectStore> = Arc::new(store.with_fsync(true));
                Ok(Objects::new(store, &self.prefix, None))
            }
            Root::Bucket(bucket) => bucket.open(&self.prefix, clock).await,
        }
    }
}

/// A URL of an endpoint, completed with a scheme where it has none. Problems are reported at `key`.
pub fn check_endpoint(section: &Section, key: &str, text: &str, tls: bool) -> String {
    if text.is_empty() {
        return String::new();
    }
    let text = match text.split_once("://") {
        None if tls => format!("https://{text}"),
        None => format!("http://{text}"),
        Some(_) => text.to_owned(),
    };
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    if !is_http || url::Url::parse(&text).is_err() {
        section.error_at(key, "must be a URL that begins with http:// or https://");
    }
    text
}

impl Bucket {
    /// What reading below a prefix needs.
    pub fn reading(&self, prefix: &str) -> Vec<Permission> {
        vec![
            self.permission("ArchiveObjects", "s3:GetObject", prefix),
            Permission {
                sid: "ArchiveListing",
                action: "s3:ListBucket",
                resource: format!("arn:aws:s3:::{}", self.name).into(),
            },
        ]
    }

    /// What writing below a prefix needs.
    pub fn writing(&self, prefix: &str) -> Vec<Permission> {
        vec![self.permission("ArchiveObjects", "s3:PutObject", prefix)]
    }

    fn permission(&self, sid: &'static str, action: &'static str, prefix: &str) -> Permission {
        let slash = if prefix.is_empty() { "" } else { "/" };
        Permission {
            sid,
            action,
            resource: format!("arn:aws:s3:::{}/{prefix}{slash}*", self.name).into(),
        }
    }

    async fn open(&self, prefix: &str, clock: Arc<dyn Clock>) -> Result<Objects, String> {
        let loaded = self.place.clone().load(Arc::clone(&clock)).await;
        let (region, sdk) = loaded.ok_or("no region: set `region`, AWS_REGION or a profile")?;
        let provider = sdk.credentials_provider().ok_or("no credentials are configured")?;
        let credentials = Credentials::new(&region, provider, clock);
        let signer = Arc::clone(&credentials.0);
        let http = client();
        // As the SDK's clients do: AWS_ENDPOINT_URL, or `endpoint_url` of the profile.
        let mut reached = self.clone();
        if let Some(named) = sdk.endpoint_url().filter(|_| self.endpoint.is_empty()) {
            reached.endpoint = named.to_owned();
        }
        let (base, whole) = reached.urls(&region);
        let builder = AmazonS3Builder::new()
            .with_region(&region)
            .with_bucket_name(&self.name)
            .with_endpoint(if self.is_path_style() { &base } else { &whole })
            .with_virtual_hosted_style_request(!self.is_path_style())
            .with_allow_http(true)
            .with_credentials(Arc::new(credentials))
            .with_http_connector(OwnHttp(Arc::clone(&http)))
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: RETRYING,
            });
        let store = builder.build().map_err(|error| error.to_string())?;
        let rules = Rules::new(http, signer, format!("{whole}/?lifecycle"));
        Ok(Objects::new(Arc::new(store), prefix, Some(rules)))
    }

    /// A dot in its name is a label that no certificate covers.
    fn is_path_style(&self) -> bool {
        self.path_style || self.name.contains('.')
    }

    /// The service's URL, and the bucket's.
    fn urls(&self, region: &str) -> (String, String) {
        let domain = if partition(region) == "aws-cn" {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        let base = if self.endpoint.is_empty() {
            format!("https://s3.{region}.{domain}")
        } else {
            self.endpoint.trim_end_matches('/').to_owned()
        };
        let whole = match base.split_once("://") {
            Some((scheme, host)) if !self.is_path_style() => format!("{scheme}://{}.{host}", self.name),
            _ => format!("{base}/{}", self.name),
        };
        (base, whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<Place>, Vec<String>) {
        let section = Section::from_yaml(&format!("url: {text}"));
        section.has("url");
        let place = Place::parse_url(&section, "url", text);
        (place, section.problems())
    }

    #[test]
    fn a_place_is_a_bucket_or_a_directory() {
        for (text, name) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("file:///var/lib/traces/", "file:///var/lib/traces"),
        ] {
            let (place, problems) = parse(text);
            assert_eq!(place.unwrap().name(), name, "{problems:?}");
        }
        for (text, words) in [
            ("gs://bucket/a", "`gs` is not built yet"),
            ("/var/lib", "must be a URL"),
            ("file:///", "must name a directory"),
            ("s3:///a", "names no bucket"),
        ] {
            let (place, problems) = parse(text);
            assert!(place.is_none() && problems[0].contains(words), "{text}: {problems:?}");
        }
    }

    #[test]
    fn a_bucket_is_part_of_the_host_or_of_the_path() {
        let bucket = |name: &str, endpoint: &str, path_style| Bucket {
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
            path_style,
            ..Bucket::default()
        };
        let url = |bucket: Bucket, region| bucket.urls(region).1;
        assert_eq!(
            url(bucket("b", "", false), "eu-west-1"),
            "https://b.s3.eu-west-1.amazonaws.com"
        );
        assert_eq!(
            url(bucket("b", "", true), "cn-north-1"),
            "https://s3.cn-north-1.amazonaws.com.cn/b"
        );
        assert_eq!(
            url(bucket("b.c", "", false), "eu-west-1"),
            "https://s3.eu-west-1.amazonaws.com/b.c"
        );
        assert_eq!(url(bucket("b", "http://h:1/", true), "x"), "http://h:1/b");
        assert_eq!(url(bucket("b", "http://h:1", false), "x"), "http://b.h:1");
    }
}
