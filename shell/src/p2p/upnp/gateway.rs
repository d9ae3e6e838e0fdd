//! A gateway that maps ports by UPnP (Internet Gateway Device, version 1), asked with blocking sockets. Everything that it
//! says is bounded in time and size, and it alone is talked to: never whoever it names.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Where gateways listen for who looks for them.
pub const EVERY_GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)), 1900);
/// How long answers to a search are waited for.
const SEARCH: Duration = Duration::from_secs(4);
/// Longest request with its answer.
const REQUEST: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
const ANSWER_MAX: u64 = 64 << 10;
/// Answers to one search that are looked at.
const ANSWERS_MAX: usize = 8;
/// Ports tried when others have those before.
const PORTS_MAX: u16 = 4;
/// Seconds that a mapping lasts, as in go-libp2p's library and in rust-libp2p.
pub const LEASE: Duration = Duration::from_secs(3600);

const SERVICES: [&str; 2] =
    ["urn:schemas-upnp-org:service:WANIPConnection:", "urn:schemas-upnp-org:service:WANPPPConnection:"];
/// A port that somebody else's mapping has; a gateway whose mappings last for ever.
const CONFLICT: &str = "718";
const ONLY_PERMANENT: &str = "725";

/// A gateway that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gateway {
    addr: SocketAddr,
    path: String,
    service: String,
}

/// Looks for one on the network of `own`, which hears what is sent to `everybody`. Blocks for some seconds.
///
/// # Errors
/// When there is none that can be understood.
pub fn find(own: Ipv4Addr, everybody: SocketAddr) -> Result<Gateway, String> {
    let told = |error: std::io::Error| format!("no search: {error}");
    let socket = UdpSocket::bind((own, 0)).map_err(told)?;
    SockRef::from(&socket).set_multicast_if_v4(&own).map_err(told)?;
    let search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 2\r\n\
                  ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n";
    socket.send_to(search.as_bytes(), everybody).map_err(told)?;
    let (until, mut last) = (Instant::now() + SEARCH, "nobody answers".to_owned());
    let mut answer = [0; 1500];
    for _ in 0..ANSWERS_MAX {
        let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
            break;
        };
        socket.set_read_timeout(Some(left)).map_err(told)?;
        let Ok((length, from)) = socket.recv_from(&mut answer) else { break };
        match described(from.ip(), &String::from_utf8_lossy(&answer[..length])) {
            Ok(gateway) => return Ok(gateway),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The gateway that answered from `from`, by its description.
fn described(from: IpAddr, answer: &str) -> Result<Gateway, String> {
    let location = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim())
    });
    let (addr, path) = location.and_then(place).ok_or("an answer without a place")?;
    if addr.ip() != from {
        return Err("an answer that leads elsewhere".to_owned());
    }
    let (_, text) = request(addr, &format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n"))?;
    let (service, control) = service(&text).ok_or("no service that maps ports")?;
    // An absolute URL is taken for its path: nobody else is talked to.
    let path = match place(&control) {
        Some((_, path)) => path,
        None if control.starts_with('/') => control,
        None => format!("/{control}"),
    };
    Ok(Gateway { addr, path, service })
}

/// Host and path of an URL without a name in it.
fn place(url: &str) -> Option<(SocketAddr, String)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let addr = host.parse().ok().or_else(|| Some(SocketAddr::new(host.parse().ok()?, 80)))?;
    Some((addr, if path.is_empty() { "/".to_owned() } else { path.to_owned() }))
}

/// Type and control path of the first service that maps ports.
fn service(description: &str) -> Option<(String, String)> {
    description.split("<service>").skip(1).find_map(|block| {
        let block = block.split("</service>").next()?;
        let (kind, control) = (element(block, "serviceType")?, element(block, "controlURL")?);
        let plain = |text: &str| text.len() < 256 && text.chars().all(|c| c.is_ascii_graphic());
        let maps = SERVICES.iter().any(|service| kind.starts_with(service));
        (maps && plain(kind) && plain(control)).then(|| (kind.to_owned(), control.to_owned()))
    })
}

