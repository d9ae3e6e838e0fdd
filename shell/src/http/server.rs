//! Accepting connections, with a limit on how many there are at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures_timer::Delay;

use crate::p2p::Socket;
use crate::runtime::{Listener, Shared};

/// What is done with a connection.
pub type Handler = Box<dyn Fn(Socket, SocketAddr) -> BoxFuture<'static, ()> + Send>;

/// Wait after a failed accept: without free descriptors it would spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts for ever. Over `connections_max` at once, further ones are dropped.
pub async fn accept(
    runtime: Shared,
    mut listener: Box<dyn Listener>,
    connections_max: usize,
    handler: Handler,
) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept().await {
            Ok((socket, from)) => {
                let place = Place::take(&open);
                if open.load(Ordering::Relaxed) > connections_max {
                    continue;
                }
                let work = handler(socket, from);
                runtime.spawn(Box::pin(async move {
                    work.await;
                    drop(place);
                }));
            }
            Err(_) => Delay::new(PAUSE).await,
        }
    }
}

/// One of the connections that are open.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
