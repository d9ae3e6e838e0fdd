//! The process's heap: the system's allocator, with a count of what it has given out. The count is what the memory contract
//! (`memory_max`) is kept by: whatever a library holds on behalf of a peer is in it, though no ledger of ours names it.

use std::alloc::System;
use std::sync::atomic::{AtomicU64, Ordering};

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes that may be held; the largest number: as many as there are.
static MOST: AtomicU64 = AtomicU64::new(u64::MAX);
/// Bytes that were held when the contract began: its fixed part.
static FIXED: AtomicU64 = AtomicU64::new(0);

/// Bytes held now.
pub fn held() -> u64 {
    HEAP.allocated() as u64
}

/// From now on `bytes` may be held beside what is held already. It holds for the process, as the heap does.
pub fn contract(bytes: u64) {
    let fixed = held();
    FIXED.store(fixed, Ordering::Relaxed);
    MOST.store(fixed.saturating_add(bytes), Ordering::Relaxed);
}

/// Bytes held that count towards the contract; all when there is none.
pub fn counted() -> u64 {
    held().saturating_sub(FIXED.load(Ordering::Relaxed))
}

/// Bytes held beyond the contract.
pub fn excess() -> u64 {
    match MOST.load(Ordering::Relaxed) {
        u64::MAX => 0,
        most => held().saturating_sub(most),
    }
}

/// Whether nothing more is to be read.
pub fn is_full() -> bool {
    excess() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_counted_until_it_is_freed() {
        const BYTES: usize = 64 << 20;
        let held_at = |before: u64| held().saturating_sub(before);
        let before = held();
        let block: Vec<u8> = Vec::with_capacity(BYTES);
        assert!(held_at(before) >= BYTES as u64 / 2);
        drop(block);
        assert!(held_at(before) < BYTES as u64 / 2, "other tests hold less than that");
        assert_eq!(excess(), 0, "there is no contract");
    }
}
