//! Reading CloudWatch: plans requests, remembers what was said of each minute, hands on what is settled, once. The
//! engine does it for any receiver that brings a source; knows no DynamoDB and no SageMaker.

pub mod bill;
pub mod config;
mod cursors;
pub mod derived;
pub mod engine;
mod exchange;
pub mod fetch;
pub mod history;
mod lag;
pub mod lint;
pub mod listing;
pub mod output;
pub mod past;
pub mod plan;
mod single;
mod stream;
pub mod tagged;
mod tracks;
mod want;

pub use engine::{Backfill, Blueprint, Desk, Settings, Source, StartFrom, Watched};
pub use history::{Point, Why};
pub use output::{Builder, OwnPoint, Resource};
pub use stream::{StreamPoint, points_of};
pub use tracks::{Beat, Judging, Running, Settled, Track, Tracks};
pub use want::{
    ACCOUNT, Class, Dimensions, Name, Names, OutputForm, SeriesId, Shape, Stat, Taste, Want, ZeroFill, identity,
    statistics,
};
