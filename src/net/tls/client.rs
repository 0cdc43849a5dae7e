//! TLS for what we dial: the Collector's `tls` keys of a client, checked once, and the rustls configuration made of them.
//!
//! Files are read when the configuration is checked (so `validate` finds a missing one) and again when they have changed,
//! which is looked at when a connection is made and `reload_interval` has passed. Knows no sockets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{CommonKeys, LOOK_AT_FILES, Material, Parameters, PemSource, TlsError};
use crate::component::Instruments;
use crate::config::Section;

/// The keys that only a client has.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct ClientKeys {
    insecure: bool,
    insecure_skip_verify: bool,
    server_name_override: String,
}

/// A checked `tls` section of a client.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    written: bool,
    keys: ClientKeys,
    authorities: Option<PemSource>,
    with_system_authorities: bool,
    /// Chain and key.
    identity: Option<(PemSource, PemSource)>,
    parameters: Parameters,
    reload_interval: Duration,
}

impl ClientTls {
    /// Takes `tls` from a client's section; an absent one is "TLS with the system's certificates", as in the Collector.
    /// Problems are reported to the section.
    pub fn read(section: &Section) -> Self {
        let Some(tls) = section.take("tls") else {
            return Self::default();
        };
        if tls.take("tpm").is_some() {
            tls.error_at("tpm", "`tpm` is not built yet");
        }
        let keys: ClientKeys = tls.read().unwrap_or_default();
        let common: CommonKeys = tls.read().unwrap_or_default();
        let chain = PemSource::from_pair(&tls, "cert", &common.cert_file, &common.cert_pem);
        let key = PemSource::from_pair(&tls, "key", &common.key_file, &common.key_pem);
        if chain.is_some() != key.is_some() {
            tls.error("a client certificate needs both cert_file (or cert_pem) and key_file (or key_pem)");
        }
        let checked = Self {
            written: true,
            keys,
            authorities: PemSource::from_pair(&tls, "ca", &common.ca_file, &common.ca_pem),
            with_system_authorities: common.include_system_ca_certs_pool,
            identity: chain.zip(key),
            parameters: Parameters::check(&tls, &common),
            reload_interval: common.reload_interval.0,
        };
        checked.check_files(&tls);
        checked
    }

    /// TLS with these authorities only.
    pub fn trusting(authorities: PemSource) -> Self {
        Self {
            authorities: Some(authorities),
            ..Self::default()
        }
    }

    /// TLS with the system's certificates for components whose configuration has no `tls` section; `verified: false` takes
    /// any certificate.
    pub fn of_system(verified: bool) -> Self {
        Self {
            keys: ClientKeys {
                insecure_skip_verify: !verified,
                ..ClientKeys::default()
            },
            ..Self::default()
        }
    }

    /// Whether the configuration has a `tls` section at all.
    pub fn is_written(&self) -> bool {
        self.written
    }

    /// Plain text is asked for. A CA beside it means TLS nevertheless, as in the Collector.
    pub fn is_insecure(&self) -> bool {
        self.keys.insecure && self.authorities.is_none()
    }

    /// The name to check the certificate against, where it is not the host dialled.
    pub fn server_name_override(&self) -> Option<&str> {
        (!self.keys.server_name_override.is_empty()).then_some(self.keys.server_name_override.as_str())
    }

    /// Reads every file once, so that each problem is reported at its own key.
    fn check_files(&self, section: &Section) {
        let mut sound = true;
        let mut report = |name: &str, source: &PemSource, problem: Option<TlsError>| {
            if let Some(problem) = problem {
                let kind = if source.path().is_some() { "file" } else { "pem" };
                section.error_at(&format!("{name}_{kind}"), problem.to_string());
                sound = false;
            }
        };
        if let Some(authorities) = &self.authorities {
            report("ca", authorities, authorities.roots().err());
        }
        if let Some((chain, key)) = &self.identity {
            report("cert", chain, chain.certificates().err());
            report("key", key, key.private_key().err());
        }
        // What is left: a key that does not belong to the certificate, and the like.
        if sound && let Err(problem) = self.rustls_config(&[]) {
            section.error(problem.to_string());
        }
    }

