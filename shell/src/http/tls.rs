//! TLS for the feed (`securityLevelHTTP` ≠ 0).

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::ServerConfig;
use futures_rustls::rustls::crypto::aws_lc_rs;
use futures_rustls::rustls::pki_types::pem::PemObject as _;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::feed::HANDSHAKE_TIMEOUT;
use super::subscriber::within;
use crate::fault::{Fault, code};
use crate::p2p::Socket;

/// Turns accepted sockets into TLS streams.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads certificate chain and key, both PEM.
    ///
    /// # Errors
    /// When a file cannot be read or they do not fit together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Fault> {
        let broken = |setting: &str, path: &Path, problem: String| {
            Fault::new(
                code::CONFIG,
                format!("setting `{setting}` = `{}`: {problem}", path.display()),
                "name a PEM file",
            )
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| broken("server_certFile", certificate, error.to_string()))?;
        let secret = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| broken("server_keyFile", key, error.to_string()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
        let mut config = config.map_err(|error| broken("server_certFile", certificate, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake; whoever is slow at it is dropped.
    ///
    /// # Errors
    /// When the client breaks off, speaks no TLS, or takes too long.
    pub async fn accept(&self, socket: Socket) -> io::Result<Socket> {
        match within(HANDSHAKE_TIMEOUT, self.0.accept(socket)).await {
            Some(done) => done.map(|stream| Box::new(stream) as Socket),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
