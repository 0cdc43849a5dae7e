//! `file_storage`: names the directory in which the queues of exporters keep their logs.
//!
//! Owns no files: each queue has a folder of its own below the directory, with its own lock. Here the directory is made
//! and checked, so that a wrong path ends the start and not the first request.

#[cfg(test)]
mod tests;

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::component::{
    BoxFuture, BuildContext, ComponentKind, ExtensionPlan, Factory, NothingToStop, Plan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::config::types::GoDuration;
use crate::pdata::Signal;

#[derive(Clone, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    directory: String,
    create_directory: bool,
    directory_permissions: String,
    timeout: Option<GoDuration>,
    fsync: Option<bool>,
    recreate: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: "/var/lib/otelcol/file_storage".to_owned(),
            create_directory: true,
            directory_permissions: "0700".to_owned(),
            timeout: None,
            fsync: None,
            recreate: None,
        }
    }
}

/// Keys of `compaction`, all of which belong to a file that never shrinks by itself.
const COMPACTION: [&str; 8] = [
    "on_start",
    "on_rebound",
    "directory",
    "rebound_needed_threshold_mib",
    "rebound_trigger_threshold_mib",
    "max_transaction_size",
    "check_interval",
    "cleanup_on_start",
];

/// The registry's entry.
pub struct FileStorageFactory;

impl Factory for FileStorageFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Extension
    }

    fn type_name(&self) -> &'static str {
        "file_storage"
    }

    fn signals(&self) -> &'static [Signal] {
        &[]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "Names the directory in which sending queues keep their content."
    }

    fn example(&self) -> &'static str {
        "directory: ./target/file_storage\ncreate_directory: true\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config: Config = section.read()?;
        if let Some(compaction) = section.take("compaction") {
            for key in COMPACTION {
                compaction.take(key);
            }
            section.warn_at(
                "compaction",
                "has no effect: room is given back segment by segment, at once",
            );
        }
        if config.directory.is_empty() {
            section.error_at("directory", "must not be empty");
        }
        let permissions = u32::from_str_radix(&config.directory_permissions, 8).ok();
        let mode = permissions.filter(|mode| *mode <= 0o777);
        if mode.is_none() {
            section.error_at("directory_permissions", "must be octal digits, such as \"0700\"");
        }
        if config.timeout.is_some() {
            section.warn_at(
                "timeout",
                "has no effect: a queue that is in use is tried again for as long as it takes",
            );
        }
        if config.fsync == Some(false) {
            section.warn_at(
                "fsync",
                "has no effect: one sync serves all requests of 5 ms; `sending_queue::durability: interval` does without",
            );
        }
        if config.recreate == Some(false) {
            section.warn_at(
                "recreate",
                "has no effect: damaged records are stepped over, the rest is delivered",
            );
        }
        Some(Plan::Extension(Box::new(FileStorage {
            directory: PathBuf::from(config.directory),
            create: config.create_directory,
            mode: mode.unwrap_or(0o700),
        })))
    }
}

struct FileStorage {
    directory: PathBuf,
    create: bool,
    mode: u32,
}

impl ExtensionPlan for FileStorage {
    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        Box::pin(async move {
            let directory = match &context.state_dir {
                Some(state) => state.join(&self.directory),
                None => self.directory.clone(),
            };
            let failed = |error: std::io::Error| {
                StartError::new(&context, format!("directory {}: {error}", directory.display()))
            };
            if self.create {
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(self.mode)
                    .create(&directory)
                    .map_err(failed)?;
            }
            let is_directory = std::fs::metadata(&directory).map_err(failed)?.is_dir();
            let access = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
            nix::unistd::access(&directory, access).map_err(|errno| failed(errno.into()))?;
            if !is_directory {
                return Err(failed(std::io::ErrorKind::NotADirectory.into()));
            }
            Ok(Arc::new(NothingToStop) as Arc<dyn Running>)
        })
    }

    fn storage(&self) -> Option<PathBuf> {
        Some(self.directory.clone())
    }
}
