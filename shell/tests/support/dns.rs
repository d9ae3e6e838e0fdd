//! A name server on loopback, for tests: every name has one address and the given texts.
#![allow(missing_docs, unreachable_pub)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

const A: u16 = 1;
const TXT: u16 = 16;

/// Begins to answer; ends with the process.
pub fn name_server(address: Ipv4Addr, texts: Vec<String>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let here = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let _ = socket.send_to(&answer(&query[..length], address, &texts), from);
        }
    });
    here
}

fn answer(query: &[u8], address: Ipv4Addr, texts: &[String]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..name_end + 4];
    let kind = u16::from_be_bytes([query[name_end], query[name_end + 1]]);
    let records: Vec<Vec<u8>> = match kind {
        A => vec![address.octets().to_vec()],
        TXT => texts.iter().map(|text| [&[text.len() as u8], text.as_bytes()].concat()).collect(),
        _ => vec![],
    };
    // Its id; an answer without error to a recursive question.
    let mut reply = [&query[..2], &[0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
    reply.extend_from_slice(question);
    for record in records {
        // The name of the question, class IN, a minute.
        reply.extend_from_slice(&[0xc0, 12]);
        reply.extend_from_slice(&kind.to_be_bytes());
        reply.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        reply.extend_from_slice(&(record.len() as u16).to_be_bytes());
        reply.extend_from_slice(&record);
    }
    reply
}
