//! Any bytes as messages: whatever is accepted is in canonical form, does not depend on how the
//! bytes arrived, and takes memory only in proportion to them.
#![no_main]

use gossip_sidecar::{MAX_LINE_BYTES, Message, ReadError};
use gossip_sidecar_fuzz::peak_bytes;
use libfuzzer_sys::fuzz_target;
use std::io::BufReader;

/// The buffer allocated in advance, and what the items of a line take beyond their text.
const MOST_ROOM_BYTES: usize = 64 * 1024 + 8 * MAX_LINE_BYTES;

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    // A buffer so short that lines and records arrive in pieces.
    let mut in_pieces = BufReader::with_capacity(7, bytes);
    loop {
        let before = input;
        let (peak_bytes, message) = peak_bytes(|| Message::read(&mut input));
        assert!(peak_bytes <= MOST_ROOM_BYTES + 4 * before.len(), "{peak_bytes} bytes");
        let again = Message::read(&mut in_pieces);
        match (message, again) {
            (Ok(message), Ok(again)) => {
                assert_eq!(message, again);
                let mut written = Vec::new();
                message.write(&mut written);
                assert_eq!(written, before[..before.len() - input.len()], "a message has one form");
            }
            (Err(error), Err(again)) => {
                assert_eq!(format!("{error:?}"), format!("{again:?}"));
                assert!(matches!(error, ReadError::Closed) == before.is_empty());
                return;
            }
            (message, again) => panic!("{message:?} at once, {again:?} in pieces"),
        }
    }
});
