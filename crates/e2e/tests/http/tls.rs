//! HTTP over TLS, as the settings say, with a certificate that changes while the master runs.

use std::{fs, sync::Arc};

use cloudai_tests::{cluster::free_port, process::Process, programs::programs, wait::until};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::json;
use tokio::{net::TcpStream, process::Command};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use crate::{
    ADMIN_PASSWORD,
    web::{get, post},
};

/// Those that the HTTP crate's own tests use.
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../http/tests/vectors");

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(format!("{VECTORS}/{name}.cert.pem")).unwrap()
}

async fn connect(at: &str) -> Option<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for name in ["one", "two"] {
        roots.add(certificate(name)).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(at).await.ok()?;
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, stream).await.ok()
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_http_is_served_over_tls_alone() {
    // Given a master with a certificate and its key,
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let install = |name: &str| {
        for kind in ["key", "cert"] {
            fs::copy(
                format!("{VECTORS}/{name}.{kind}.pem"),
                path(&format!("{kind}.pem")),
            )
            .unwrap();
        }
    };
    install("one");
    let flags = [
        "-http-tls-cert",
        &path("cert.pem"),
        "-http-tls-key",
        &path("key.pem"),
    ];
    let at = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(&programs().master);
    let grpc = format!("127.0.0.1:{}", free_port());
    command.args(["-grpc", &grpc, "-http", &at, "-data-dir", &path("data")]);
    command
        .args(flags)
        .env("CLOUDAI_ADMIN_PASSWORD", ADMIN_PASSWORD);
    let mut master = Process::spawn("master", command, folder.path());
    let stream = until("the master to serve TLS", async || connect(&at).await).await;
    assert_eq!(shown(&stream), certificate("one"));
    // then somebody logs in over it, by a cookie that never goes over a plain connection,
    let login =
        post("/api/auth/login").json(&json!({"username": "admin", "password": ADMIN_PASSWORD}));
    let session = until("the master to let somebody in", async || {
        let reply = login.send_over(connect(&at).await.unwrap()).await;
        (reply.status != 503).then_some(reply)
    })
    .await
    .expect(200);
    let cookie = session.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    let token = session.json()["token"].as_str().unwrap().to_owned();
    let stream = connect(&at).await.unwrap();
    get("/api/auth/me")
        .by(&token)
        .send_over(stream)
        .await
        .expect(200);
    // and without TLS there is nothing to be had.
    let plain = crate::web::exchange(&at, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(!plain.contains("200 OK"), "{plain}");
    // A new certificate is shown without a restart.
    install("two");
    until("the new certificate to be shown", async || {
        let stream = connect(&at).await?;
        (shown(&stream) == certificate("two")).then_some(())
    })
    .await;
    master.type_line("exit").await;
    assert_eq!(master.ends().await, Some(0));
}
