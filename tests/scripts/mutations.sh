#!/usr/bin/env bash
# Breaks the core on purpose, one rule at a time, in a copy of it, and demands that a test sees each.
#
#   tests/scripts/mutations.sh [PATTERN]      all, or those whose name matches
#
# The last line is the verdict: "mutations: N passed, N failed"; one is passed if it was caught.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

pattern=${1:-.}
passed=0
failed=0
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r Cargo.toml Cargo.lock src tests examples "$copy"
# Not the project's own: broken programs must not be left where others look for the real one.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/mutations
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 PROPTEST_MAX_SHRINK_ITERS=0

run() { (cd "$copy" && cargo test --quiet --locked --no-fail-fast "$@" 2>&1); }

# mutation NAME FILE OLD NEW TESTS...: puts NEW in the place of OLD, and runs these tests: few, in code that is not
# optimised, since most of the time goes into compiling it.
mutation() {
    local name=$1 file=$2 old=$3 new=$4 source rest log caught
    shift 4
    grep -qE "$pattern" <<<"$name" || return 0
    source=$(<"$file")
    rest=${source#*"$old"}
    if [ "$rest" = "$source" ] || [ "${rest#*"$old"}" != "$rest" ]; then
        echo "FAILED  $name: $file no longer has this once: $old"
        failed=$((failed + 1))
        return
    fi
    printf '%s%s%s\n' "${source%%"$old"*}" "$new" "$rest" >"$copy/$file"
    if ! log=$(run --no-run "$@"); then
        echo "FAILED  $name: does not compile"
        tail -n 20 <<<"$log"
        failed=$((failed + 1))
    elif log=$(run "$@"); then
        echo "FAILED  $name: survives"
        failed=$((failed + 1))
    else
        caught=$(sed -nE 's/^---- (.*) stdout ----$/\1/p' <<<"$log" | sort -u)
        if [ -n "$caught" ]; then
            echo "caught  $name, by $(head -n 1 <<<"$caught") and $(($(wc -l <<<"$caught") - 1)) more"
            passed=$((passed + 1))
        else
            echo "FAILED  $name: no test failed, and yet:"
            tail -n 20 <<<"$log"
            failed=$((failed + 1))
        fi
    fi
    cp "$file" "$copy/$file"
}

# A test that fails anyway would catch everything.
if ! log=$(run --test store --test doubt) || ! log=$(run --lib --test exchange --test simulation -- \
    version:: strangers a_cut_off who_came what_does_not a_mad_wall a_few a_hundred); then
    tail -n 30 <<<"$log"
    echo "mutations: 0 passed, 1 failed"
    exit 1
fi
echo "nothing broken: the tests pass (at $SECONDS s)"

mutation "of two writes at one time none wins" src/core/store.rs \
    'Some(ours) if ours.version >= entry.version =>' \
    'Some(ours) if ours.version.to_bytes()[..8] >= entry.version.to_bytes()[..8] =>' --test store
mutation "of two writes at one time that of the smaller id wins" src/core/store.rs \
    'Some(ours) if ours.version >= entry.version =>' \
    'Some(ours) if {
                let (a, b) = (ours.version.to_bytes(), entry.version.to_bytes());
                (&a[..8], &b[8..]) >= (&b[..8], &a[8..])
            } =>' --test store
mutation "an old tombstone is taken for a key that is absent" src/core/store.rs \
    'None if is_outdated =>' 'None if is_outdated && false =>' --test store
mutation "a tombstone is forgotten before its time" src/core/store.rs \
    'version.ms().saturating_add(limits.tombstone_ttl_ms)' \
    'version.ms().saturating_add(limits.tombstone_ttl_ms / 2)' --test store
mutation "a value is given out after its expiry" src/core/store.rs \
    'self.entry(key).filter(|entry| has_value(entry, self.now_ms(wall_ms)))' \
    'self.entry(key).filter(|entry| has_value(entry, self.now_ms(wall_ms).min(0)))' --test store
mutation "what has expired on its way is taken as a value" src/core/store.rs \
    'if !has_value(&entry, now_ms) {' 'if !has_value(&entry, 0) {' --test simulation -- a_few
mutation "what expires gets a new version" src/core/store.rs \
    'Some(version) => {
                    let tombstone' \
    'Some(version) => {
                    let version = self.clock.next(wall_ms, Some(version)).unwrap_or(version);
                    let tombstone' --test simulation -- a_few
mutation "values expire by the own clock alone" src/core/store.rs \
    'wall_ms.saturating_add_signed(self.ahead_ms)' \
    'wall_ms.saturating_add_signed(self.ahead_ms * 0)' --test simulation -- a_hundred
mutation "another cluster is answered" src/core/exchange.rs \
    'if hello.cluster != self.me.cluster {' 'if hello.cluster.is_empty() {' --test exchange -- strangers
mutation "digests are cut without the salt" src/core/digest.rs \
    'self.xor.wrapping_mul(salt | 1) >> 32' 'self.xor.wrapping_mul(salt * 0 | 1) >> 32' --test doubt
mutation "digests are cut to their lower half" src/core/digest.rs \
    '(self.xor.wrapping_mul(salt | 1) >> 32) as u32' '(self.xor ^ salt) as u32' --test doubt
mutation "who was cut off brings deleted keys back" src/core/exchange.rs \
    'self.me.cut_ms.filter(was_there)' 'self.me.cut_ms.filter(was_there).filter(|_| false)' --test exchange -- a_cut_off
mutation "who came after the cut says what was deleted before" src/core/exchange.rs \
    'self.peer_since_ms.is_some_and(|since_ms| since_ms <= cut_ms)' \
    'self.peer_since_ms.is_some_and(|since_ms| since_ms <= cut_ms.max(u64::MAX))' --test exchange -- who_came
mutation "a write goes by the wall clock alone" src/core/version.rs \
    'let time = own.max(current.map_or(0, |version| version.time + 1));' \
    'let time = current.map_or(own, |_| wall_ms << COUNTER_BITS);' --test store
mutation "a version from the future takes the clock along" src/core/version.rs \
    'seen.time.min(bound)' 'seen.time.max(bound.min(0))' --lib version
mutation "who was called is sure that its records have arrived" src/core/exchange.rs \
    '(self.role == Role::Caller || self.summary.sent == 0)' \
    '(self.role == Role::Caller || self.summary.sent < u64::MAX)' --test doubt
mutation "what was left out is taken for sent" src/core/exchange.rs \
    'Message::Rest => self.left_out = true,' 'Message::Rest => {}' --test exchange -- what_does_not
mutation "a hot list explains whatever differs" src/core/exchange.rs \
    'if theirs ^ store.root().xor != self.explained {' \
    'if theirs ^ store.root().xor != self.explained && self.explained == 0 {' --test exchange -- a_mad_wall

echo "mutations: $passed passed, $failed failed"
[ $failed -eq 0 ]
