//! The line protocol: how messages are written and read.

mod round_trip;

mod grammar;

mod limits;

use gossip_sidecar::{Message, ReadError};

fn written(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes
}

fn read(mut bytes: &[u8]) -> Result<Message, ReadError> {
    Message::read(&mut bytes)
}

fn assert_refused(text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    let shown = String::from_utf8_lossy(&text[..text.len().min(200)]);
    match read(text) {
        Err(ReadError::Grammar(_)) => {}
        other => panic!("{shown:?}: {other:?}"),
    }
}
