# shellcheck shell=bash
# Counted checks and requests to nodes, for the shell tests. To be sourced. Sets:
#   passed, failed, skipped   counts, which `verdict` prints
#   url[NODE]                 the HTTP endpoint of a node
#   scratch                   a folder; the script that sources this removes it

set -uo pipefail
# $EPOCHREALTIME has a decimal point, not a comma, and one character is one byte.
export LC_ALL=C

declare -A url
passed=0
failed=0
skipped=0
scratch=$(mktemp -d)

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# check STATUS TEXT: passes if the status is 0.
check() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok - $2"
    else
        failed=$((failed + 1))
        echo "not ok - $2"
    fi
}

skip() {
    skipped=$((skipped + 1))
    echo "skipped - $1"
}

# verdict NAME: prints the counts as the last line and ends the script.
verdict() {
    local line="$1: $passed passed, $failed failed"
    [ $skipped -eq 0 ] || line+=", $skipped skipped"
    echo "$line"
    [ $failed -eq 0 ]
    exit
}

# within LIMIT-MS TEXT COMMAND...: repeats the command until it succeeds, and passes if that happens in time.
within() {
    local limit=$1 text=$2 start took=0 status=1
    shift 2
    start=$(now_ms)
    while [ $status -ne 0 ] && [ $took -lt "$limit" ]; do
        "$@"
        status=$?
        took=$(($(now_ms) - start))
        [ $status -eq 0 ] || sleep 0.01
    done
    check $status "$text ($took ms of at most $limit)"
}

# same VALUE EXPECTED TEXT: passes if both are equal, and shows both if not.
same() {
    if [ "$1" = "$2" ]; then check 0 "$3"; else check 1 "$3: is '$1', must be '$2'"; fi
}

fetch() { curl --silent --max-time 5 "$@"; }
status() { fetch --output /dev/null --write-out '%{http_code}' "${url[$1]}$2"; }
answers() { [ "$(status "$1" "$2")" = "$3" ]; }

# put NODE KEY VALUE-FILE: prints the status. The key must be percent-encoded already.
put() { fetch --request PUT --data-binary "@$3" --output /dev/null --write-out '%{http_code}' "${url[$1]}/map?k=$2"; }
put_text() {
    printf %s "$3" >"$scratch/value"
    put "$1" "$2" "$scratch/value"
}

# has NODE KEY EXPECTED-FILE: the response is that file, byte for byte.
has() {
    rm -f "$scratch/got" # curl keeps an older file if the response is empty
    fetch "${url[$1]}/map?k=$2" --output "$scratch/got" && cmp --silent "$scratch/got" "$3"
}
has_text() {
    printf '%s=%s\n' "$2" "$3" >"$scratch/expected"
    has "$1" "$2" "$scratch/expected"
}

# all_have KEY EXPECTED-FILE, all_have_text KEY VALUE: the same for every node in $nodes.
all_have() {
    local node
    # shellcheck disable=SC2154 # set by the script that sources this
    for node in "${nodes[@]}"; do has "$node" "$1" "$2" || return 1; done
}
all_have_text() {
    printf '%s=%s\n' "$1" "$2" >"$scratch/expected"
    all_have "$1" "$scratch/expected"
}
