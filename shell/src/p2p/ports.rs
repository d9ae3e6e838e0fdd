//! Whether our listen addresses are free. libp2p shares its ports (`SO_REUSEPORT`): it would listen beside another node, and
//! each of the two would get some of the connections. A socket that does not share is refused.

use std::io;
use std::net::SocketAddr;

use peerage_proto::Multiaddr;
use socket2::{Domain, Protocol, Socket, Type};

use super::driver::ListenFailed;

/// Binds each address for a moment, alone. All are looked at before the first is listened on: our own may overlap.
///
/// # Errors
/// The first address that is in use, or not ours.
pub fn free(addrs: &[Multiaddr]) -> Result<(), ListenFailed> {
    for addr in addrs {
        // Addresses of other kinds are the transport's to judge.
        let Some(socket) = addr.ip().zip(addr.tcp_port()) else { continue };
        bind(socket.into())
            .map_err(|error| ListenFailed { addr: addr.to_string(), cause: error.to_string() })?;
    }
    Ok(())
}

fn bind(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // What remains of connections of a node that has just stopped is no hindrance.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sharing(addr: &str) -> (Socket, Multiaddr) {
        let addr: SocketAddr = addr.parse().unwrap();
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&addr.into()).unwrap();
        socket.listen(1).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        (socket, format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap())
    }

    #[test]
    fn a_port_that_another_would_share_is_in_use_until_it_is_let_go() {
        // A port that has just been given back may be somebody else's a moment later: not a hundred times in a row.
        let let_go = || {
            let (held, addr) = sharing("127.0.0.1:0");
            let failed = free(std::slice::from_ref(&addr)).unwrap_err();
            assert!(failed.cause.contains("in use") && failed.addr == addr.to_string(), "{failed:?}");
            drop(held);
            free(&[addr.clone(), addr])
        };
        assert!((0..100).any(|_| let_go().is_ok()));
    }

    #[test]
    fn all_interfaces_and_one_of_them_may_both_be_listened_on() {
        let both = || {
            let (held, addr) = sharing("127.0.0.1:0");
            drop(held);
            let all = addr.to_string().replace("127.0.0.1", "0.0.0.0").parse().unwrap();
            free(&[all, addr])
        };
        assert!((0..100).any(|_| both().is_ok()));
    }
}