/// The text of the first element of that name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0.trim())
}

/// One request and its answer: whether it is 200, and the body.
fn request(addr: SocketAddr, request: &str) -> Result<(bool, String), String> {
    let until = Instant::now() + REQUEST;
    let left = || {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        left.ok_or_else(|| format!("{addr} takes too long"))
    };
    let told = |error: std::io::Error| format!("{addr}: {error}");
    let mut stream = TcpStream::connect_timeout(&addr, left()?).map_err(told)?;
    stream.set_write_timeout(Some(left()?)).map_err(told)?;
    stream.write_all(request.as_bytes()).map_err(told)?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while (answer.len() as u64) < ANSWER_MAX {
        stream.set_read_timeout(Some(left()?)).map_err(told)?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) => return Err(told(error)),
        }
        if is_whole(&answer) {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{addr} answers no HTTP"))?;
    Ok((head.split(' ').nth(1) == Some("200"), body.to_owned()))
}

/// Whether an answer has the length that it states. One that states none ends with its connection.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let stated = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    stated.is_some_and(|stated| answer.len() - head.len().min(answer.len()) >= stated.saturating_add(4))
}

impl Gateway {
    /// Has `own` reached from outside, at the same port if nobody has that. Gives the address outside.
    ///
    /// # Errors
    /// The gateway's, or that of the way to it.
    pub fn map(&self, own: SocketAddrV4) -> Result<SocketAddrV4, String> {
        let ip = self.call("GetExternalIPAddress", "")?;
        let ip = element(&ip, "NewExternalIPAddress").and_then(|text| text.parse().ok());
        let ip: Ipv4Addr = ip.ok_or("the gateway has no address outside")?;
        let ports = (0..PORTS_MAX).map(|n| own.port().wrapping_add(n.wrapping_mul(997)).max(1024));
        let mut refused = String::new();
        for port in std::iter::once(own.port()).chain(ports.skip(1)) {
            let mut mapped = self.add(own, port, LEASE.as_secs());
            if mapped.as_ref().is_err_and(|error| error.contains(ONLY_PERMANENT)) {
                mapped = self.add(own, port, 0);
            }
            match mapped {
                Ok(()) => return Ok(SocketAddrV4::new(ip, port)),
                Err(error) if error.contains(CONFLICT) => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    fn add(&self, own: SocketAddrV4, port: u16, lease: u64) -> Result<(), String> {
        let arguments = format!(
            "<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort><NewProtocol>TCP</NewProtocol>\
             <NewInternalPort>{}</NewInternalPort><NewInternalClient>{}</NewInternalClient><NewEnabled>1</NewEnabled>\
             <NewPortMappingDescription>peerage</NewPortMappingDescription>\
             <NewLeaseDuration>{lease}</NewLeaseDuration>",
            own.port(),
            own.ip()
        );
        self.call("AddPortMapping", &arguments).map(drop)
    }

    /// Ends the mapping of a port outside.
    ///
    /// # Errors
    /// As of [`Self::map`].
    pub fn unmap(&self, port: u16) -> Result<(), String> {
        let arguments = format!(
            "<NewRemoteHost></NewRemoteHost><NewExternalPort>{port}</NewExternalPort><NewProtocol>TCP</NewProtocol>"
        );
        self.call("DeletePortMapping", &arguments).map(drop)
    }

    fn call(&self, action: &str, arguments: &str) -> Result<String, String> {
        let Self { addr, path, service } = self;
        let body = format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{action} xmlns:u=\"{service}\">\
             {arguments}</u:{action}></s:Body></s:Envelope>"
        );
        let head = format!(
            "POST {path} HTTP/1.0\r\nHost: {addr}\r\nSOAPAction: \"{service}#{action}\"\r\n\
             Content-Type: text/xml; charset=\"utf-8\"\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        match request(*addr, &(head + &body))? {
            (true, answer) => Ok(answer),
            (false, answer) => {
                let code: String =
                    element(&answer, "errorCode").unwrap_or("no reason").chars().take(16).collect();
                Err(format!("the gateway refuses {action}: {code}"))
            }
        }
    }
}
