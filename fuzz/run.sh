#!/usr/bin/env bash
# Fuzzes the targets side by side, for the given time.
#
#   fuzz/run.sh SECONDS [TARGET...]      all targets, or those that are named
#
# Needs Rust (stable is enough) and a C++ compiler (g++ or clang++). The last line is the verdict, "fuzz: N passed,
# N failed". An input that breaks a target is left in fuzz/artifacts.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

seconds=${1:-}
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then # libFuzzer takes 0 for "without end"
    echo "usage: fuzz/run.sh SECONDS [TARGET...]" >&2
    exit 2
fi
shift
targets=("$@")
[ $# -gt 0 ] || targets=(message exchange request)

# The flags of cargo-fuzz, without AddressSanitizer: that needs a nightly compiler, and there is no unsafe code to watch.
flags=(--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module)
for option in sanitizer-coverage-level=4 sanitizer-coverage-inline-8bit-counters sanitizer-coverage-pc-table \
    sanitizer-coverage-trace-compares simplifycfg-branch-fold-threshold=0; do
    flags+=("-Cllvm-args=-$option")
done
export RUSTFLAGS="${flags[*]}"
out=${CARGO_TARGET_DIR:-../target}/fuzz
# With an explicit target cargo does not apply the flags to build scripts.
host=$(rustc -vV | sed -n 's/^host: //p')
echo "compiling the targets"
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

# All at the same time, since each uses one core.
logs=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$logs"' EXIT
trap 'exit 130' INT TERM
echo "fuzzing ${targets[*]} for $seconds s"
declare -A process
for target in "${targets[@]}"; do
    fuzz "$target" &
    process[$target]=$!
done
passed=0
failed=0
for target in "${targets[@]}"; do
    # Without coverage ("cov: 0") the fuzzer would be blind, and its end would prove nothing.
    if wait "${process[$target]}" && summary=$(grep -E '[[:space:]]DONE +cov: [1-9]' "$logs/$target"); then
        echo "$target: $summary"
        passed=$((passed + 1))
    else
        echo "=== $target"
        tail -n 40 "$logs/$target"
        failed=$((failed + 1))
    fi
done
echo "fuzz: $passed passed, $failed failed"
[ $failed -eq 0 ]
