//! The feed over TLS.
#![cfg(feature = "tls")]
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::net::TcpStream;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use futures_rustls::TlsConnector;
use futures_rustls::rustls::crypto::aws_lc_rs;
use futures_rustls::rustls::pki_types::ServerName;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use peerage_shell::fault::code;
use peerage_shell::http::feed::{Feed, FeedLimits};
use peerage_shell::http::hub::Hub;
use peerage_shell::http::server;
use peerage_shell::http::tls::Tls;
use peerage_shell::runtime::bind;
use support::{block_on, runtime};

#[test]
fn t075_the_feed_serves_tls_with_the_given_files() {
    let folder = std::env::temp_dir().join(format!("peerage-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.key_pair.serialize_pem()).unwrap();
    let tls = Tls::load(&certificate, &key).unwrap();
    let swapped = Tls::load(&key, &certificate).unwrap_err();
    assert_eq!(swapped.code, code::CONFIG);
    std::fs::remove_dir_all(&folder).unwrap();

    block_on(20, async {
        let runtime = runtime();
        let (listener, addr) = bind(&*runtime, ([127, 0, 0, 1], 0).into()).unwrap();
        let feed = Feed::new(runtime.clone(), Hub::new(FeedLimits::default()), FeedLimits::default());
        let handler: server::Handler = Box::new(move |socket, from| {
            let (feed, tls) = (feed.clone(), tls.clone());
            async move {
                if let Ok(socket) = tls.accept(socket).await {
                    feed.serve(socket, from).await;
                }
            }
            .boxed()
        });
        runtime.spawn(
            server::accept(
                runtime.clone(),
                listener,
                FeedLimits::default().connections(),
                Arc::default(),
                handler,
            )
            .boxed(),
        );

        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let socket = smol::Async::<TcpStream>::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, socket).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("OK"), "{answer}");
        // A client without TLS gets nothing, and hurts nobody.
        let mut plain = smol::Async::<TcpStream>::connect(addr).await.unwrap();
        plain.write_all(b"GET /health HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"));
    });
}
