//! What the state hash covers: every field of every struct declared by `state!`, in the order of declaration.

use sha2::{Digest as _, Sha256};

use crate::codec::Encode;

/// SHA-256 over the canonical walk of `state`.
pub fn state_hash(state: &impl Encode) -> [u8; 32] {
    let mut hash = Sha256::new();
    state.encode(&mut hash);
    hash.finalize().into()
}

/// Changes one leaf of a state, so that a test can show that the hash sees each of them.
#[cfg(any(test, feature = "sim"))]
pub trait Alter {
    /// Appends the path of each leaf that can be altered now. A leaf that is empty, and hence cannot be, ends in `?`.
    fn leaves(&self, path: &str, out: &mut alloc::vec::Vec<alloc::string::String>);
    /// Counts `nth` down over the leaves, in the order of [`Alter::leaves`], and alters the one that meets zero.
    fn alter(&mut self, nth: &mut usize) -> bool;
}

/// One leaf: applies `change` if it is its turn.
#[cfg(any(test, feature = "sim"))]
pub fn leaf(nth: &mut usize, change: impl FnOnce()) -> bool {
    if *nth == 0 {
        change();
        return true;
    }
    *nth -= 1;
    false
}

/// Declares a struct that is part of the state: the struct, its canonical walk, and the list of its fields for the
/// test that alters each.
macro_rules! state {
    ($(#[$meta:meta])* $vis:vis struct $name:ident $(<$($gen:ident $(: $bound:path)?),*>)? {
        $($(#[$fmeta:meta])* $fvis:vis $field:ident : $ty:ty),* $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name $(<$($gen $(: $bound)?),*>)? {
            $($(#[$fmeta])* $fvis $field: $ty),*
        }
        impl $(<$($gen: $crate::codec::Encode $(+ $bound)?),*>)? $crate::codec::Encode for $name $(<$($gen),*>)? {
            fn encode(&self, out: &mut impl $crate::codec::Output) {
                $($crate::codec::Encode::encode(&self.$field, out);)*
            }
        }
        #[cfg(any(test, feature = "sim"))]
        impl $(<$($gen: $crate::state::Alter $(+ $bound)?),*>)? $crate::state::Alter for $name $(<$($gen),*>)? {
            fn leaves(&self, path: &str, out: &mut alloc::vec::Vec<alloc::string::String>) {
                $(self.$field.leaves(&alloc::format!("{path}.{}", stringify!($field)), out);)*
            }
            fn alter(&mut self, nth: &mut usize) -> bool {
                $(self.$field.alter(nth) ||)* false
            }
        }
    };
}
pub(crate) use state;

/// `Alter` for a plain value: one leaf, changed by the closure.
macro_rules! alter_leaf {
    ($($ty:ty => $change:expr),* $(,)?) => {$(
        #[cfg(any(test, feature = "sim"))]
        impl $crate::state::Alter for $ty {
            fn leaves(&self, path: &str, out: &mut alloc::vec::Vec<alloc::string::String>) {
                out.push(path.into());
            }
            fn alter(&mut self, nth: &mut usize) -> bool {
                let change: fn(&mut $ty) = $change;
                $crate::state::leaf(nth, || change(self))
            }
        }
    )*};
}
pub(crate) use alter_leaf;

#[cfg(any(test, feature = "sim"))]
mod alter {
    use alloc::borrow::ToOwned as _;
    use alloc::boxed::Box;
    use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
    use alloc::format;
    use alloc::string::String;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::time::Duration;

    use bytes::Bytes;
    use peerage_proto::hash::Hash256;
    use peerage_proto::multiaddr::Multiaddr;
    use peerage_proto::peer_id::PeerId;

    use super::{Alter, leaf};
    use crate::time::{Instant, Now, UnixTime};

    alter_leaf!(
        u8 => |v| *v ^= 1,
        u16 => |v| *v ^= 1,
        u32 => |v| *v ^= 1,
        u64 => |v| *v ^= 1,
        i32 => |v| *v ^= 1,
        i64 => |v| *v ^= 1,
        f64 => |v| *v = f64::from_bits(v.to_bits() ^ 1),
        bool => |v| *v = !*v,
        String => |v| v.push('x'),
        Arc<str> => |v| *v = format!("{v}x").into(),
        Bytes => |v| *v = [v.as_ref(), b"x"].concat().into(),
        Duration => |v| *v += Duration::from_micros(1),
        Instant => |v| *v = Instant::from_micros(v.as_micros() ^ 1),
        UnixTime => |v| *v = UnixTime::from_millis(v.as_millis() ^ 1),
        Hash256 => |v| v.0[0] ^= 1,
        [u8; 32] => |v| v[0] ^= 1,
        PeerId => |v| *v = PeerId::from_ed25519(&crate::state::digest(v.as_bytes())),
        Multiaddr => |v| *v = v.with_p2p(PeerId::from_ed25519(&crate::state::digest(v.as_bytes()))),
    );

    impl Alter for Now {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            self.mono.leaves(&format!("{path}.mono"), out);
            self.wall.leaves(&format!("{path}.wall"), out);
        }
        fn alter(&mut self, nth: &mut usize) -> bool {
            self.mono.alter(nth) || self.wall.alter(nth)
        }
    }

    impl Alter for () {
        fn leaves(&self, _path: &str, _out: &mut Vec<String>) {}
        fn alter(&mut self, _nth: &mut usize) -> bool {
            false
        }
    }

    fn empty(path: &str, out: &mut Vec<String>) {
        out.push(format!("{path}?"));
    }

    impl<T: Alter> Alter for Option<T> {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            match self {
                Some(value) => {
                    out.push(path.to_owned());
                    value.leaves(path, out);
                }
                None => empty(path, out),
            }
        }
        fn alter(&mut self, nth: &mut usize) -> bool {
            if self.is_none() {
                return leaf(nth, || {});
            }
            if *nth == 0 {
                *self = None;
                return true;
            }
            *nth -= 1;
            self.as_mut().is_some_and(|value| value.alter(nth))
        }
    }

    impl<T: Alter> Alter for Box<T> {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            self.as_ref().leaves(path, out);
        }
        fn alter(&mut self, nth: &mut usize) -> bool {
            self.as_mut().alter(nth)
        }
    }

    impl<A: Alter, B: Alter> Alter for (A, B) {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            self.0.leaves(&format!("{path}.0"), out);
            self.1.leaves(&format!("{path}.1"), out);
        }
        fn alter(&mut self, nth: &mut usize) -> bool {
            self.0.alter(nth) || self.1.alter(nth)
        }
    }

    macro_rules! alter_sequence {
        ($seq:ident, $pop:ident, $first:ident) => {
            impl<T: Alter> Alter for $seq<T> {
                fn leaves(&self, path: &str, out: &mut Vec<String>) {
                    match self.iter().next() {
                        Some(first) => {
                            out.push(path.to_owned());
                            first.leaves(&format!("{path}[0]"), out);
                        }
                        None => empty(path, out),
                    }
                }
                fn alter(&mut self, nth: &mut usize) -> bool {
                    if self.is_empty() {
                        return leaf(nth, || {});
                    }
                    if *nth == 0 {
                        self.$pop();
                        return true;
                    }
                    *nth -= 1;
                    self.iter_mut().next().is_some_and(|first| first.alter(nth))
                }
            }
        };
    }
    alter_sequence!(Vec, pop, first);
    alter_sequence!(VecDeque, pop_back, front);

    impl<K: Ord + Clone, V: Alter> Alter for BTreeMap<K, V> {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            match self.first_key_value() {
                Some((_, first)) => {
                    out.push(path.to_owned());
                    first.leaves(&format!("{path}[first]"), out);
                }
                None => empty(path, out),
            }
        }
        fn alter(&mut self, nth: &mut usize) -> bool {
            if self.is_empty() {
                return leaf(nth, || {});
            }
            if *nth == 0 {
                self.pop_last();
                return true;
            }
            *nth -= 1;
            self.values_mut().next().is_some_and(|first| first.alter(nth))
        }
    }

    impl<K: Ord> Alter for BTreeSet<K> {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            match self.is_empty() {
                true => empty(path, out),
                false => out.push(path.to_owned()),
            }
        }
        fn alter(&mut self, nth: &mut usize) -> bool {
            leaf(nth, || {
                self.pop_last();
            })
        }
    }
}