    /// Of the files that it names, as they are now.
    fn contents(&self) -> Vec<Option<u64>> {
        let identity = self.identity.iter().flat_map(|(chain, key)| [chain, key]);
        let files = self.authorities.iter().chain(identity);
        files
            .filter(|source| source.path().is_some())
            .map(PemSource::fingerprint)
            .collect()
    }

    /// What rustls needs, from the files as they are now. Blocks for reading small files.
    ///
    /// # Errors
    /// A file that cannot be read or holds nothing usable, or a key that does not fit its certificate.
    pub fn rustls_config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, TlsError> {
        let unusable = |error: rustls::Error| TlsError::Unusable {
            what: "tls".to_owned(),
            reason: error.to_string(),
        };
        let provider = Arc::clone(&self.parameters.provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.parameters.versions)
            .map_err(unusable)?;
        let builder = if self.keys.insecure_skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.identity {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.certificates()?, key.private_key()?)
                .map_err(unusable)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = match &self.authorities {
            Some(authorities) => authorities.roots()?,
            None => RootCertStore::empty(),
        };
        if self.authorities.is_none() || self.with_system_authorities {
            // Some stores hold certificates that no library can read; those are left out, as Go does. An empty store
            // (an image without a bundle) is no error here: every handshake will say that the issuer is unknown.
            let (_added, _left_out) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Ok(roots)
    }
}

/// The rustls configuration of one client, read again when its files change.
pub struct TlsSource {
    tls: ClientTls,
    alpn: Vec<&'static [u8]>,
    current: Mutex<Option<Current>>,
    material: Arc<Material>,
}

/// What was read, of which contents, and when they were looked at last.
struct Current {
    config: Arc<ClientConfig>,
    contents: Vec<Option<u64>>,
    looked: Instant,
}

impl TlsSource {
    /// Offers the protocols of `alpn`, best first.
    pub fn new(tls: ClientTls, alpn: &[&'static [u8]]) -> Self {
        Self {
            tls,
            alpn: alpn.to_vec(),
            current: Mutex::new(None),
            material: Arc::default(),
        }
    }

    /// The settings behind it.
    pub fn settings(&self) -> &ClientTls {
        &self.tls
    }

    /// Expiry of our certificate and failed reloads, on the metrics page; nothing where we show no certificate.
    pub fn observe(&self, instruments: &Instruments) {
        if let Some((chain, _)) = &self.tls.identity {
            self.material.renewed(&chain.certificates().unwrap_or_default());
            self.material.observe(instruments, &[]);
        }
    }

    /// The configuration for the next connection. While new files cannot be read, the old ones serve on.
    ///
    /// # Errors
    /// When the files could not be read and never were.
    pub fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(read) = &mut *current else {
            let contents = self.tls.contents();
            let config = Arc::new(self.tls.rustls_config(&self.alpn)?);
            *current = Some(Current {
                config: Arc::clone(&config),
                contents,
                looked: Instant::now(),
            });
            return Ok(config);
        };
        let interval = self.tls.reload_interval;
        let interval = if interval.is_zero() { LOOK_AT_FILES } else { interval };
        if read.looked.elapsed() >= interval {
            read.looked = Instant::now();
            self.look_again(read);
        }
        Ok(Arc::clone(&read.config))
    }

    fn look_again(&self, read: &mut Current) {
        if let Some((chain, _)) = &self.tls.identity {
            self.material.look_at_expiry(chain);
        }
        let contents = self.tls.contents();
        if contents == read.contents {
            return;
        }
        read.contents = contents;
        match self.tls.rustls_config(&self.alpn) {
            Ok(config) => {
                tracing::info!("the TLS files of a client have changed, using the new ones");
                read.config = Arc::new(config);
                if let Some((chain, _)) = &self.tls.identity {
                    self.material.renewed(&chain.certificates().unwrap_or_default());
                }
            }
            Err(problem) => {
                self.material.failed();
                tracing::warn!(%problem, "cannot reload the TLS files, the old ones stay in use");
            }
        }
    }
}

/// `insecure_skip_verify`: any certificate will do, but the handshake must be signed by its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
