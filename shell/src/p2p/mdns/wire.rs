//! DNS messages as mDNS discovery of libp2p uses them: a question for `_p2p._udp.local`, and answers whose TXT records are
//! `dnsaddr=` and a multiaddr. Go's resolver wants an address record of the host as well.

use std::net::Ipv4Addr;

use peerage_proto::Multiaddr;

/// The service (libp2p profile, section 4).
const SERVICE: [&[u8]; 3] = [b"_p2p", b"_udp", b"local"];
/// Where our own records end.
const DOMAIN: &[u8] = b"local";
/// How long an answer counts, in seconds.
const TTL: u32 = 120;
/// Addresses used of one message.
pub const ADDRESSES_MAX: usize = 32;
/// Bytes of addresses in one answer: it is to fit into one packet of any network.
const TEXTS_MAX: usize = 900;

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;
const ANY: u16 = 255;
const IN: u16 = 1;
/// Class IN, in place of what was known before.
const FLUSH: u16 = 0x8001;

/// What a message is to us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Somebody asks who is there.
    Asked,
    /// Somebody is there. Addresses without a peer are left out.
    Found(Vec<Multiaddr>),
    /// Something else, or nothing that can be understood.
    Nothing,
}

/// The question who is there.
pub fn question() -> Vec<u8> {
    let mut message = header(0, [1, 0, 0, 0]);
    name(&mut message, &SERVICE);
    numbers(&mut message, &[PTR, IN]);
    message
}

/// The answer of who is called `instance` (at most 63 bytes) and is reached at `addrs`, which begin with `ip`.
pub fn answer(instance: &str, ip: Ipv4Addr, port: u16, addrs: &[Multiaddr]) -> Vec<u8> {
    let instance = instance.as_bytes();
    let own = [instance, SERVICE[0], SERVICE[1], SERVICE[2]];
    let host = [instance, DOMAIN];
    let mut message = header(0x8400, [0, 1, 0, 3]);
    record(&mut message, &SERVICE, PTR, IN, |data| name(data, &own));
    record(&mut message, &own, TXT, FLUSH, |data| texts(data, addrs));
    record(&mut message, &own, SRV, FLUSH, |data| {
        numbers(data, &[0, 0, port]);
        name(data, &host);
    });
    record(&mut message, &host, A, FLUSH, |data| data.extend(ip.octets()));
    message
}

fn texts(data: &mut Vec<u8>, addrs: &[Multiaddr]) {
    let start = data.len();
    for addr in addrs {
        let text = format!("dnsaddr={addr}");
        let Ok(length) = u8::try_from(text.len()) else { continue };
        if data.len() - start + text.len() < TEXTS_MAX {
            data.push(length);
            data.extend(text.bytes());
        }
    }
    if data.len() == start {
        // A TXT record has at least one text.
        data.push(0);
    }
}

fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut message = Vec::with_capacity(512);
    numbers(&mut message, &[0, flags]);
    numbers(&mut message, &counts);
    message
}

fn numbers(to: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| to.extend(number.to_be_bytes()));
}

fn name(to: &mut Vec<u8>, labels: &[&[u8]]) {
    for label in labels {
        let label = &label[..label.len().min(63)];
        to.push(label.len() as u8);
        to.extend(label);
    }
    to.push(0);
}

fn record(to: &mut Vec<u8>, of: &[&[u8]], kind: u16, class: u16, write: impl FnOnce(&mut Vec<u8>)) {
    name(to, of);
    numbers(to, &[kind, class]);
    to.extend(TTL.to_be_bytes());
    let mut data = Vec::new();
    write(&mut data);
    numbers(to, &[u16::try_from(data.len()).unwrap_or(u16::MAX)]);
    to.extend(data);
}

/// Reads a message of anybody.
pub fn read(message: &[u8]) -> Heard {
    hear(message).unwrap_or(Heard::Nothing)
}

fn hear(message: &[u8]) -> Option<Heard> {
    let mut reader = Reader { message, at: 2 };
    let is_answer = reader.number()? & 0x8000 != 0;
    let [questions, answers, authorities, others] =
        [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
    let mut asked = false;
    for _ in 0..questions {
        let labels = reader.name()?;
        let kind = reader.number()?;
        reader.number()?;
        asked |= is_service(&labels) && matches!(kind, PTR | ANY);
    }
    if !is_answer {
        return asked.then_some(Heard::Asked);
    }
    let mut found = Vec::new();
    let records = u32::from(answers) + u32::from(authorities) + u32::from(others);
    for _ in 0..records {
        // What is cut off takes nothing from what came before.
        let Some((labels, kind, data)) = reader.record() else { break };
        if kind == TXT && labels.len() == 4 && is_service(&labels[1..]) {
            found.extend(
                strings(data).filter_map(address).take(ADDRESSES_MAX - found.len().min(ADDRESSES_MAX)),
            );
        }
    }
    (!found.is_empty()).then_some(Heard::Found(found))
}

fn is_service(labels: &[&[u8]]) -> bool {
    labels.len() == SERVICE.len()
        && labels.iter().zip(SERVICE).all(|(label, ours)| label.eq_ignore_ascii_case(ours))
}

/// The texts of a TXT record.
fn strings(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first()?;
        let text;
        (text, data) = rest.split_at_checked(usize::from(*length))?;
        Some(text)
    })
}