/// A digest of `bytes`, for tests that need another value of the same kind.
#[cfg(any(test, feature = "sim"))]
fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    state! {
        #[derive(Clone)]
        struct Inner { count: u32, flag: Option<bool> }
    }
    state! {
        #[derive(Clone)]
        struct Outer { inner: Inner, by_key: BTreeMap<u8, Inner>, list: Vec<u64> }
    }

    #[test]
    fn altering_any_leaf_changes_the_hash() {
        let inner = Inner { count: 1, flag: Some(true) };
        let state = Outer { inner: inner.clone(), by_key: [(1, inner)].into(), list: vec![9] };
        let mut leaves = Vec::new();
        state.leaves("outer", &mut leaves);
        assert_eq!(leaves.len(), 9, "{leaves:?}");
        for (nth, leaf) in leaves.iter().enumerate() {
            let mut altered = state.clone();
            assert!(altered.alter(&mut { nth }), "{leaf}");
            assert_ne!(state_hash(&altered), state_hash(&state), "{leaf} is not hashed");
        }
    }

    state! {
        struct Kinds {
            byte: u8,
            short: u16,
            int: u32,
            long: u64,
            signed: i64,
            float: f64,
            flag: bool,
            text: String,
            nothing: Option<u32>,
            something: Option<u32>,
            list: Vec<u16>,
            by_key: BTreeMap<u8, bool>,
        }
    }

    /// The bytes were laid out, and the hash computed, by another program from the words at the head of `codec`.
    #[test]
    fn the_walk_and_its_hash_are_those_written_down() {
        let state = Kinds {
            byte: 1,
            short: 2,
            int: 3,
            long: 4,
            signed: -5,
            float: 0.5,
            flag: true,
            text: "hi".into(),
            nothing: None,
            something: Some(7),
            list: vec![0x0102, 0x0304],
            by_key: [(9, true), (1, false)].into(),
        };
        let walk = "010200030000000400000000000000fbffffffffffffff000000000000e03f0102000000686900010700000002000000020104030200000001000901";
        assert_eq!(peerage_proto::hex::encode(&crate::codec::to_vec(&state)), walk);
        let hash = "f79956fd728241e9877209e3974d8f626afc7b5f8ca65e5125fa762b2b138e15";
        assert_eq!(peerage_proto::hex::encode(&state_hash(&state)), hash);
    }

    #[test]
    fn an_empty_leaf_is_reported_as_such() {
        let state = Inner { count: 1, flag: None };
        let mut leaves = Vec::new();
        state.leaves("inner", &mut leaves);
        assert_eq!(leaves, ["inner.count", "inner.flag?"]);
    }
}
