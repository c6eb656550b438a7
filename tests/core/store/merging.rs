//! Merging: its laws.

use super::any_record;
use crate::support::{WALL_MS, contents, fixed_seed, freshest, store_with};
use gossip_sidecar::Record;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(fixed_seed(300))]

    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        (records, shuffled) in vec(any_record(), 0..25).prop_flat_map(|records| {
            // All records in another order, and some of them more than once.
            let again = prop::sample::subsequence(records.clone(), 0..=records.len());
            let twice = again.prop_map({
                let records = records.clone();
                move |again| [records.clone(), again].concat()
            });
            (Just(records), twice.prop_shuffle())
        }),
        split in any::<prop::sample::Index>(),
    ) {
        let forth = store_with(1, &records);
        let best = freshest(records.iter().map(|r| [(r.key.clone(), r.entry.clone())].into()));
        prop_assert_eq!(&contents(&forth), &best);

        let any_order = store_with(2, &shuffled);
        prop_assert_eq!(&contents(&any_order), &best);
        prop_assert_eq!(any_order.root(), forth.root());

        // Two nodes learn a part each, and then one merges all that the other has.
        let (left, right) = shuffled.split_at(split.index(shuffled.len() + 1));
        let (mut left, right) = (store_with(3, left), store_with(4, right));
        for (key, entry) in contents(&right) {
            let _ = left.merge(Record { key, entry }, WALL_MS);
        }
        prop_assert_eq!(&contents(&left), &best);
        prop_assert_eq!(left.root(), forth.root());
    }
}
