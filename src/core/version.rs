//! Which of two values of a key is fresher: hybrid logical clock and version.
//!
//! A version is a hybrid logical clock reading (Kulkarni et al., "Logical Physical Clocks", 2014)
//! and the random id of the process that wrote. Versions have one total order, the greater one is
//! the fresher, and two different writes to a key never carry the same version.

use std::fmt;
use std::str::FromStr;

/// All nodes refuse versions from this time on, in Unix milliseconds (May 2109).
///
/// The bound does not depend on the local clock: nodes whose verdicts differ would never agree.
pub const END_OF_TIME_MS: u64 = 1 << 42;

/// How far the versions of other nodes may move the local clock ahead of the wall clock: one node
/// whose clock is years ahead must not take all others along.
pub const MAX_CLOCK_LEAD_MS: u64 = 10 * 60 * 1000;

const COUNTER_BITS: u32 = 16;

/// The time and the writer of a value; the greater version is the fresher value.
///
/// The text form `mmmmmmmmmmmmcccc-nnnnnnnn` (48-bit Unix milliseconds, 16-bit counter, node id;
/// lower-case hex) has a fixed width, and sorts as the versions do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Packed, 12 bytes instead of 16: there are as many versions as keys.
#[repr(Rust, packed(4))]
pub struct Version {
    /// Hybrid time: milliseconds in the upper 48 bits, a counter in the lower 16. A counter that
    /// overflows carries into the milliseconds.
    time: u64,
    /// Drawn at random by each process; never the pod's name or IP, which outlive it.
    node: u32,
}

impl Version {
    /// The number of bytes in the text form.
    pub const TEXT_BYTES: usize = 25;

    /// The version written by `node` at `ms` Unix milliseconds with `counter`.
    pub fn new(ms: u64, counter: u16, node: u32) -> Self {
        Self { time: (ms << COUNTER_BITS) | u64::from(counter), node }
    }

    /// Unix milliseconds of the write, by its writer's hybrid clock.
    pub fn ms(self) -> u64 {
        self.time >> COUNTER_BITS
    }