fn address(text: &[u8]) -> Option<Multiaddr> {
    let addr: Multiaddr = std::str::from_utf8(text).ok()?.strip_prefix("dnsaddr=")?.parse().ok()?;
    addr.peer_id().is_some().then_some(addr)
}

/// Names longer than this are none (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 255;

/// Name, kind and data.
type Record<'a> = (Vec<&'a [u8]>, u16, &'a [u8]);

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let labels = self.name()?;
        let kind = self.number()?;
        self.bytes(6)?;
        let length = self.number()?;
        Some((labels, kind, self.bytes(usize::from(length))?))
    }

    /// A name; a part of it may stand earlier in the message. Each jump leads further back than all before, so it ends.
    fn name(&mut self) -> Option<Vec<&'a [u8]>> {
        let (mut labels, mut total, mut after) = (Vec::new(), 0, None);
        let mut earliest = self.at;
        loop {
            let length = usize::from(*self.bytes(1)?.first()?);
            match length {
                0 => break,
                1..=63 => {
                    let label = self.bytes(length)?;
                    total += length + 1;
                    labels.push(label);
                }
                0xc0.. => {
                    let low = usize::from(*self.bytes(1)?.first()?);
                    let to = (length & 0x3f) << 8 | low;
                    after.get_or_insert(self.at);
                    if to >= earliest {
                        return None;
                    }
                    (earliest, self.at) = (to, to);
                }
                _ => return None,
            }
            if total > NAME_MAX {
                return None;
            }
        }
        self.at = after.unwrap_or(self.at);
        Some(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_proto::PeerId;
    use proptest::prelude::*;

    fn addr(port: u16) -> Multiaddr {
        let peer = PeerId::from_ed25519(&[7; 32]);
        format!("/ip4/192.0.2.7/tcp/{port}/p2p/{}", peer.to_base58()).parse().unwrap()
    }

    fn ours(addrs: &[Multiaddr]) -> Vec<u8> {
        answer("0123456789abcdef0123456789abcdef", [192, 0, 2, 7].into(), 9905, addrs)
    }

    #[test]
    fn our_question_is_a_question_and_our_answer_gives_our_addresses() {
        assert_eq!(read(&question()), Heard::Asked);
        let addrs = [addr(1), addr(2)];
        assert_eq!(read(&ours(&addrs)), Heard::Found(addrs.to_vec()));
        assert_eq!(read(&ours(&[])), Heard::Nothing);
    }

    #[test]
    fn an_answer_fits_into_one_packet_however_many_addresses_there_are() {
        let addrs: Vec<_> = (1..100).map(addr).collect();
        let message = ours(&addrs);
        assert!(message.len() < 1200, "{}", message.len());
        let Heard::Found(found) = read(&message) else { panic!("nothing is left") };
        assert!(found.len() >= 8 && addrs.starts_with(&found));
    }

    /// As Go's and Rust's libraries write them: names that point back, upper case, other services beside.
    #[test]
    fn an_answer_with_pointers_and_a_question_for_everything_are_understood() {
        let mut message = header(0x8400, [0, 1, 0, 1]);
        let service_at = message.len() as u8;
        name(&mut message, &[b"_P2P", b"_udp", b"local"]);
        numbers(&mut message, &[PTR, IN, 0, 0, 8]);
        let own_at = message.len() as u8;
        message.extend([5, b'h', b'e', b'l', b'l', b'o', 0xc0, service_at]);
        message.extend([0xc0, own_at]);
        let text = format!("dnsaddr={}", addr(1));
        numbers(&mut message, &[TXT, IN, 0, 0, text.len() as u16 + 1]);
        message.push(text.len() as u8);
        message.extend(text.bytes());
        assert_eq!(read(&message), Heard::Found(vec![addr(1)]));
        let mut any = header(0, [1, 0, 0, 0]);
        name(&mut any, &SERVICE);
        numbers(&mut any, &[ANY, IN]);
        assert_eq!(read(&any), Heard::Asked);
        let mut other = header(0, [1, 0, 0, 0]);
        name(&mut other, &[b"_http", b"_tcp", b"local"]);
        numbers(&mut other, &[PTR, IN]);
        assert_eq!(read(&other), Heard::Nothing);
    }

    #[test]
    fn a_name_that_points_at_itself_ends() {
        let mut message = header(0x8400, [0, 1, 0, 0]);
        message.extend([0xc0, 12]);
        assert_eq!(read(&message), Heard::Nothing);
        let mut message = header(0x8400, [0, 1, 0, 0]);
        message.extend([1, b'a', 0xc0, 12]);
        assert_eq!(read(&message), Heard::Nothing);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_without_a_panic(
            message in prop::collection::vec(any::<u8>(), 0..400),
            at in 0_usize..300,
            byte in any::<u8>(),
        ) {
            read(&message);
            let mut altered = ours(&[addr(1), addr(2)]);
            let at = at % altered.len();
            altered[at] = byte;
            if let Heard::Found(found) = read(&altered) {
                prop_assert!(found.len() <= ADDRESSES_MAX);
            }
            altered.truncate(at);
            read(&altered);
        }
    }
}
