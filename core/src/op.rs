//! Operations: actions that are answered. Each is completed exactly once.

use alloc::collections::BTreeMap;

use crate::codec::{Encode, codec_struct};
use crate::error::ApiMisuse;
use crate::state::{alter_leaf, state};

/// Names one operation; its completion repeats it. Never reused by a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(u64);

codec_struct!(OpId(number));
alter_leaf!(OpId => |op| op.0 ^= 1);

state! {
    /// What is pending, and what for.
    #[derive(Debug)]
    pub struct Ops<P: core::fmt::Debug> {
        next: u64,
        pending: BTreeMap<OpId, P>,
        completed: u64,
    }
}

impl<P: Encode + core::fmt::Debug> Default for Ops<P> {
    fn default() -> Self {
        Self { next: 1, pending: BTreeMap::new(), completed: 0 }
    }
}

impl<P: core::fmt::Debug> Ops<P> {
    /// Begins an operation. The caller checks [`Ops::len`] against its limit first.
    pub fn begin(&mut self, purpose: P) -> OpId {
        let op = OpId(self.next);
        self.next += 1;
        self.pending.insert(op, purpose);
        op
    }

    /// Ends an operation and says what it was for.
    ///
    /// # Errors
    /// When it is not pending: never begun, or completed already.
    pub fn complete(&mut self, op: OpId) -> Result<P, ApiMisuse> {
        let purpose = self.pending.remove(&op).ok_or(ApiMisuse::UnknownOp(op))?;
        self.completed += 1;
        Ok(purpose)
    }

    /// Number pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// What is pending, in order of beginning.
    pub fn iter(&self) -> impl Iterator<Item = (OpId, &P)> {
        self.pending.iter().map(|(op, purpose)| (*op, purpose))
    }

    /// Begun so far = completed + pending.
    pub fn begun(&self) -> u64 {
        self.next - 1
    }

    /// Completed so far.
    pub fn completed(&self) -> u64 {
        self.completed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_completes_exactly_once() {
        let mut ops = Ops::default();
        let op = ops.begin(7u32);
        assert_eq!(ops.complete(op), Ok(7));
        assert_eq!(ops.complete(op), Err(ApiMisuse::UnknownOp(op)));
        assert_eq!((ops.begun(), ops.completed(), ops.len()), (1, 1, 0));
    }
}
