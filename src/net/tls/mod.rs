//! TLS with rustls and aws-lc-rs: the settings both sides share, and where certificates and keys come from.
//!
//! `server` is what listeners use, `client` what dials. Files are read when the configuration is checked, so that a
//! wrong path is an error with a position, and again when they change.

pub(in crate::net) mod certificate;
pub mod client;
mod server;
#[cfg(test)]
pub(crate) mod test_certificates;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedProtocolVersion};
use serde::{Deserialize, Serialize};

pub use server::ServerTls;

use crate::component::{Clock, Instruments, SystemClock};
use crate::config::Section;
use crate::config::types::{GoDuration, Secret};

/// Why TLS material cannot be used. Never shows the material.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {reason}")]
    Unreadable { path: String, reason: std::io::Error },
    #[error("{what} has no certificate in PEM form")]
    NoCertificate { what: String },
    #[error("{what} has no private key in PEM form")]
    NoKey { what: String },
    #[error("{what}: {reason}")]
    Unusable { what: String, reason: String },
}

/// Certificates or keys, by file or as text in the configuration.
#[derive(Clone, Debug)]
pub enum PemSource {
    File(PathBuf),
    Text(Secret),
}

impl PemSource {
    /// From the pair of settings `x_file` and `x_pem`; both set is an error at `x_pem`.
    pub fn from_pair(section: &Section, name: &str, file: &str, pem: &Secret) -> Option<Self> {
        match (file.is_empty(), pem.reveal().is_empty()) {
            (true, true) => None,
            (false, true) => Some(PemSource::File(PathBuf::from(file))),
            (true, false) => Some(PemSource::Text(pem.clone())),
            (false, false) => {
                let message = format!("give either {name}_file or {name}_pem, not both");
                section.error_at(&format!("{name}_pem"), message);
                None
            }
        }
    }

    /// The text.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            PemSource::Text(text) => Ok(text.reveal().as_bytes().to_vec()),
            PemSource::File(path) => std::fs::read(path).map_err(|reason| TlsError::Unreadable {
                path: path.display().to_string(),
                reason,
            }),
        }
    }

    /// All certificates in it, in order.
    ///
    /// # Errors
    /// When it cannot be read, is no PEM, or has none.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            _ => Err(TlsError::NoCertificate { what: self.to_string() }),
        }
    }

    /// The first private key in it (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    /// When it cannot be read or has none.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::NoKey { what: self.to_string() })
    }

    /// A root store of the certificates in it.
    ///
    /// # Errors
    /// As [`PemSource::certificates`], and for a certificate that cannot be an authority.
    pub fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| TlsError::Unusable {
                what: self.to_string(),
                reason: error.to_string(),
            })?;
        }
        Ok(roots)
    }

    /// Of its content as it is now; `None` where it cannot be read.
    pub(super) fn fingerprint(&self) -> Option<u64> {
        Some(xxhash_rust::xxh3::xxh3_64(&self.read().ok()?))
    }

    /// The file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            PemSource::File(path) => Some(path),
            PemSource::Text(_) => None,
        }
    }
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PemSource::File(path) => write!(f, "{}", path.display()),
            PemSource::Text(_) => f.write_str("the PEM text in the configuration"),
        }
    }
}

/// How often files are looked at where `reload_interval` is not set.
const LOOK_AT_FILES: Duration = Duration::from_secs(30);

/// A certificate that ends so soon is warned of, once a day.
const ENDS_SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// What became of a certificate since it was first read: for the metrics.
#[derive(Debug, Default)]
struct Material {
    /// Seconds since the epoch; 0: not known.
    expiry: AtomicU64,
    /// Changed files that could not be used.
    failures: AtomicU64,
    /// The day (since the epoch) that was last warned on.
    warned: AtomicU64,
}

