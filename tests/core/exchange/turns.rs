//! How long a turn may be, and how many there may be.

use super::{hello, turn};
use crate::support::{
    WALL_MS, assert_consistent, call, contents, exchange, freshest, member, store_with, values,
};
use gossip_sidecar::{Entry, Exchange, FULL_TURN_BYTES, MAX_TURNS, Message, Next, Record, Refusal};

/// Values that fill about this many turns.
fn bulk(name: &str, turns: usize, value_bytes: usize) -> Vec<Record> {
    let mut records = values(name, turns * FULL_TURN_BYTES / value_bytes);
    for record in &mut records {
        record.entry = Entry::lasting(record.entry.version, vec![b'x'; value_bytes]);
    }
    records
}

#[test]
fn records_that_do_not_fit_a_turn_follow_in_the_next_exchange() {
    let value_bytes = 10_000;
    let few = values("few", 20);
    let cases: [(&str, Vec<Record>, Vec<Record>); 6] = [
        ("an empty initiator", vec![], bulk("b", 3, value_bytes)),
        ("an empty responder", bulk("a", 3, value_bytes), vec![]),
        ("an initiator with little", few.clone(), bulk("b", 3, value_bytes)),
        ("a responder with little", bulk("a", 3, value_bytes), few),
        ("both", bulk("a", 2, value_bytes), bulk("b", 3, value_bytes)),
        ("one value as long as a turn", vec![], bulk("b", 2, FULL_TURN_BYTES)),
    ];
    for (who, ours, theirs) in cases {
        let mut initiator = store_with(1, &ours);
        let mut responder = store_with(2, &theirs);
        let best = freshest([contents(&initiator), contents(&responder)]);
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 10, "{who}: there is no end");
            let outcome = exchange(&mut initiator, &mut responder, WALL_MS + rounds);
            let longest = outcome.turns.iter().map(Vec::len).max().unwrap();
            let one_record = best.values().map(|entry| entry.value().unwrap().len()).max().unwrap();
            assert!(longest <= FULL_TURN_BYTES + one_record + 200, "{who}: {longest} bytes");
            assert_consistent(&initiator);
            assert_consistent(&responder);
            assert_eq!(outcome.initiator.complete, outcome.responder.complete, "{who}");
            assert_eq!(outcome.initiator.complete, outcome.rests == 0, "{who}");
            assert_eq!(outcome.initiator.confirmed, outcome.initiator.complete, "{who}");
            if outcome.initiator.complete {
                break;
            }
            assert!(outcome.initiator.taken + outcome.responder.taken > 0, "{who}: no progress");
        }
        assert!(rounds > 1, "{who}: one exchange was enough, so the test proves nothing");
        assert_eq!(contents(&initiator), best, "{who}");
        assert_eq!(contents(&responder), best, "{who}");
    }
}

#[test]
fn the_number_of_turns_is_limited() {
    let mut ours = store_with(1, &values("key", 20));
    let mut responder = Exchange::respond(member());
    assert_eq!(responder.receive(&mut ours, hello(2), WALL_MS), Ok(Next::Listen));
    let mut initiator = call(member(), &mut ours, WALL_MS);
    turn(&mut initiator, &mut ours);
    for side in [&mut responder, &mut initiator] {
        for _ in 0..MAX_TURNS {
            assert_eq!(side.receive(&mut ours, Message::End, WALL_MS), Ok(Next::Speak));
            turn(side, &mut ours);
        }
        let beyond = side.receive(&mut ours, Message::End, WALL_MS);
        assert_eq!(beyond, Err(Refusal::Grammar));
        assert!(!side.summary().complete || side.summary().peer.is_some());
    }
}
