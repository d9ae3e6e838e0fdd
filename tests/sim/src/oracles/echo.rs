//! A message never goes back to whom it came from, nor to its author.

use super::{Oracle, Transmit, ensure};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl Oracle for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn transmitted(&mut self, transmit: &Transmit) -> Result<(), String> {
        let Transmit { to, came_from, author, .. } = transmit;
        ensure(*came_from != Some(*to), || format!("sent back to {to}"))?;
        ensure(author != to, || format!("sent to its author {to}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::peer;
    use super::*;

    #[test]
    fn a_message_that_goes_back_is_seen() {
        let to = |to: u8, came_from: Option<u8>| {
            let came_from = came_from.map(peer);
            Echo.transmitted(&Transmit { from: 0, to: peer(to), came_from, author: peer(3) })
        };
        assert_eq!(to(1, Some(2)), Ok(()));
        assert!(to(1, Some(1)).is_err());
        assert!(to(3, None).is_err());
    }
}
