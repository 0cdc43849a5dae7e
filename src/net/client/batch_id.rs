//! The header that tells a next hop of ours which requests a request was joined of.

use http::{HeaderName, HeaderValue};

use crate::pdata::{BATCH_ID_HEADER, Pieces};

/// The header, where there is something to say.
pub fn batch_id_header(pieces: &Pieces) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::try_from(pieces.to_header()?).ok()?;
    Some((HeaderName::from_static(BATCH_ID_HEADER), value))
}
