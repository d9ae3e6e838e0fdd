//! What a node is told at start. It stands in every recording.

use peerage_proto::peer_id::PeerId;

use crate::codec::codec_struct;
use crate::conn;
use crate::error::ConfigError;
use crate::gossipsub;
use crate::limits::Limits;
use crate::teranode;

/// Everything that a node is told at start, but its seed.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Our own id.
    pub local_peer: PeerId,
    /// Bounds.
    pub limits: Limits,
    /// Connections.
    pub conn: conn::Config,
    /// The pubsub router.
    pub gossipsub: gossipsub::config::Config,
    /// The Teranode service.
    pub teranode: teranode::Config,
}

impl Config {
    /// The defaults for `local_peer` and `teranode`.
    pub fn new(local_peer: PeerId, teranode: teranode::Config) -> Self {
        Self {
            local_peer,
            limits: Limits::default(),
            conn: conn::Config::default(),
            gossipsub: gossipsub::config::Config::default(),
            teranode,
        }
    }

    /// Proves every relation between values.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.limits.validate()?;
        self.conn.validate()?;
        self.gossipsub.validate()?;
        self.teranode.validate()
    }
}

codec_struct!(Config { local_peer, limits, conn, gossipsub, teranode });
