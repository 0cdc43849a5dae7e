//! What certificates say: whose they are, and until when they hold. Knows nothing of trust, which rustls has judged.
//!
//! Only the few fields that are shown are read, from the DER as RFC 5280 lays them out; what does not have this form
//! says nothing.

use std::fmt::Write;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;

use crate::pdata::Auth;

/// Names beyond it are cut: a certificate may have thousands.
const LONGEST_NAMES: usize = 1024;

// Tags of DER (X.690).
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// Alternative names: 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Attribute types of names as they are usually written (RFC 4514, 3): the last byte of 2.5.4.x.
const TYPES: [(u8, &str); 6] = [(3, "CN"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];

/// Elements one after the other.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and what is in it.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // More than three bytes of length: no certificate is that long.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next element, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<Der<'a>> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| Der(content))
    }
}

/// The fields that are shown.
struct Fields<'a> {
    not_after: (u8, &'a [u8]),
    subject: Der<'a>,
    extensions: Option<Der<'a>>,
}

/// RFC 5280, 4.1.
fn fields_of(certificate: &[u8]) -> Option<Fields<'_>> {
    let mut body = Der(certificate).expect(SEQUENCE)?.expect(SEQUENCE)?;
    let mut after_version = body;
    if after_version.next()?.0 == VERSION {
        body = after_version;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        body.next()?;
    }
    let mut validity = body.expect(SEQUENCE)?;
    validity.next()?;
    let not_after = validity.next()?;
    let subject = body.expect(SEQUENCE)?;
    let mut extensions = None;
    while let Some((tag, content)) = body.next() {
        if tag == EXTENSIONS {
            extensions = Der(content).expect(SEQUENCE);
        }
    }
    Some(Fields {
        not_after,
        subject,
        extensions,
    })
}

/// The identity of a client by its verified certificate: `subject` (distinguished name) and, where there are, `san`
/// (alternative names, separated by commas). `None` where it cannot be read.
pub(in crate::net) fn identity_of(certificate: &CertificateDer<'_>) -> Option<Auth> {
    let fields = fields_of(certificate)?;
    let mut attributes = vec![("subject".into(), cut(&distinguished_name(fields.subject)).into())];
    let names = fields.extensions.and_then(alternative_names).unwrap_or_default();
    if !names.is_empty() {
        attributes.push(("san".into(), cut(&names).into()));
    }
    Some(Auth { attributes })
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_NAMES)]
}

/// `CN=client,O=shop`, most specific first, as RFC 4514 writes it; attributes without a short name are left out.
fn distinguished_name(mut name: Der<'_>) -> String {
    let mut parts = Vec::new();
    while let Some(mut attributes) = name.expect(SET) {
        while let Some(mut attribute) = attributes.expect(SEQUENCE) {
            let kind = attribute.expect(OBJECT_ID).map_or(&[][..], |kind| kind.0);
            let [0x55, 0x04, kind] = kind else { continue };
            let short = TYPES.iter().find(|(number, _)| number == kind);
            if let (Some((_, short)), Some((_, value))) = (short, attribute.next()) {
                parts.push(format!("{short}={}", escaped(&String::from_utf8_lossy(value))));
            }
        }
    }
    parts.reverse();
    parts.join(",")
}

/// A value cannot look like another part of the name.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
            text.push('\\');
        }
        text.push(if character.is_control() { '\u{fffd}' } else { character });
    }
    text
}

fn alternative_names(mut extensions: Der<'_>) -> Option<String> {
    while let Some(mut extension) = extensions.expect(SEQUENCE) {
        if extension.expect(OBJECT_ID)?.0 != SUBJECT_ALT_NAME {
            continue;
        }
        // There may be a flag `critical` before the value.
        let value = std::iter::from_fn(|| extension.next())
            .find(|(tag, _)| *tag == OCTETS)?
            .1;
        let mut names = Der(value).expect(SEQUENCE)?;
        let mut text = String::new();
        while let Some((tag, name)) = names.next() {
            // rfc822Name, dNSName, uniformResourceIdentifier, iPAddress (RFC 5280, 4.2.1.6).
            let name = match tag {
                0x81 | 0x82 | 0x86 => escaped(&String::from_utf8_lossy(name)),
                0x87 => match address_of(name) {
                    Some(address) => address.to_string(),
                    None => continue,
                },
                _ => continue,
            };
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{name}");
            if text.len() > LONGEST_NAMES {
                break;
            }
        }
        return Some(text);
    }
    None
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let short = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    short.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// When the first of a chain ends, seconds since the epoch; `None` where none can be read.
pub(super) fn expiry_of(chain: &[CertificateDer<'_>]) -> Option<u64> {
    let ends = chain
        .iter()
        .filter_map(|certificate| seconds(fields_of(certificate)?.not_after));
    ends.min()
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on (RFC 5280, 4.1.2.5).
fn seconds((tag, text): (u8, &[u8])) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        UTC_TIME if text.len() == 12 => {
            let century = if text < "5" { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME if text.len() == 14 => text.to_owned(),
        _ => return None,
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", &text).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(time.timestamp().as_second()).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::net::tls::test_certificates::Authority;

    fn value(identity: &Auth, key: &str) -> Option<String> {
        let found = identity.attributes.iter().find(|(name, _)| &**name == key);
        found.map(|(_, value)| value.to_string())
    }

    #[test]
    fn a_certificate_tells_whose_it_is_and_when_it_ends() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::IpAddress("10.0.0.1".parse().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "shop");
        params.distinguished_name.push(DnType::CommonName, "till, CN=root");
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity = identity_of(made.der()).unwrap();
        assert_eq!(
            value(&identity, "subject").as_deref(),
            Some("CN=till\\, CN\\=root,O=shop")
        );
        assert_eq!(value(&identity, "san").as_deref(), Some("a.example,10.0.0.1"));
        assert_eq!(expiry_of(&[made.der().clone()]), Some(1_927_843_200));
        let issued = Authority::new().issue_client();
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        // rcgen's default is the year 4096.
        assert!(expiry_of(&[certificate]).is_some_and(|end| end > 60_000_000_000));
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        let issued = Authority::new().issue_client();
        let whole = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        for end in 0..whole.len() {
            let cut = CertificateDer::from(whole[..end].to_vec());
            assert!(identity_of(&cut).is_none() && expiry_of(&[cut]).is_none(), "{end}");
        }
        for at in 0..whole.len() {
            for with in [0, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] = with;
                // Whatever comes of it: no panic, nothing long.
                let identity = identity_of(&CertificateDer::from(bytes));
                let texts = identity.iter().flat_map(|identity| &identity.attributes);
                assert!(texts.map(|(_, value)| value.len()).sum::<usize>() < 3000);
            }
        }
    }
}
