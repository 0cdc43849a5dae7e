//! `basicauth`: user and password. At a listener they are looked up in an htpasswd list, an exporter sends one pair.
//! One extension is one of the two, as in the Collector.

mod client;
pub mod htpasswd;
mod server;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::client::BasicClient;
use self::htpasswd::Users;
use self::server::{BasicServer, Source};
use super::watched_file::{Part, WatchedFile};
use crate::component::{
    BoxFuture, BuildContext, ComponentKind, ExtensionPlan, Factory, Plan, Running, Stability, StartError,
};
use crate::config::Section;
use crate::config::types::Secret;
use crate::net::server::refuse_unbuilt;
use crate::pdata::Signal;

/// The registry's entry.
pub struct BasicAuthFactory;

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct ServerKeys {
    file: String,
    inline: Secret,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct ClientKeys {
    username: String,
    username_file: String,
    password: Secret,
    password_file: String,
}

/// A checked section.
enum Config {
    Server { file: Option<PathBuf>, inline: Secret },
    Client(ClientKeys),
}

impl Factory for BasicAuthFactory {
    fn kind(&self) -> ComponentKind {
        ComponentKind::Extension
    }

    fn type_name(&self) -> &'static str {
        "basicauth"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["basic_auth"]
    }

    fn signals(&self) -> &'static [Signal] {
        &[]
    }

    fn stability(&self) -> Stability {
        Stability::Beta
    }

    fn summary(&self) -> &'static str {
        "User and password: asked of clients of a listener, or sent by exporters."
    }

    fn example(&self) -> &'static str {
        "client_auth:\n  username: shop\n  password: correct-horse\n"
    }

    fn check(&self, section: &Section) -> Option<Plan> {
        let config = match (section.take("htpasswd"), section.take("client_auth")) {
            (Some(_), Some(_)) => {
                section.error("give either `htpasswd` (for listeners) or `client_auth` (for exporters), not both");
                return None;
            }
            (None, None) => {
                section.error("give `htpasswd` (for listeners) or `client_auth` (for exporters)");
                return None;
            }
            (Some(htpasswd), None) => check_server(&htpasswd)?,
            (None, Some(client)) => check_client(&client)?,
        };
        Some(Plan::Extension(Box::new(config)))
    }
}

fn check_server(section: &Section) -> Option<Config> {
    let keys: ServerKeys = section.read()?;
    if keys.file.is_empty() && keys.inline.reveal().trim().is_empty() {
        section.error("no users: give `file` or `inline`");
        return None;
    }
    if let Err(problem) = Users::read(keys.inline.reveal()) {
        section.error_at("inline", problem);
        return None;
    }
    let file = (!keys.file.is_empty()).then(|| PathBuf::from(&keys.file));
    if let Some(path) = &file
        && let Err(problem) = WatchedFile::open(path, Users::read)
    {
        section.error_at("file", problem);
        return None;
    }
    Some(Config::Server {
        file,
        inline: keys.inline,
    })
}

fn check_client(section: &Section) -> Option<Config> {
    refuse_unbuilt(section, &["aws_secrets_manager"]);
    let keys: ClientKeys = section.read()?;
    if keys.username.is_empty() && keys.username_file.is_empty() {
        section.error("no user: give `username` or `username_file`");
        return None;
    }
    if keys.username.contains(':') {
        section.error_at("username", "a user name with a colon cannot be told from its password");
        return None;
    }
    for (key, path) in [
        ("username_file", &keys.username_file),
        ("password_file", &keys.password_file),
    ] {
        if let Err(problem) = Part::open(Secret::default(), path) {
            section.error_at(key, problem);
            return None;
        }
    }
    Some(Config::Client(keys))
}

impl ExtensionPlan for Config {
    fn authenticates(&self) -> bool {
        matches!(self, Config::Client(_))
    }

    fn authenticates_clients(&self) -> bool {
        matches!(self, Config::Server { .. })
    }

    fn start(&self, context: BuildContext) -> BoxFuture<'_, Result<Arc<dyn Running>, StartError>> {
        let started = start(self, &context).map_err(|problem| StartError::new(&context, problem));
        Box::pin(std::future::ready(started))
    }
}

fn start(config: &Config, context: &BuildContext) -> Result<Arc<dyn Running>, String> {
    let all = &context.authenticators;
    match config {
        Config::Server { file, inline } => {
            let file = match file {
                Some(path) => Some(WatchedFile::open(path, Users::read)?),
                None => None,
            };
            let inline = Arc::new(Users::read(inline.reveal())?);
            let server = Arc::new(BasicServer::new(Source { inline, file }));
            Ok(all.register(&context.id, None, Some(server)))
        }
        Config::Client(keys) => {
            let client = BasicClient {
                user: Part::open(Secret::new(keys.username.as_str()), &keys.username_file)?,
                password: Part::open(keys.password.clone(), &keys.password_file)?,
            };
            Ok(all.register(&context.id, Some(Arc::new(client)), None))
        }
    }
}
