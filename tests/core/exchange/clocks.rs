//! Whose clock is believed: that of a peer which we have contacted and which replies at once.

use super::{hello, turn};
use crate::support::{WALL_MS, call, member, store};
use gossip_sidecar::{Exchange, MAX_CLOCK_AGE_MS, Message};

/// What an initiator makes of a responder's word, which comes `took_ms` after the hello.
fn offset_ms(ahead_ms: i64, took_ms: i64) -> Option<i64> {
    let mut ours = store(1);
    let mut initiator = call(member(), &mut ours, WALL_MS);
    turn(&mut initiator, &mut ours);
    let done = Message::Done { node: 2, ahead_ms };
    let _ = initiator.receive(&mut ours, done, WALL_MS.saturating_add_signed(took_ms));
    assert!(initiator.summary().complete);
    initiator.summary().clock_offset_ms
}

#[test]
fn a_responder_says_how_far_its_clock_is_ahead_of_the_hello() {
    for ahead_ms in [0, 7, -20_000] {
        let (mut ours, mut theirs) = (store(1), store(2));
        let mut initiator = call(member(), &mut ours, WALL_MS);
        let said = turn(&mut initiator, &mut ours);
        let mut responder = Exchange::respond(member());
        let mut input = &said[..];
        while let Ok(message) = Message::read(&mut input) {
            let _ =
                responder.receive(&mut theirs, message, WALL_MS.saturating_add_signed(ahead_ms));
        }
        let said = turn(&mut responder, &mut theirs);
        let done = Message::Done { node: 2, ahead_ms };
        assert_eq!(Message::read(&mut &said[..]).unwrap(), done);
    }
}

#[test]
fn a_responders_clock_was_read_half_way_between_hello_and_reply() {
    assert_eq!(offset_ms(0, 0), Some(0));
    assert_eq!(offset_ms(100, 200), Some(0));
    assert_eq!(offset_ms(7_100, 200), Some(7_000));
    assert_eq!(offset_ms(-6_900, 200), Some(-7_000));
}

#[test]
fn a_clock_that_comes_late_is_not_believed() {
    let limit_ms = MAX_CLOCK_AGE_MS as i64;
    assert_eq!(offset_ms(500, limit_ms - 1), Some(1));
    assert_eq!(offset_ms(500, limit_ms), None);
    assert_eq!(offset_ms(0, 20_000), None);
    assert_eq!(offset_ms(0, -1), None, "our own clock was set back meanwhile");
}

#[test]
fn an_initiators_clock_is_not_believed() {
    let mut ours = store(1);
    let late_ms = WALL_MS + 20_000;
    for node in 2..9 {
        let mut responder = Exchange::respond(member());
        for message in [hello(node), Message::End] {
            let _ = responder.receive(&mut ours, message, late_ms);
        }
        turn(&mut responder, &mut ours);
        assert_eq!(responder.summary().clock_offset_ms, None);
    }
    assert_eq!(ours.now_ms(late_ms), late_ms);
}
