//! What must come of it all, kept by a dumb alternative: every write, and the highest version of
//! each key that each living node ever had.

use super::Simulator;
use gossip_sidecar::entry::Record;
use gossip_sidecar::version::Version;
use std::collections::BTreeMap;

/// What was written to a key, by version; a deletion has no value.
type Versions = BTreeMap<Version, Option<Box<[u8]>>>;

/// Every write that was acknowledged.
#[derive(Default)]
pub struct Oracle {
    written: BTreeMap<String, Versions>,
}

impl Oracle {
    pub(super) fn wrote(&mut self, key: &str, version: Version, value: Option<&[u8]>) {
        let versions = self.written.entry(key.to_owned()).or_default();
        let twin = versions.insert(version, value.map(Into::into));
        assert!(twin.is_none(), "two writes of {key} carry the version {version}");
    }

    /// Nothing travels but what somebody wrote.
    pub(super) fn check_record(&self, record: &Record) {
        let Record { key, entry } = record;
        let written = self.written.get(&**key).and_then(|versions| versions.get(&entry.version));
        assert_eq!(
            written.map(Option::as_deref),
            Some(entry.value()),
            "nobody wrote this to {key} with {}",
            entry.version
        );
    }

    /// The latest value that anybody wrote, whoever knows of it.
    pub fn latest(&self, key: &str) -> Option<&[u8]> {
        self.written.get(key)?.last_key_value()?.1.as_deref()
    }

    fn value(&self, key: &str, version: Version) -> Option<&[u8]> {
        self.written[key][&version].as_deref()
    }
}

impl Simulator {
    /// The highest version of each key that any living node has ever had.
    pub fn expected(&self) -> BTreeMap<String, Version> {
        let mut expected = BTreeMap::new();
        for node in self.live() {
            for (key, &version) in &self.nodes[node].held {
                let best = expected.entry(key.clone()).or_insert(version);
                *best = version.max(*best);
            }
        }
        expected
    }

    /// Each living store has exactly what was written and merged there: nothing is invented, and
    /// nothing goes back.
    pub fn check_stores(&self) {
        for node in self.live() {
            self.check_store(node, &self.nodes[node].held);
        }
    }

    /// Each living store has exactly this.
    pub fn check_all_hold(&self, expected: &BTreeMap<String, Version>) {
        for node in self.live() {
            self.check_store(node, expected);
        }
    }

    fn check_store(&self, node: usize, expected: &BTreeMap<String, Version>) {
        let store = &self.nodes[node].store;
        for (key, &version) in expected {
            let entry = store.entry(key);
            assert_eq!(
                entry.map(|entry| (entry.version, entry.value())),
                Some((version, self.oracle.value(key, version))),
                "node {node}, {key}"
            );
        }
        assert_eq!(store.root().count, expected.len(), "node {node} has other keys");
    }

    /// After entries were forgotten for good reason.
    pub(super) fn forget_held(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.held.retain(|key, _| node.store.entry(key).is_some());
    }
}
