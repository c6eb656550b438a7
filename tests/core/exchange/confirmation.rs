//! What each role may report about the peer after an exchange.

use crate::support::{WALL_MS, exchange, store, store_with, values};

#[test]
fn a_responder_that_sent_records_cannot_know_that_they_arrived() {
    let both = values("key", 30);
    for (initiator_has, responder_has, responder_is_sure) in
        [(30, 30, true), (30, 9, true), (9, 30, false)]
    {
        let mut initiator = store_with(1, &both[..initiator_has]);
        let mut responder = store_with(2, &both[..responder_has]);
        let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
        assert!(outcome.initiator.complete && outcome.responder.complete);
        assert!(outcome.initiator.confirmed, "the responder reported `done`");
        assert_eq!(
            outcome.responder.confirmed, responder_is_sure,
            "{initiator_has} and {responder_has} keys"
        );
    }
}

#[test]
fn the_summary_counts_the_writes_made_before_the_exchange() {
    let (mut initiator, mut responder) = (store(1), store(2));
    let _ = initiator.put("k", Box::default(), None, WALL_MS);
    let outcome = exchange(&mut initiator, &mut responder, WALL_MS);
    assert_eq!((outcome.initiator.writes, outcome.responder.writes), (1, 0));
}
