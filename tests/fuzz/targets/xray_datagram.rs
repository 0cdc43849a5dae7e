//! Datagrams for `awsxray`: no panic, and what is found in one is what stands behind its header.

use radiosonde::aws::xray::datagram::document;

pub fn run(data: &[u8]) {
    if let Ok(body) = document(data) {
        assert!(data.ends_with(body) && !body.is_empty());
        assert!(data[..data.len() - body.len()].contains(&b'\n'));
        super::xray_document::run(body);
    }
}
