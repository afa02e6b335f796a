//! TLS, and a certificate that changes while the server runs. The certificates in `vectors/` are made
//! for this test alone.

use std::{fs, path::Path, sync::Arc};

use cloudai_http::{Tls, TlsError, TlsFiles};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use crate::support::{
    Setup, Site,
    client::{PATIENCE, Reply, get},
};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(format!("{VECTORS}/{name}.cert.pem")).unwrap()
}

/// Puts a certificate where the server reads it.
fn install(name: &str, folder: &Path) -> TlsFiles {
    let files = TlsFiles {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    fs::copy(format!("{VECTORS}/{name}.key.pem"), &files.key).unwrap();
    fs::copy(format!("{VECTORS}/{name}.cert.pem"), &files.certificate).unwrap();
    files
}

/// A connection that trusts both certificates.
async fn connect(site: &Site, protocol: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    for name in ["one", "two"] {
        roots.add(certificate(name)).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(site.at).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart() {
    // Given a server with a certificate,
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::watching(install("one", folder.path())).unwrap();
    let site = Site::with(Setup {
        tls: Some(tls),
        ..Setup::default()
    })
    .await;
    let mut stream = connect(&site, b"http/1.1").await;
    assert_eq!(shown(&stream), certificate("one"));
    stream.write_all(&get("/health").bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Some servers end without a word of TLS; what came is what counts.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .is_ok();
    Reply::read(&answer).expect(200);
    let (_, connection) = connect(&site, b"h2").await.into_inner();
    assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));

    // when its files are replaced, half of them broken first, then the new one is shown.
    fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    assert_eq!(shown(&connect(&site, b"h2").await), certificate("one"));
    install("two", folder.path());
    let changed = timeout(PATIENCE, async {
        while shown(&connect(&site, b"h2").await) != certificate("two") {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    changed.await.expect("the new certificate is shown in time");
}

#[tokio::test]
async fn what_is_no_certificate_or_not_its_key_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let files = install("one", folder.path());
    fs::copy(format!("{VECTORS}/two.key.pem"), &files.key).unwrap();
    let error = |files: &TlsFiles| Tls::watching(files.clone()).err().unwrap();
    assert!(
        matches!(error(&files), TlsError::Pair { .. }),
        "{:?}",
        error(&files)
    );
    fs::write(&files.certificate, "nonsense").unwrap();
    assert!(
        matches!(error(&files), TlsError::Empty(_)),
        "{:?}",
        error(&files)
    );
    fs::remove_file(&files.certificate).unwrap();
    assert!(
        error(&files)
            .to_string()
            .contains("expected certificates in PEM")
    );
}

#[tokio::test]
async fn whoever_begins_no_handshake_is_sent_away() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::watching(install("one", folder.path())).unwrap();
    let settings = cloudai_http::Settings {
        first_request_within: std::time::Duration::from_millis(200),
        ..cloudai_http::Settings::default()
    };
    let site = Site::with(Setup {
        tls: Some(tls),
        settings,
        ..Setup::default()
    })
    .await;
    let mut silent = TcpStream::connect(site.at).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, silent.read_to_end(&mut answer))
        .await
        .expect("it is closed");
    assert!(read.is_err() || answer.is_empty());
}
