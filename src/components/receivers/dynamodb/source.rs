//! What the polling engine is given of DynamoDB: discovery, the names of resources, what is computed from the points.

use std::sync::Arc;

use super::clients::Clients;
use super::config::Config;
use super::discovery::Discovery;
use super::follow::Following;
use super::usage;
use crate::aws::Failure;
use crate::aws::cloudwatch::listing::Listing;
use crate::aws::cloudwatch::tagged::Tagged;
use crate::aws::cloudwatch::{
    ACCOUNT, Blueprint, Builder, Desk, Names, Resource, Settings, Settled, Source, Tracks, Want, Watched,
};
use crate::component::BoxFuture;

/// The receiver as it is configured.
pub struct Tables {
    pub config: Arc<Config>,
}

impl Blueprint for Tables {
    fn settings(&self) -> &Settings {
        &self.config.engine
    }

    fn source(&self, desk: &Desk) -> Box<dyn Source> {
        Box::new(TableSource {
            config: Arc::clone(&self.config),
            clients: Clients::new(desk),
            discovery: Discovery::default(),
            following: Following::new(&self.config, desk),
            tags: Tagged::new(desk, &self.config, vec!["dynamodb:table"]),
            usage: usage::listing(desk),
            names: Names::default(),
        })
    }
}

/// The tables of one account and region.
struct TableSource {
    config: Arc<Config>,
    clients: Clients,
    discovery: Discovery,
    following: Following,
    tags: Tagged,
    usage: Listing,
    names: Names,
}

impl Source for TableSource {
    fn renew(&mut self, desk: &Desk) {
        self.clients.renew(desk);
        self.tags.renew(desk);
        self.usage.renew(desk);
    }

    fn discover(&mut self, now: i64) -> BoxFuture<'_, Vec<Failure>> {
        Box::pin(async move {
            let mut failures: Vec<Failure> = self.tags.refresh(now).await.into_iter().collect();
            let tables = self
                .discovery
                .refresh(&self.clients, &self.config, &self.tags, now)
                .await;
            // What ails AWS ails the next call too.
            let passing = tables.iter().any(Failure::is_transient);
            failures.extend(tables);
            failures.extend(self.following.refresh(&self.clients, &self.discovery, now).await);
            if !passing {
                let (changed, failed) = self.usage.refresh(now).await;
                self.discovery.note(changed);
                failures.extend(failed);
            }
            failures
        })
    }

    fn denied(&self) -> Vec<String> {
        let mut denied = self.discovery.denied();
        denied.extend(self.following.denied());
        denied.extend(self.tags.denied());
        // The discovery of tables lists metrics too and names that permission.
        denied
    }

    fn wants(&mut self) -> Option<Vec<Want>> {
        let mut wants = self.discovery.wants_if_changed(&self.config)?;
        wants.extend(usage::wants(&self.usage, &self.config, &mut self.names));
        Some(wants)
    }

    fn watched(&self) -> Vec<Watched> {
        let tables = self.discovery.tables();
        tables
            .map(|table| Watched {
                id: Arc::clone(&table.arn),
                since: table.table.since,
            })
            .collect()
    }

    fn describe(&self, resource: &str) -> Resource {
        let mut attributes = vec![
            ("cloud.provider".to_owned(), "aws".to_owned()),
            ("cloud.account.id".to_owned(), self.clients.account.clone()),
            ("cloud.region".to_owned(), self.clients.region.clone()),
        ];
        if resource != ACCOUNT {
            attributes.push(("cloud.resource_id".to_owned(), resource.to_owned()));
            attributes.extend(self.tags.attributes(resource));
        }
        attributes.push(("db.system.name".to_owned(), "aws.dynamodb".to_owned()));
        Resource { attributes }
    }

    fn derive(&self, points: &[Settled], tracks: &Tracks, into: &mut Builder) {
        for point in points {
            self.following.see(point, &self.discovery, tracks, into);
        }
    }

    fn own_points(&mut self, now: i64, tracks: &Tracks, into: &mut Builder) {
        self.following.points(now, &self.discovery, tracks, into);
    }

    fn own_points_answered(&mut self, taken: bool) {
        self.following.answered(taken);
    }
}
