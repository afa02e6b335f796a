//! The certificate and key, read anew when their files change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, ServerConfig, crypto::ring},
    server::TlsStream,
};
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that vouch for it, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds something else.
    #[error("{path:?} can't be used: expected {expected} in PEM")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{0:?} holds no certificate: expected one or several in PEM")]
    Empty(PathBuf),
    /// The two don't go together, or are of a kind that isn't known.
    #[error("certificate {certificate:?} and key {key:?} can't be used together")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// TLS with the certificate of now. Cheap to clone.
#[derive(Clone)]
pub struct Tls(watch::Receiver<Arc<ServerConfig>>);

impl Tls {
    /// Reads certificate and key, and goes on looking whether they have changed for as long as
    /// this is used. What can't be read later leaves the last one in use.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn watching(files: TlsFiles) -> Result<Self, TlsError> {
        let mut seen = Stamp::of(&files);
        let (sender, receiver) = watch::channel(load(&files)?);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(LOOK_INTERVAL) => {}
                }
                let now = Stamp::of(&files);
                if now == seen {
                    continue;
                }
                let path = &files.certificate;
                match load(&files) {
                    Ok(config) => {
                        info!(certificate = %path.display(), "the TLS certificate was read anew");
                        sender.send_replace(config);
                        seen = now;
                    }
                    // Perhaps one of the two is still to come: look again.
                    Err(error) => warn!(
                        error = &error as &dyn std::error::Error,
                        "the new TLS certificate can't be used: the last one stays"
                    ),
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Does the handshake.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let config = self.0.borrow().clone();
        TlsAcceptor::from(config).accept(stream).await
    }
}

fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |path: &Path, expected| {
        let path = path.to_owned();
        move |source| TlsError::Pem {
            path,
            expected,
            source,
        }
    };
    let broken = || pem(&files.certificate, "certificates");
    let chain = CertificateDer::pem_file_iter(&files.certificate).map_err(broken())?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(broken())?;
    if chain.is_empty() {
        return Err(TlsError::Empty(files.certificate.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem(&files.key, "a private key"))?;
    let pair = |source| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What tells two states of the files apart: a link that leads elsewhere does, too.
#[derive(Debug, PartialEq, Eq)]
struct Stamp([Option<(PathBuf, SystemTime, u64)>; 2]);

impl Stamp {
    fn of(files: &TlsFiles) -> Self {
        Self([&files.certificate, &files.key].map(|path| {
            let path = fs::canonicalize(path).ok()?;
            let about = fs::metadata(&path).ok()?;
            Some((path, about.modified().ok()?, about.len()))
        }))
    }
}
