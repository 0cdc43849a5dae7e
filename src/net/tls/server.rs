//! The server side of TLS: certificate, key, client authorities, and their reload when the files change.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{CommonKeys, LOOK_AT_FILES, Material, Parameters, PemSource, TlsError};
use crate::component::Instruments;
use crate::config::Section;

/// The protocols offered by ALPN; the connection itself is judged by its first bytes.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct ServerKeys {
    client_ca_file: String,
    client_ca_file_reload: bool,
}

/// Material and parameters, read again on change.
pub struct ServerTls {
    certificate: PemSource,
    key: PemSource,
    client_authorities: Option<PemSource>,
    reload_client_authorities: bool,
    parameters: Parameters,
    look_every: Duration,
    current: ArcSwap<ServerConfig>,
    material: Arc<Material>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("certificate", &self.certificate.to_string())
            .field("client_authorities", &self.client_authorities.is_some())
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the `tls` group of a server and the files it names; problems go to the section.
    pub fn check(section: &Section) -> Option<Arc<Self>> {
        let keys: CommonKeys = section.read()?;
        let server: ServerKeys = section.read()?;
        if !keys.ca_file.is_empty() || !keys.ca_pem.reveal().is_empty() || keys.include_system_ca_certs_pool {
            section.warn(
                "ca_file, ca_pem and include_system_ca_certs_pool have no effect on a listener; \
                          client_ca_file is what client certificates are verified with",
            );
        }
        let parameters = Parameters::check(section, &keys);
        let certificate = PemSource::from_pair(section, "cert", &keys.cert_file, &keys.cert_pem);
        let key = PemSource::from_pair(section, "key", &keys.key_file, &keys.key_pem);
        let (Some(certificate), Some(key)) = (certificate, key) else {
            section.error("a TLS listener needs cert_file (or cert_pem) and key_file (or key_pem)");
            return None;
        };
        let look_every = if keys.reload_interval.0.is_zero() {
            LOOK_AT_FILES
        } else {
            keys.reload_interval.0
        };
        let client_ca = PemSource::from_pair(section, "client_ca", &server.client_ca_file, &Default::default());
        if parameters.versions.is_empty() {
            return None;
        }
        let checked = Self::new(certificate, key, client_ca, parameters).map(|mut tls| {
            tls.look_every = look_every;
            tls.reload_client_authorities = server.client_ca_file_reload || tls.reload_client_authorities;
            Arc::new(tls)
        });
        checked.map_err(|error| section.error(error.to_string())).ok()
    }

    /// Reads the material now.
    ///
    /// # Errors
    /// When something cannot be read or does not fit together.
    pub fn new(
        certificate: PemSource,
        key: PemSource,
        client_authorities: Option<PemSource>,
        parameters: Parameters,
    ) -> Result<Self, TlsError> {
        let material = Arc::new(Material::default());
        let config = build(&certificate, &key, client_authorities.as_ref(), &parameters)?;
        material.renewed(&certificate.certificates()?);
        Ok(Self {
            certificate,
            key,
            client_authorities,
            reload_client_authorities: true,
            parameters,
            look_every: LOOK_AT_FILES,
            current: ArcSwap::from_pointee(config),
            material,
        })
    }

    /// The handshake, with the material as it is now.
    pub(in crate::net) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current.load_full()).accept(stream).await
    }

    /// Looks at the files now and then, and takes new ones that are good; bad ones leave the old in use and are warned
    /// of. Compares contents, so swapped symbolic links count as change. Ends with the stop token.
    pub(in crate::net) async fn watch_files(self: Arc<Self>, stop: CancellationToken) {
        let mut seen = self.contents();
        loop {
            self.material.look_at_expiry(&self.certificate);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.look_every) => {}
            }
            // Three small files every 30 s: not worth a blocking thread of their own.
            let now = self.contents();
            if now == seen {
                continue;
            }
            seen = now;
            match self.reload() {
                Ok(()) => tracing::info!(certificate = %self.certificate, "TLS files changed, using the new ones"),
                Err(error) => {
                    self.material.failed();
                    tracing::warn!(%error, "TLS files changed but cannot be used, keeping the old ones");
                }
            }
        }
    }

    /// Expiry and failed reloads, on the metrics page.
    pub(in crate::net) fn observe(&self, instruments: &Instruments, labels: &[(&'static str, &str)]) {
        self.material.observe(instruments, labels);
    }

    fn sources(&self) -> impl Iterator<Item = &PemSource> {
        let authorities = self
            .client_authorities
            .iter()
            .filter(|_| self.reload_client_authorities);
        [&self.certificate, &self.key].into_iter().chain(authorities)
    }

    fn contents(&self) -> Vec<Option<u64>> {
        self.sources().map(PemSource::fingerprint).collect()
    }

    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let config = build(
            &self.certificate,
            &self.key,
            self.client_authorities.as_ref(),
            &self.parameters,
        )?;
        self.material.renewed(&self.certificate.certificates()?);
        self.current.store(Arc::new(config));
        Ok(())
    }
}

fn build(
    certificate: &PemSource,
    key: &PemSource,
    client_authorities: Option<&PemSource>,
    parameters: &Parameters,
) -> Result<ServerConfig, TlsError> {
    let unusable = |what: &PemSource, reason: String| TlsError::Unusable {
        what: what.to_string(),
        reason,
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&parameters.provider))
        .with_protocol_versions(&parameters.versions)
        .map_err(|error| unusable(certificate, error.to_string()))?;
    let builder = match client_authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let roots = Arc::new(authorities.roots()?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&parameters.provider))
                .build()
                .map_err(|error| unusable(authorities, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificate.certificates()?, key.private_key()?)
        .map_err(|error| unusable(certificate, format!("certificate and key cannot be used: {error}")))?;
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}
