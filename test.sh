#!/usr/bin/env bash
# The one test command. Needs Rust and curl; says what it skips where a container engine or a validator is missing.
#
#   ./test.sh          everything
#   ./test.sh faults   the faults on real processes, at length: several minutes; --seconds N, --seed N, --scenario NAME …
#
# With CI=true nothing may be skipped. The last line is the verdict: "N passed, N failed", and how many were skipped.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

faults=(cargo run --quiet --profile long-tests --locked --example faults --)
if [ "${1:-}" = faults ]; then
    cargo build --quiet --release --locked || exit 1
    exec "${faults[@]}" "${@:2}"
elif [ $# -gt 0 ]; then
    echo "usage: ./test.sh [faults [ARGUMENT]...]" >&2
    exit 2
fi

passed=0
failed=0
skipped=0
broken=()

# step NAME COMMAND...: one stage; counts the tests that it counted, or itself.
step() {
    local name=$1 log status began=$SECONDS counts
    shift
    log=$(mktemp)
    echo "=== $name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    # cargo says "test result: ok. N passed; N failed; …", our scripts "NAME: N passed, N failed".
    counts=$(sed -nE 's/^(test result: [a-zA-Z]+\.|[a-z]+:) ([0-9]+) passed[;,] ([0-9]+) failed.*/\2 \3/p' "$log" |
        awk '{ p += $1; f += $2 } END { if (NR) print p, f }')
    rm -f "$log"
    if [ -z "$counts" ]; then
        if [ "$status" -eq 0 ]; then counts="1 0"; else counts="0 1"; fi
    elif [ "$status" -ne 0 ] && [ "${counts#* }" -eq 0 ]; then
        counts="${counts% *} 1"
    fi
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    [ "$status" -eq 0 ] || broken+=("$name")
    echo "--- $name: ${counts% *} passed, ${counts#* } failed, $((SECONDS - began)) s"
}

skip() {
    echo "=== skipped: $1: $2"
    skipped=$((skipped + 1))
}

step "formatting" cargo fmt --check
step "clippy" cargo clippy --quiet --all-targets --locked -- -D warnings
step "purity of the core" tests/scripts/core-purity.sh
# Those that are too long for a debug build too: all of them in fast code, which is compiled once.
step "tests" cargo test --quiet --profile long-tests --locked --no-fail-fast -- --include-ignored
step "release build" cargo build --quiet --release --locked
step "smoke tests" tests/scripts/smoke.sh target/release/gossip-sidecar
for document in API RECIPES; do
    step "docs/$document.md" tests/scripts/doc-examples.sh docs/$document.md target/release/gossip-sidecar
done
step "clients" tests/scripts/example-clients.sh target/release/gossip-sidecar
if command -v schemathesis >/dev/null; then
    step "docs/openapi.yaml" tests/scripts/openapi.sh target/release/gossip-sidecar
else
    skip "docs/openapi.yaml" "schemathesis is not installed (pip install schemathesis)"
fi

# Nodes in network namespaces of their own.
if [ "$(id -u)" = 0 ] && type ip ethtool mount >/dev/null 2>&1; then
    step "faults" "${faults[@]}" --short
else
    skip "faults" "they need root, ip, ethtool and mount (Debian: iproute2 ethtool mount)"
fi

if command -v g++ >/dev/null || command -v clang++ >/dev/null; then
    step "fuzzing, a minute each" fuzz/run.sh 60
else
    skip "fuzzing" "there is no C++ compiler (g++ or clang++)"
fi

if command -v kubernetes-validate >/dev/null; then
    for version in 1.29 1.32 1.37; do
        step "k8s-deploy.yaml for Kubernetes $version" kubernetes-validate --strict -k $version k8s-deploy.yaml
    done
else
    skip "k8s-deploy.yaml" "kubernetes-validate is not installed (pip install kubernetes-validate)"
fi

if docker info >/dev/null 2>&1; then
    image=gossip-sidecar:test-$$
    # Without root or Debian the static binary is left to Docker itself.
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        step "image" .ci/image "$image"
    else
        step "image" docker build --quiet --file Dockerfile.scratch --tag "$image" .
    fi
    step "containers" tests/scripts/containers.sh "$image"
    docker image rm "$image" >/dev/null 2>&1
else
    skip "the scratch image and its containers" "no container engine answers (docker info)"
fi

for name in "${broken[@]}"; do echo "failed: $name"; done
if [ "${CI:-}" = true ] && [ $skipped -gt 0 ]; then
    echo "failed: in CI nothing may be skipped"
    failed=$((failed + 1))
fi
verdict="$passed passed, $failed failed"
[ $skipped -eq 0 ] || verdict+=", $skipped skipped"
echo "$verdict"
[ $failed -eq 0 ]
