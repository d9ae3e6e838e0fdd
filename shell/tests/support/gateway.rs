//! A gateway for tests: it answers searches, describes itself, maps ports, and remembers what it was asked.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};

pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// Begins to answer on `searches`, with everything else at `ip`; `taken` is a port that somebody else has mapped. Gives the
/// requests that map and unmap ports.
pub fn gateway(searches: UdpSocket, ip: Ipv4Addr, taken: Option<u16>) -> Receiver<String> {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let place = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), taken, &tell);
        }
    });
    std::thread::spawn(move || {
        let mut search = [0; 1500];
        while let Ok((length, from)) = searches.recv_from(&mut search) {
            if String::from_utf8_lossy(&search[..length]).contains("InternetGatewayDevice") {
                searches.send_to(found(place).as_bytes(), from).unwrap();
            }
        }
    });
    told
}

fn found(place: SocketAddr) -> String {
    format!("HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLocation: http://{place}/root.xml\r\n\r\n")
}

fn serve(mut stream: TcpStream, taken: Option<u16>, tell: &Sender<String>) {
    let mut request = Vec::new();
    let mut part = [0; 2048];
    let text = loop {
        let read = stream.read(&mut part).unwrap_or(0);
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let is_whole =
            if text.starts_with("GET") { text.ends_with("\r\n\r\n") } else { text.contains("</s:Envelope>") };
        if is_whole || read == 0 {
            break text;
        }
    };
    let (status, body) = answer(&text, taken, tell);
    let head = format!("HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    // Whoever asked may have gone.
    let _ = stream.write_all((head + &body).as_bytes());
}

fn answer(text: &str, taken: Option<u16>, tell: &Sender<String>) -> (&'static str, String) {
    if text.starts_with("GET /root.xml") {
        let service = |kind: &str, path: &str| {
            format!(
                "<service><serviceType>urn:schemas-upnp-org:service:{kind}:1</serviceType>\n<controlURL>{path}</controlURL></service>"
            )
        };
        let services = service("Layer3Forwarding", "/other") + &service("WANIPConnection", "/control");
        return ("200 OK", format!("<root><device>{services}</device></root>"));
    }
    assert!(text.starts_with("POST /control"), "{text}");
    if text.contains("#GetExternalIPAddress") {
        return ("200 OK", format!("<NewExternalIPAddress>{OUTSIDE}</NewExternalIPAddress>"));
    }
    let of_taken = taken.is_some_and(|port| text.contains(&format!("<NewExternalPort>{port}<")));
    if text.contains("#AddPortMapping") && of_taken {
        return ("500 Internal Server Error", "<errorCode>718</errorCode>".to_owned());
    }
    // The test may have ended.
    let _ = tell.send(text.to_owned());
    ("200 OK", String::new())
}
