#!/usr/bin/env bash
# Runs the tests; ./test.sh --help lists the commands.
#
# Needs Linux, Rust with rustfmt and clippy, and curl. These need more, and are skipped and counted where it is missing:
#   example clients   python3, node and go, each for its client
#   k8s-deploy.yaml   kubernetes-validate (pip install kubernetes-validate)
#   containers        a docker engine
#   faults            root, ip, ethtool and mount (Debian: iproute2 ethtool mount); faketime for wrong clocks
#   fuzz              a C++ compiler (g++ or clang++)
#   openapi           schemathesis (pip install schemathesis)
# .ci/run installs all of it on Debian.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

usage() {
    cat <<'END'
Usage: ./test.sh [COMMAND]

Without a command: the tests to run before each commit, 6 minutes at most on two cores once everything is built.

Tests that take longer or have settings:
  long                        Rust tests that take half a minute each or work on a million keys
  swarm [SEEDS [FIRST]]       SEEDS simulated clusters [1000], a different one for each seed from FIRST on [1000]
  faults [ARGUMENT]...        network, process, DNS and clock faults on real nodes, as root; see ./test.sh faults --help
  fuzz [SECONDS [TARGET]...]  fuzzes all targets, or those that are named, for SECONDS [60]
  mutations [PATTERN]         breaks one rule of the core at a time; a test must notice
  openapi                     checks the responses to generated requests against docs/openapi.yaml
  all                         everything, as CI does: about 20 minutes

The last line is the verdict: "N passed, N failed", and ", N skipped" if this machine lacks the means for something.
With CI=true, skipping is a failure. Exit code: 0 if all passed, 1 if something failed, 2 if the command line is wrong.
END
}

reject() {
    echo "test.sh: $*" >&2
    usage >&2
    exit 2
}

# --- steps and their counts ---------------------------------------------------------------------------------------------

passed=0
failed=0
skipped=0
report=()

# counts LOG: prints "PASSED FAILED SKIPPED", summed over the verdicts in a log. Prints nothing if there are none.
# cargo's verdict is "test result: ok. N passed; N failed; …", a script's "NAME: N passed, N failed[, N skipped]".
counts() {
    sed -nE 's/^(test result: [a-zA-Z]+\.|[a-z]+:) ([0-9]+) passed[;,] ([0-9]+) failed(, ([0-9]+) skipped)?.*/\2 \3 \5/p' "$1" |
        awk '{ p += $1; f += $2; s += $3 } END { if (NR) print p, f, s + 0 }'
}

