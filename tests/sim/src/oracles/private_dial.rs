//! A private address is dialled only where that is allowed.

use peerage_core::{Action, conn};
use peerage_proto::ip;

use super::{Oracle, Seen, ensure};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct PrivateDial;

impl Oracle for PrivateDial {
    fn name(&self) -> &'static str {
        "private dial"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if seen.core.config().conn.allow_private {
            return Ok(());
        }
        for action in seen.actions {
            let Action::Conn(conn::Action::Dial { addrs, .. }) = action else { continue };
            let private = addrs.iter().find(|addr| addr.ip().is_some_and(ip::is_private));
            ensure(private.is_none(), || format!("a dial of {addrs:?}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, node, op};
    use super::*;
    use peerage_core::Input;
    use peerage_core::time::Now;

    #[test]
    fn a_dial_of_a_private_address_is_seen() {
        let check = |addr: &str| {
            let addrs = vec![addr.parse().unwrap()];
            let dial = Action::Conn(conn::Action::Dial { op: op(1), peer: None, addrs });
            after(&mut PrivateDial, &node(), Now::at_secs(0), &Input::Timeout, &[dial])
        };
        assert_eq!(check("/ip4/20.1.1.1/tcp/1"), Ok(()));
        assert!(check("/ip4/10.1.1.1/tcp/1").is_err());
        assert!(check("/ip6/fd00::1/tcp/1").is_err());
    }
}
