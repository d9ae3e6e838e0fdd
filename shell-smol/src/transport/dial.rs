//! Dialling: one non-blocking connect, from a listener's port where that is wanted and possible.

use std::io;
use std::net::{SocketAddr, TcpStream};

use async_io::Async;
use socket2::{Domain, Protocol, Socket, Type};

use super::Stream;

/// Connects to `remote`, bound to `local` first if given. A `local` that is taken gives way to a fresh port.
/// Nothing happens before the future is polled; dropping it closes the socket.
///
/// # Errors
/// The system's, such as `ConnectionRefused`.
pub(crate) async fn connect(remote: SocketAddr, local: Option<SocketAddr>) -> io::Result<Stream> {
    let socket = match begin(remote, local) {
        Err(error) if local.is_some() && is_taken(&error) => begin(remote, None)?,
        begun => begun?,
    };
    let stream = Async::new_nonblocking(TcpStream::from(socket))?;
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        None => Ok(stream.into()),
        Some(error) => Err(error),
    }
}

fn begin(remote: SocketAddr, local: Option<SocketAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(local) = local {
        share_port(&socket)?;
        socket.bind(&local.into())?;
    }
    match socket.connect(&remote.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        _ => Ok(socket),
    }
}

/// Lets a listener and the dials from its port hold the same address.
pub(super) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    Ok(())
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::EINPROGRESS)
}
