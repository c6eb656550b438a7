#!/usr/bin/env bash
# Checks the real binary against docs/openapi.yaml: schemathesis derives valid and invalid requests from the document, and
# compares the responses with it. Each request counts as a test.
# Usage: tests/scripts/openapi.sh BINARY    Needs schemathesis on the PATH (pip install schemathesis).
# shellcheck source=tests/scripts/nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh" openapi "${1:?usage: tests/scripts/openapi.sh BINARY}"
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

# The seed determines the requests, apart from versions and dates that are taken from earlier responses.
seed=20

# run TEXT SCHEMATHESIS-ARGUMENTS...: counts the requests and the failures of one run.
run() {
    local text=$1 log=$scratch/run status made found began
    shift
    began=$(now_ms)
    # In the scratch folder, because schemathesis leaves files where it runs.
    (cd "$scratch" && SCHEMATHESIS_HOOKS=openapi_hooks PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 timeout 240 \
        schemathesis --config-file "$here/openapi.toml" run "$here/../../docs/openapi.yaml" --url "${url[1]}" \
        --checks all --mode all --seed $seed --continue-on-failure --request-timeout 5 --no-color "$@") >"$log" 2>&1
    status=$?
    # "Test cases:", then "N generated, N passed" or "N generated, N found N unique failures".
    read -r made found < <(sed -nE '/^Test cases:/,$ s/^ *([0-9]+) generated(, ([0-9]+) found.*)?.*/\1 \3/p' "$log")
    if [ $status -ne 0 ] || [ -z "$made" ]; then
        sed 's/^/# /' "$log"
        [ "${found:-0}" -gt 0 ] || found=1
    fi
    echo "$text: ${made:-0} requests, ${found:-0} failures, $((($(now_ms) - began) / 1000)) s"
    failed=$((failed + ${found:-0}))
    passed=$((passed + ${made:-0} - ${found:-0}))
}

start_nodes 1 2 3
run "as any client" --phases examples,coverage,fuzzing,stateful --max-examples 150
run "as a client that prefers JSON" --phases coverage,fuzzing --max-examples 150 \
    --header 'Accept: application/json, */*;q=0.1' --include-name-regex '^GET /(map|keys|stats|peers)$'
answers 1 /healthz 200
check $? "the node is still alive"
same "$(stat_of 1 panics)" 0 "nothing panicked"
finish
