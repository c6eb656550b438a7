//! Any bytes as messages: what is taken for one was written in its one form, however the bytes
//! came, and takes no more memory than it has bytes.
#![no_main]

use gossip_sidecar::{MAX_LINE_BYTES, Message, ReadError};
use gossip_sidecar_fuzz::peak_bytes;
use libfuzzer_sys::fuzz_target;
use std::io::BufReader;

/// The room made before a byte is there, and what a line's items take more than their text.
const MOST_ROOM_BYTES: usize = 64 * 1024 + 8 * MAX_LINE_BYTES;

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    // A reader's buffer so short that lines and records come in pieces.
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