impl Material {
    fn renewed(&self, chain: &[CertificateDer<'_>]) {
        let expiry = certificate::expiry_of(chain).unwrap_or_default();
        self.expiry.store(expiry, Ordering::Relaxed);
        self.warned.store(0, Ordering::Relaxed);
    }

    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Warns of a certificate that ends soon or has ended, once a day.
    fn look_at_expiry(&self, whose: &dyn fmt::Display) {
        let now = SystemClock.now().seconds();
        let expiry = self.expiry.load(Ordering::Relaxed);
        let day = now / (24 * 3600);
        if expiry == 0 || expiry > now + ENDS_SOON.as_secs() || self.warned.swap(day, Ordering::Relaxed) == day {
            return;
        }
        let hours = expiry.saturating_sub(now) / 3600;
        tracing::warn!(certificate = %whose, hours_left = hours, "a certificate is about to expire, or has expired");
    }

    /// Puts both on the metrics page.
    fn observe(self: &Arc<Self>, instruments: &Instruments, labels: &[(&'static str, &str)]) {
        let material = Arc::clone(self);
        instruments.observe(
            "radiosonde_tls_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends, seconds since 1970; 0 where it does not say.",
            labels,
            move || material.expiry.load(Ordering::Relaxed) as f64,
        );
        let material = Arc::clone(self);
        instruments.observe(
            "radiosonde_tls_reload_failures",
            "Changed certificates, keys or authorities that could not be used; the old ones stayed.",
            labels,
            move || material.failures.load(Ordering::Relaxed) as f64,
        );
    }
}

/// The keys that the `tls` groups of clients and servers have in common.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct CommonKeys {
    pub ca_file: String,
    pub ca_pem: Secret,
    pub cert_file: String,
    pub cert_pem: Secret,
    pub key_file: String,
    pub key_pem: Secret,
    pub include_system_ca_certs_pool: bool,
    pub min_version: String,
    pub max_version: String,
    pub cipher_suites: Vec<String>,
    pub curve_preferences: Vec<String>,
    pub reload_interval: GoDuration,
}

/// Versions and cryptography as configured.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub provider: Arc<CryptoProvider>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
        }
    }
}

impl Parameters {
    /// Reads `min_version`, `max_version`, `cipher_suites` and `curve_preferences`; problems go to the section.
    pub fn check(section: &Section, keys: &CommonKeys) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        if !keys.cipher_suites.is_empty() {
            provider.cipher_suites = chosen_suites(section, &keys.cipher_suites);
        }
        if !keys.curve_preferences.is_empty() {
            provider.kx_groups.clear();
            for name in &keys.curve_preferences {
                match curve(name) {
                    Some(group) => provider.kx_groups.push(group),
                    None => section.error_at(
                        "curve_preferences",
                        format!("\"{name}\" is not available; known: X25519, P256, P384, X25519MLKEM768"),
                    ),
                }
            }
        }
        Self {
            provider: Arc::new(provider),
            versions: chosen_versions(section, keys),
        }
    }
}

fn chosen_versions(section: &Section, keys: &CommonKeys) -> Vec<&'static SupportedProtocolVersion> {
    let from_12 = match keys.min_version.as_str() {
        "" | "1.2" => true,
        "1.3" => false,
        "1.0" | "1.1" => {
            section.warn_at("min_version", "TLS 1.0 and 1.1 are not spoken; the minimum is 1.2");
            true
        }
        other => {
            section.error_at(
                "min_version",
                format!("unknown TLS version \"{other}\"; known: 1.2, 1.3"),
            );
            true
        }
    };
    let to_13 = match keys.max_version.as_str() {
        "" | "1.3" => true,
        "1.2" => false,
        other => {
            section.error_at(
                "max_version",
                format!("TLS version \"{other}\" is not available; known: 1.2, 1.3"),
            );
            true
        }
    };
    let mut versions = Vec::new();
    if to_13 {
        versions.push(&rustls::version::TLS13);
    }
    if from_12 {
        versions.push(&rustls::version::TLS12);
    }
    if versions.is_empty() {
        section.error_at("max_version", "max_version is below min_version");
    }
    versions
}

fn chosen_suites(section: &Section, names: &[String]) -> Vec<rustls::SupportedCipherSuite> {
    let mut chosen: Vec<rustls::SupportedCipherSuite> = Vec::new();
    for name in names {
        let found = aws_lc_rs::ALL_CIPHER_SUITES.iter().find(|suite| {
            let ours = format!("{:?}", suite.suite());
            // Go writes TLS_AES_128_GCM_SHA256 for 1.3 suites and has an old short name for the ChaCha suites.
            *name == ours || *name == ours.replace("TLS13_", "TLS_") || format!("{name}_SHA256") == ours
        });
        match found {
            Some(suite) => chosen.push(*suite),
            None => section.error_at(
                "cipher_suites",
                format!("\"{name}\" is not available: only ECDHE suites with AES-GCM or ChaCha20-Poly1305 are"),
            ),
        }
    }
    // As in Go the list is about TLS 1.2; the suites of 1.3 are always on.
    let tls13 = aws_lc_rs::ALL_CIPHER_SUITES
        .iter()
        .filter(|suite| suite.tls13().is_some());
    chosen.retain(|suite| suite.tls13().is_none());
    chosen.extend(tls13);
    chosen
}

fn curve(name: &str) -> Option<&'static dyn rustls::crypto::SupportedKxGroup> {
    use aws_lc_rs::kx_group;
    match name {
        "X25519" => Some(kx_group::X25519),
        "P256" | "CurveP256" => Some(kx_group::SECP256R1),
        "P384" | "CurveP384" => Some(kx_group::SECP384R1),
        "X25519MLKEM768" => Some(kx_group::X25519MLKEM768),
        _ => None,
    }
}
