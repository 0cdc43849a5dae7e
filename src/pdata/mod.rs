//! What flows through a pipeline: [`Batch`], its [`Origin`] and the memory [`Permit`] it holds.
//!
//! Only this module may look at how a batch is kept (wire bytes or decoded structs). Everybody else asks a batch for
//! its parts, its items or its decoded form. Knows nothing of pipelines, networks or configuration.

mod batch;
mod batch_id;
mod door;
mod json;
mod origin;
mod permit;
mod rewrite;
mod split;

#[cfg(test)]
mod properties;

pub use batch::{Batch, Decoded, Parts, Signal};
pub use batch_id::{BATCH_ID_HEADER, BatchId, Pieces};
pub use door::{Admitted, Check, DoorError, DoorLimits, Rejected, Utf8, estimate_decoded};
pub use json::JsonWriteError;
pub use origin::{Auth, Headers, Origin, Sent, TakenBy};
pub use permit::{MemoryBudget, NoMemory, Permit, SetLimit};
pub use rewrite::{Edit, Place, Rewriter, Rewritten, Visit};
