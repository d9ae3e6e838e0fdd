//! Against a gateway on loopback.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;

#[path = "../../../tests/support/gateway.rs"]
mod fake;

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway on loopback: where it is looked for, and what it is asked.
fn gateway(taken: Option<u16>) -> (std::net::SocketAddr, std::sync::mpsc::Receiver<String>) {
    let searches = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let everybody = searches.local_addr().unwrap();
    (everybody, fake::gateway(searches, LOOPBACK, taken))
}

#[test]
fn a_gateway_that_is_found_maps_the_port_and_ends_the_mapping() {
    let (everybody, asked) = gateway(None);
    let found = gateway::find(LOOPBACK, everybody).unwrap();
    let own = SocketAddrV4::new([192, 168, 7, 7].into(), 9905);
    assert_eq!(found.map(own), Ok(SocketAddrV4::new(fake::OUTSIDE, 9905)));
    let request = asked.recv_timeout(PATIENCE).unwrap();
    for part in [
        "SOAPAction: \"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping\"",
        "<NewInternalClient>192.168.7.7</NewInternalClient>",
        "<NewInternalPort>9905</NewInternalPort>",
        "<NewExternalPort>9905</NewExternalPort>",
        "<NewProtocol>TCP</NewProtocol>",
        "<NewLeaseDuration>3600</NewLeaseDuration>",
    ] {
        assert!(request.contains(part), "{part} is not in {request}");
    }
    assert_eq!(found.unmap(9905), Ok(()));
    assert!(asked.recv_timeout(PATIENCE).unwrap().contains("#DeletePortMapping"));
}

#[test]
fn a_port_that_somebody_else_has_is_left_to_them() {
    let (everybody, _asked) = gateway(Some(9905));
    let found = gateway::find(LOOPBACK, everybody).unwrap();
    let outside = found.map(SocketAddrV4::new([192, 168, 7, 7].into(), 9905)).unwrap();
    assert!(outside.port() != 9905 && outside.port() >= 1024, "{outside}");
}

#[test]
fn an_answer_that_leads_elsewhere_or_never_ends_is_no_gateway() {
    let answers = |answer: String| {
        let searches = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        let everybody = searches.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut search = [0; 1500];
            let (_, from) = searches.recv_from(&mut search).unwrap();
            (0..8).for_each(|_| drop(searches.send_to(answer.as_bytes(), from)));
        });
        gateway::find(LOOPBACK, everybody).unwrap_err()
    };
    let elsewhere = answers("HTTP/1.1 200 OK\r\nLOCATION: http://127.0.0.2:80/x\r\n\r\n".to_owned());
    assert_eq!(elsewhere, "an answer that leads elsewhere");
    assert_eq!(
        answers("HTTP/1.1 200 OK\r\nLOCATION: http://a.name/x\r\n\r\n".to_owned()),
        "an answer without a place"
    );
    let endless = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let place = endless.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in endless.incoming() {
            let mut stream = stream.unwrap();
            use std::io::Write as _;
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        }
    });
    let refused = answers(format!("HTTP/1.1 200 OK\r\nLOCATION: http://{place}/x\r\n\r\n"));
    assert_eq!(refused, "no service that maps ports", "it was read up to the bound");
}

/// A mapper whose searches go to `everybody`, and which blocks the test instead of a thread.
fn mapper(everybody: std::net::SocketAddr) -> Mapper {
    Mapper { everybody, ..Mapper::new(Arc::new(|work| work())) }
}

fn outcome(mapper: &mut Mapper, now: Instant) -> Vec<Change> {
    mapper.begin(now);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match mapper.poll_next(&mut cx, now) {
        Poll::Ready(changes) => changes,
        Poll::Pending => panic!("nothing was begun"),
    }
}

#[test]
fn only_private_addresses_of_a_network_are_mapped() {
    let map = |text: &str| mappable(&text.parse().unwrap());
    assert_eq!(map("/ip4/192.168.1.2/tcp/5"), Some("192.168.1.2:5".parse().unwrap()));
    for other in
        ["/ip4/127.0.0.1/tcp/5", "/ip4/198.18.0.1/tcp/5", "/ip6/fd00::1/tcp/5", "/ip4/10.0.0.1/udp/5"]
    {
        assert_eq!(map(other), None, "{other}");
    }
}

#[test]
fn a_mapping_is_told_renewed_in_silence_and_ended_with_its_address() {
    let (everybody, asked) = gateway(None);
    let mut mapper = mapper(everybody);
    // It is bound for the search: an address of ours, which a mapper would not map.
    let addr: Multiaddr = "/ip4/127.0.0.1/tcp/9905".parse().unwrap();
    let now = Instant::now();
    let own = SocketAddrV4::new(LOOPBACK, 9905);
    mapper.entries.insert(addr.clone(), Entry { own, due: now, mapped: None });
    let outside: Multiaddr = format!("/ip4/{}/tcp/9905", fake::OUTSIDE).parse().unwrap();
    assert_eq!(outcome(&mut mapper, now), [Change::Mapped(outside.clone())]);
    mapper.begin(now + RENEW - Duration::from_secs(1));
    assert!(mapper.running.is_none(), "it is not due yet");
    assert_eq!(outcome(&mut mapper, now + RENEW), []);
    assert_eq!(mapper.listening_ended(&addr), Some(Change::Ended(outside)));
    let requests: Vec<_> = (0..3).map(|_| asked.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(requests[2].contains("#DeletePortMapping"));
}

#[test]
fn without_a_gateway_the_search_comes_again_only_after_a_while() {
    let nobody = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let mut mapper = mapper(nobody.local_addr().unwrap());
    let addr: Multiaddr = "/ip4/127.0.0.1/tcp/9905".parse().unwrap();
    let now = Instant::now();
    let own = SocketAddrV4::new(LOOPBACK, 9905);
    mapper.entries.insert(addr, Entry { own, due: now, mapped: None });
    assert_eq!(outcome(&mut mapper, now), []);
    mapper.begin(now + RETRY - Duration::from_secs(1));
    assert!(mapper.running.is_none());
}
