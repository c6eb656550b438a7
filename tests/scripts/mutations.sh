#!/usr/bin/env bash
# Mutation tests: breaks one rule of the core at a time, in a copy of the project, and demands that a test notices.
#
#   tests/scripts/mutations.sh [PATTERN]      all mutations, or those whose name matches the regular expression
#
# Needs Rust. The last line is the verdict, "mutations: N passed, N failed": a mutation passes if a test catches it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

pattern=${1:-.}
passed=0
failed=0

# A target folder of its own, so that nobody takes a broken program for the real one. The copy is always at the same place,
# since cargo would compile and keep everything once more for each new path.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutations
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 PROPTEST_MAX_SHRINK_ITERS=0
copy=$CARGO_TARGET_DIR/copy
rm -rf "$copy"
mkdir -p "$copy"
cp -r Cargo.toml Cargo.lock src tests examples "$copy"
# The tests of the core do not run the program, and cargo would link it for each mutation.
rm "$copy/src/main.rs"

# A broken rule may also make a test run for ever.
run() { (cd "$copy" && timeout 600 cargo test --quiet --locked --no-fail-fast "$@" 2>&1); }

verdict() {
    echo "mutations: $passed passed, $failed failed"
    [ $failed -eq 0 ]
    exit
}

# fail NAME REASON [LOG]
fail() {
    failed=$((failed + 1))
    echo "FAILED  $1: $2"
    [ $# -lt 3 ] || tail -n 20 <<<"$3"
}

# mutation NAME FILE OLD NEW TEST-ARGUMENTS...: replaces OLD by NEW in the file and runs the tests that cargo selects by the
# arguments. They are few and not optimised, because most of the time goes into compiling.
mutation() {
    local name=$1 file=$2 old=$3 new=$4 source rest log caught began=$SECONDS
    shift 4
    grep -qE "$pattern" <<<"$name" || return 0
    source=$(<"$file")
    rest=${source#*"$old"}
    if [ "$rest" = "$source" ] || [ "${rest#*"$old"}" != "$rest" ]; then
        fail "$name" "$file must contain this exactly once: $old"
        return
    fi
    printf '%s%s%s\n' "${source%%"$old"*}" "$new" "$rest" >"$copy/$file"
    if ! log=$(run --no-run "$@"); then
        fail "$name" "does not compile" "$log"
    elif log=$(run "$@"); then
        fail "$name" "survives" "$log"
    else
        caught=$(sed -nE 's/^---- (.*) stdout ----$/\1/p' <<<"$log" | sort -u)
        if [ -n "$caught" ]; then
            passed=$((passed + 1))
            echo "caught  $name, by $(head -n 1 <<<"$caught") and $(($(wc -l <<<"$caught") - 1)) more ($((SECONDS - began)) s)"
        else
            fail "$name" "the run failed, but no test did" "$log"
        fi
    fi
    cp "$file" "$copy/$file"
}

# A test that always fails would catch every mutation.
if ! log=$(run --lib --test core_tests); then
    fail "no mutation" "the tests fail on the unchanged code" "$log"
    verdict
fi
echo "the tests pass on the unchanged code ($SECONDS s)"

mutation "neither of two writes with the same time wins" src/core/store.rs \
    'Some(ours) if ours.version >= entry.version =>' \
    'Some(ours) if ours.version.to_bytes()[..8] >= entry.version.to_bytes()[..8] =>' --test core_tests store::
mutation "of two writes with the same time the one with the smaller node id wins" src/core/store.rs \
    'Some(ours) if ours.version >= entry.version =>' \
    'Some(ours) if {
                let (a, b) = (ours.version.to_bytes(), entry.version.to_bytes());
                (&a[..8], &b[8..]) >= (&b[..8], &a[8..])
            } =>' --test core_tests store::
mutation "an expired tombstone is merged like any other" src/core/store.rs \
    'None if is_outdated =>' 'None if is_outdated && false =>' --test core_tests store::
mutation "a tombstone is purged too early" src/core/store.rs \
    'version.ms().saturating_add(limits.tombstone_ttl_ms)' \
    'version.ms().saturating_add(limits.tombstone_ttl_ms / 2)' --test core_tests store::
mutation "an expired value is still readable" src/core/store.rs \
    'self.entry(key).filter(|entry| has_value(entry, self.now_ms(wall_ms)))' \
    'self.entry(key).filter(|entry| has_value(entry, self.now_ms(wall_ms).min(0)))' --test core_tests store::
mutation "a value that expired on its way is merged as a value" src/core/store.rs \
    'if !has_value(&entry, now_ms) {' 'if !has_value(&entry, 0) {' --test core_tests simulation::swarm
mutation "a value that expires gets a new version" src/core/store.rs \
    'Some(version) => {
                    let tombstone' \
    'Some(version) => {
                    let version = self.clock.next(wall_ms, Some(version)).unwrap_or(version);
                    let tombstone' --test core_tests simulation::swarm
mutation "values expire by the local clock alone" src/core/peer_clocks.rs \
    'wall_ms.saturating_add_signed(self.ahead_ms)' \
    'wall_ms.saturating_add_signed(self.ahead_ms * 0)' --test core_tests simulation::hundred_nodes
mutation "a clock that was set is believed alone" src/core/peer_clocks.rs \
    'if jump_ms != 0 {' 'if jump_ms != 0 && false {' --test core_tests simulation::clocks
mutation "an isolation of any length counts" src/core/isolation.rs \
    'age_ms.saturating_sub(last.age_ms) > tombstone_ttl_ms / 2' 'age_ms.saturating_sub(last.age_ms) > 0' \
    --test core_tests scheduler::isolation
mutation "a clock that comes late is believed" src/core/exchange/mod.rs \
    '(took_ms < MAX_CLOCK_AGE_MS).then' '(took_ms < u64::MAX).then' --test core_tests exchange::clocks
mutation "another cluster is not refused" src/core/exchange/mod.rs \
    'if hello.cluster != self.me.cluster {' 'if hello.cluster.is_empty() {' --test core_tests exchange::refusals
mutation "digests are truncated without the salt" src/core/digest.rs \
    'let sum = self.xor.wrapping_mul(salt | 1)' 'let sum = self.xor.wrapping_mul(salt * 0 | 1)' --test core_tests digest::
mutation "digests are truncated to their lower half" src/core/digest.rs \
    '((sum >> 32) as u32)' '((self.xor ^ salt ^ sum & 0) as u32)' --test core_tests digest::
mutation "an isolated node brings deleted keys back" src/core/isolation.rs \
    'self.isolated_since_ms.filter(was_there)' 'self.isolated_since_ms.filter(|_| false)' --test core_tests exchange::isolation
mutation "a node that joined after the isolation began says what was deleted before" src/core/isolation.rs \
    '.is_some_and(|since_ms| since_ms <= isolated_since_ms)' \
    '.is_some_and(|since_ms| since_ms <= isolated_since_ms.max(u64::MAX))' --test core_tests exchange::isolation
mutation "a write takes its time from the wall clock alone" src/core/version.rs \
    'let time = own.max(current.map_or(0, |version| version.time + 1));' \
    'let time = current.map_or(own, |_| wall_ms << COUNTER_BITS);' --test core_tests store::
mutation "a version from the far future advances the clock" src/core/version.rs \
    'seen.time.min(bound)' 'seen.time.max(bound.min(0))' --lib version::
mutation "a clock that is set back makes writes older than the last exchange" src/core/version.rs \
    'self.last = self.last.max(ms.min(END_OF_TIME_MS - 1) << COUNTER_BITS);' \
    'let _ = ms;' --test core_tests isolation::
mutation "an exchange under a mad clock takes later writes along" src/core/store.rs \
    'wall_ms.min(self.now_ms(wall_ms).saturating_add(MAX_CLOCK_LEAD_MS))' 'wall_ms.max(MAX_CLOCK_LEAD_MS)' \
    --test core_tests exchange::isolation
mutation "the responder takes an exchange for a confirmation" src/core/exchange/mod.rs \
    'summary.complete && is_initiator &&' 'summary.complete && (is_initiator || true) &&' --test core_tests exchange::confirmation
mutation "a peer that drains confirms" src/core/exchange/mod.rs \
    'is_initiator && !summary.peer_is_draining;' 'is_initiator;' --test core_tests exchange::confirmation
mutation "a responder that has begun to drain does not say so" src/core/exchange/mod.rs \
    'self.end();
            self.say_state(store);' 'self.end();' --test core_tests exchange::confirmation
mutation "an exchange that left something out confirms" src/core/exchange/mod.rs \
    'summary.confirmed = summary.complete && ' 'summary.confirmed = ' --test core_tests exchange::turns
mutation "what was received before the drain is not handed over" src/core/store.rs \
    'self.hand_over.get_or_insert(self.revision);' 'self.hand_over.get_or_insert(0);' --test core_tests store::writes
mutation "a write while draining is not handed over" src/core/store.rs \
    'self.hand_over = self.hand_over.map(|_| self.revision);' '' --test core_tests store::writes
mutation "writes are refused whatever was written since others had everything" src/core/store.rs \
    'self.is_closed |= self.to_hand_over() <= held;' 'self.is_closed |= self.to_hand_over() <= held.max(u64::MAX);' --test core_tests store::writes
mutation "a node counts once for each of its addresses" src/core/members.rs 'nodes.dedup();' '' --lib members::
mutation "a holder that no longer responds counts" src/core/members.rs \
    'member.responded_in = None;' '' --lib members::
mutation "a holder need not respond again after a newcomer" src/core/members.rs \
    'at >= self.newcomer_in' 'at >= self.newcomer_in.min(0)' --lib members::
mutation "nodes that all drain let each other go" src/core/members.rs '0 => false,' '0 => self.listed.iter().all(leaves_or_holds),' --lib members::
mutation "the drain counts on what was confirmed before it" src/core/members.rs 'process.confirmed = 0' 'process.confirmed += 0' --lib members::
mutation "records that were left out count as sent" src/core/exchange/mod.rs \
    'Message::Rest => self.left_out = true,' 'Message::Rest => {}' --test core_tests exchange::turns
mutation "the numbers of entries are not compared" src/core/exchange/mod.rs \
    'if difference != self.explained {' 'if difference.0 != self.explained.0 {' --test core_tests exchange::crafted_keys
mutation "rows do not count entries" src/core/digest.rs \
    'self.xor.wrapping_mul(salt | 1).wrapping_add(count)' \
    'self.xor.wrapping_mul(salt | 1).wrapping_add(count * 0)' --test core_tests exchange::crafted_keys
mutation "digests below the shards can be crafted" src/core/digest.rs \
    'self.keyed_fingerprint(salt, 0x7361_6c74_6564_2d31)' \
    'self.keyed_fingerprint(salt * 0, 0x7361_6c74_6564_2d31)' --lib digest::
mutation "a shard is checked by the digest that the store has" src/core/exchange/shard_items.rs \
    'xor ^ item.salted_fingerprint(salt)' 'xor ^ (item.fingerprint() ^ salt & 0)' --test core_tests exchange::crafted_keys
mutation "a list of recent updates explains any difference" src/core/exchange/mod.rs \
    'if difference != self.explained {' \
    'if difference != self.explained && self.explained.0 == 0 {' --test core_tests exchange::convergence

verdict