    /// The version as bytes, the most significant first.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.time.to_be_bytes());
        bytes[8..].copy_from_slice(&self.node.to_be_bytes());
        bytes
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:08x}", { self.time }, { self.node })
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a version, or one past [`END_OF_TIME_MS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadVersion;

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let (time, node) = text.split_once('-').ok_or(BadVersion)?;
        let time = parse_hex(time, 16).ok_or(BadVersion)?;
        let node = parse_hex(node, 8).ok_or(BadVersion)? as u32;
        let version = Self { time, node };
        if version.ms() >= END_OF_TIME_MS { Err(BadVersion) } else { Ok(version) }
    }
}

/// Parses exactly `digits` lower-case hex digits, of which there are at most 16.
pub fn parse_hex(text: &str, digits: usize) -> Option<u64> {
    let canonical = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(canonical) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

/// A node's hybrid logical clock.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The greatest time issued here, or observed within [`MAX_CLOCK_LEAD_MS`] of the wall clock.
    last: u64,
    node: u32,
}

impl Clock {
    /// The clock of the process that drew the id `node`.
    pub fn new(node: u32) -> Self {
        Self { last: 0, node }
    }

    /// The id that this clock's versions carry.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// The version for a write over `current`, or `None` at the end of time.
    ///
    /// It is greater than every version issued here before and greater than `current`, so a write
    /// issued after reading a value always beats that value, whatever the clocks say. Only the wall
    /// clock and our own last reading move the clock: a value from the future is beaten by one step
    /// and does not take the clock along.
    pub fn next(&mut self, wall_ms: u64, current: Option<Version>) -> Option<Version> {
        let wall_ms = wall_ms.min(END_OF_TIME_MS - 1);
        let own = (wall_ms << COUNTER_BITS).max(self.last + 1);
        let time = own.max(current.map_or(0, |version| version.time + 1));
        let version = Version { time, node: self.node };
        if version.ms() >= END_OF_TIME_MS {
            return None;
        }
        self.last = own;
        Some(version)
    }

    /// Moves the clock forward to a version from another node.
    pub fn observe(&mut self, seen: Version, wall_ms: u64) {
        let bound =
            wall_ms.saturating_add(MAX_CLOCK_LEAD_MS).min(END_OF_TIME_MS - 1) << COUNTER_BITS;
        self.last = self.last.max(seen.time.min(bound));
    }

    /// From now on no version is older than `ms`, even if the wall clock is set back.
    pub fn advance_to(&mut self, ms: u64) {
        self.last = self.last.max(ms.min(END_OF_TIME_MS - 1) << COUNTER_BITS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_version() -> impl Strategy<Value = Version> {
        (0..END_OF_TIME_MS, any::<u16>(), any::<u32>())
            .prop_map(|(ms, counter, node)| Version::new(ms, counter, node))
    }

    proptest! {
        #![proptest_config(crate::fixed_seed(512))]

        #[test]
        fn order_is_total_and_text_sorts_like_it(a in any_version(), b in any_version()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a == b, a.to_bytes() == b.to_bytes());
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        }

        #[test]
        fn text_round_trips(version in any_version()) {
            let text = version.to_string();
            prop_assert_eq!(text.len(), Version::TEXT_BYTES);
            prop_assert_eq!(text.parse::<Version>(), Ok(version));
        }

        #[test]
        fn a_write_beats_what_its_writer_knew(
            walls in prop::collection::vec(0..END_OF_TIME_MS - 1, 1..20),
            current in prop::option::of((0..END_OF_TIME_MS - 1, any::<u16>(), any::<u32>())),
        ) {
            let current = current.map(|(ms, counter, node)| Version::new(ms, counter, node));
            let mut clock = Clock::new(7);
            let mut before = None;
            for wall in walls {
                let version = clock.next(wall, current).unwrap();
                prop_assert!(Some(version) > current && Some(version) > before.or(current));
                if current.is_none() {
                    before = Some(version);
                }
            }
        }
    }

    #[test]
    fn malformed_texts_are_refused() {
        let good = "0193abcdef120007-1a2b3c4d";
        assert!(good.parse::<Version>().is_ok());
        for bad in [
            "",
            "0193abcdef1200071a2b3c4d",
            "0193ABCDEF120007-1a2b3c4d",
            "193abcdef120007-1a2b3c4d",
            "0193abcdef120007-1a2b3c4",
            "+193abcdef120007-1a2b3c4d",
            "0193abcdef120007-1a2b3c4d ",
        ] {
            assert_eq!(bad.parse::<Version>(), Err(BadVersion), "{bad:?}");
        }
    }

    #[test]
    fn time_ends_in_2109() {
        let last = Version::new(END_OF_TIME_MS - 1, u16::MAX, 0);
        assert_eq!(last.to_string().parse(), Ok(last));
        let past = Version::new(END_OF_TIME_MS, 0, 0);
        assert_eq!(past.to_string().parse::<Version>(), Err(BadVersion));
        assert_eq!(Clock::new(1).next(0, Some(last)), None);
        assert!(Clock::new(1).next(u64::MAX, None).is_some(), "a mad wall clock is bounded");
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let mut clock = Clock::new(1);
        let full = Version::new(1000, u16::MAX, 9);
        assert_eq!(clock.next(500, Some(full)), Some(Version::new(1001, 0, 1)));
    }

    #[test]
    fn a_future_version_moves_the_clock_only_so_far() {
        let mut clock = Clock::new(1);
        let wall = 1_000_000;
        clock.observe(Version::new(wall + 10 * MAX_CLOCK_LEAD_MS, 0, 2), wall);
        let own = clock.clone().next(wall, None).unwrap();
        assert_eq!(own.ms(), wall + MAX_CLOCK_LEAD_MS);
        // Beating one value from the future does not take later writes there.
        let future = Version::new(wall + 100 * MAX_CLOCK_LEAD_MS, 0, 2);
        assert!(clock.next(wall, Some(future)).unwrap() > future);
        assert!(clock.next(wall, None).unwrap() < future);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_does_not_take_the_clock_back() {
        let mut clock = Clock::new(1);
        clock.advance_to(1_000_000);
        assert!(clock.next(995_000, None).unwrap().ms() >= 1_000_000);
        clock.advance_to(900_000);
        assert!(clock.next(995_000, None).unwrap().ms() >= 1_000_000);
        clock.advance_to(u64::MAX);
        assert_eq!(clock.next(0, None).unwrap().ms(), END_OF_TIME_MS - 1);
    }
}
