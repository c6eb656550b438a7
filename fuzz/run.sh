#!/usr/bin/env bash
# Fuzzes all targets at a time for so many seconds. Needs Rust (stable will do) and a C++ compiler (g++ or clang++).
#
#   fuzz/run.sh SECONDS [TARGET...]
#
# The last line is the verdict: "fuzz: N passed, N failed". What breaks a target is left in fuzz/artifacts.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
[ $# -gt 0 ] || targets=(message exchange request)

# What cargo-fuzz sets, but for AddressSanitizer: it needs a nightly compiler, and there is no unsafe code to watch.
flags=(--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module)
for option in sanitizer-coverage-level=4 sanitizer-coverage-inline-8bit-counters sanitizer-coverage-pc-table \
    sanitizer-coverage-trace-compares simplifycfg-branch-fold-threshold=0; do
    flags+=("-Cllvm-args=-$option")
done
export RUSTFLAGS="${flags[*]}"
out=${CARGO_TARGET_DIR:-../target}/fuzz
# Named, so that build scripts are not instrumented too.
host=$(rustc -vV | sed -n 's/^host: //p')
if ! cargo build --quiet --release --locked --target "$host" --target-dir "$out"; then
    echo "fuzz: 0 passed, ${#targets[@]} failed"
    exit 1
fi

fuzz() {
    local target=$1 dictionary=wire.dict
    [ "$target" != request ] || dictionary=http.dict
    mkdir -p "corpus/$target" artifacts
    "$out/$host/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=4096 \
        -dict=$dictionary -artifact_prefix="artifacts/$target-" "corpus/$target" "seeds/$target" >"$logs/$target" 2>&1
}

# All at a time: each runs on one core.
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
declare -A process
for target in "${targets[@]}"; do
    fuzz "$target" &
    process[$target]=$!
done
passed=0
failed=0
for target in "${targets[@]}"; do
    if wait "${process[$target]}"; then
        echo "$target: $(grep DONE "$logs/$target")"
        passed=$((passed + 1))
    else
        echo "=== $target"
        tail -n 40 "$logs/$target"
        failed=$((failed + 1))
    fi
done
echo "fuzz: $passed passed, $failed failed"
[ $failed -eq 0 ]