# step NAME COMMAND...: runs a command and adds its counts. A command that prints no verdict counts as one test.
step() {
    local name=$1 log status began=$SECONDS p='' f='' s='' result=ok
    shift
    log=$(mktemp)
    echo "=== $name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    read -r p f s < <(counts "$log")
    rm -f "$log"
    if [ -z "$p" ]; then
        p=$((status == 0)) f=$((status != 0)) s=0
    elif [ $((p + f + s)) -eq 0 ]; then
        echo "$name: no test was run"
        f=1
    elif [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        echo "$name: exit code $status"
        f=1
    fi
    [ "$f" -eq 0 ] || result=FAILED
    passed=$((passed + p))
    failed=$((failed + f))
    skipped=$((skipped + s))
    report+=("$(printf '%-8s %4d s  %s: %d passed, %d failed, %d skipped' "$result" $((SECONDS - began)) "$name" "$p" "$f" "$s")")
    echo "--- ${report[-1]}"
}

# skip NAME REASON: a failure if this is what the command line asks for.
skip() {
    skipped=$((skipped + 1))
    [[ $command =~ ^(all)?$ ]] || failed=$((failed + 1))
    report+=("$(printf '%-8s         %s: %s' skipped "$1" "$2")")
    echo "--- ${report[-1]}"
}

# verdict: prints the report and the last line, and ends the script.
verdict() {
    local line
    echo "=== all steps"
    printf '%s\n' "${report[@]}"
    if [ "${CI:-}" = true ] && [ $skipped -gt 0 ]; then
        echo "failed: with CI=true no test may be skipped"
        failed=$((failed + 1))
    fi
    line="$passed passed, $failed failed"
    [ $skipped -eq 0 ] || line+=", $skipped skipped"
    echo "$line"
    [ $failed -eq 0 ]
    exit
}
trap 'exit 130' INT TERM

# --- what is tested -----------------------------------------------------------------------------------------------------

binary=${CARGO_TARGET_DIR:-target}/release/gossip-sidecar

# Optimised and with overflow checks. Some tests are too long for a debug build, and everything is compiled only once.
cargo_test=(cargo test --profile long-tests --locked --no-fail-fast)

run_faults=(cargo run --profile long-tests --locked --example faults --)

has() { command -v "$1" >/dev/null; }

release_build() { step "release build" cargo build --release --locked; }

static_checks() {
    step "formatting" cargo fmt --check
    step "clippy" cargo clippy --all-targets --locked -- -D warnings
    step "purity of the core" tests/scripts/core-purity.sh
}

rust_tests() { step "Rust tests" "${cargo_test[@]}"; }

real_nodes() {
    step "smoke tests" tests/scripts/smoke.sh "$binary"
    step "docs/API.md" tests/scripts/doc-examples.sh docs/API.md "$binary"
    step "docs/RECIPES.md" tests/scripts/doc-examples.sh docs/RECIPES.md "$binary"
    step "example clients" tests/scripts/example-clients.sh "$binary"
}

manifests() {
    if ! has kubernetes-validate; then
        skip "k8s-deploy.yaml" "kubernetes-validate is not installed (pip install kubernetes-validate)"
        return
    fi
    local version
    for version in 1.29 1.32 1.37; do
        step "k8s-deploy.yaml for Kubernetes $version" kubernetes-validate --strict -k $version k8s-deploy.yaml
    done
}

containers() {
    if ! docker info >/dev/null 2>&1; then
        skip "image and containers" "no container engine answers (docker info)"
        return
    fi
    local image=gossip-sidecar:test-$$
    # .ci/image needs root and Debian. Elsewhere Docker builds the binary too.
    if has apt-get && [ "$(id -u)" = 0 ]; then
        step "image" .ci/image "$image"
    else
        step "image" docker build --quiet --file Dockerfile.scratch --tag "$image" .
    fi
    step "containers" tests/scripts/containers.sh "$image"
    docker image rm "$image" >/dev/null 2>&1
}

faults() {
    if [ "$(id -u)" = 0 ] && has ip && has ethtool && has mount; then
        step "faults" "${run_faults[@]}" --binary "$binary" "$@"
    else
        skip "faults" "they need root, ip, ethtool and mount (Debian: iproute2 ethtool mount)"
    fi
}

fuzz() {
    if has g++ || has clang++; then
        step "fuzzing for $1 s" fuzz/run.sh "$@"
    else
        skip "fuzzing" "it needs a C++ compiler (g++ or clang++)"
    fi
}

openapi() {
    if has schemathesis; then
        step "docs/openapi.yaml" tests/scripts/openapi.sh "$binary"
    else
        skip "docs/openapi.yaml" "schemathesis is not installed (pip install schemathesis)"
    fi
}

long() { step "long Rust tests" "${cargo_test[@]}" -- --ignored --skip swarm; }

swarm() { step "swarm of $1 clusters from seed $2" run_swarm "$@"; }
run_swarm() {
    # It prints every seed, and only the last one matters: if the test fails, that is the seed to look at.
    SEEDS=$1 FIRST=$2 "${cargo_test[@]}" --test core_tests -- --ignored --nocapture swarm 2>&1 |
        awk '/^seed [0-9]+$/ { last = $2; next } { print; fflush() } END { print "last seed: " last }'
}

mutations() { step "mutations" tests/scripts/mutations.sh "$@"; }

# common_steps: the part that both ./test.sh and ./test.sh all begin with.
common_steps() {
    static_checks
    rust_tests
    release_build
    real_nodes
    manifests
    containers
}

# --- the command line ---------------------------------------------------------------------------------------------------

command=${1:-}
[ $# -eq 0 ] || shift

# at_most COUNT ARGUMENT...: rejects more arguments than that.
at_most() { [ $(($# - 1)) -le "$1" ] || reject "unexpected argument to $command: ${*:$(($1 + 2)):1}"; }
# number NAME MINIMUM VALUE: rejects a value that is not a number, or too small.
number() { [[ $3 =~ ^[0-9]+$ ]] && [ "$3" -ge "$2" ] || reject "$command: $1 is '$3', must be a number from $2 on"; }

case $command in
'')
    common_steps
    faults --short --seconds 1
    fuzz 10
    ;;
all)
    at_most 0 "$@"
    common_steps
    faults --seconds 2
    openapi
    long
    swarm 1000 1000
    fuzz 60
    mutations
    ;;
long)
    at_most 0 "$@"
    long
    ;;
swarm)
    at_most 2 "$@"
    number SEEDS 1 "${1:-1000}"
    number FIRST 0 "${2:-1000}"
    swarm "${1:-1000}" "${2:-1000}"
    ;;
faults)
    case " $* " in
    *' --help '* | *' --list '* | *' --clean '*) exec "${run_faults[@]}" "$@" ;; # No test, so no verdict.
    esac
    release_build
    faults "$@"
    ;;
fuzz)
    number SECONDS 1 "${1:-60}"
    fuzz "${1:-60}" "${@:2}"
    ;;
mutations)
    at_most 1 "$@"
    mutations "$@"
    ;;
openapi)
    at_most 0 "$@"
    release_build
    openapi
    ;;
-h | --help | help)
    usage
    exit
    ;;
*) reject "unknown command: $command" ;;
esac
verdict
