# shellcheck shell=bash
# Counted checks, and requests to nodes, for the shell tests. To be sourced; sets up:
#   passed, failed   counts        url[NODE]   where a node answers HTTP        scratch   a folder that is removed at the end

set -uo pipefail
export LC_ALL=C # $EPOCHREALTIME has a point in it, and bytes are bytes

declare -A url
passed=0
failed=0
scratch=$(mktemp -d)

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# check STATUS TEXT: one counted line.
check() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok - $2"
    else
        failed=$((failed + 1))
        echo "not ok - $2"
    fi
}

# within LIMIT-MS TEXT COMMAND...: repeats the command until it succeeds or the time is up; a counted line with the time.
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

# same VALUE WANTED TEXT: a counted line that shows both when they differ.
same() {
    if [ "$1" = "$2" ]; then check 0 "$3"; else check 1 "$3: is '$1', should be '$2'"; fi
}

fetch() { curl --silent --max-time 5 "$@"; }
status() { fetch --output /dev/null --write-out '%{http_code}' "${url[$1]}$2"; }
answers() { [ "$(status "$1" "$2")" = "$3" ]; }

# put NODE KEY VALUE-FILE: prints the status. The key goes into the URL as it is, so it comes percent-encoded.
put() { fetch --request PUT --data-binary "@$3" --output /dev/null --write-out '%{http_code}' "${url[$1]}/map?k=$2"; }
put_text() {
    printf %s "$3" >"$scratch/value"
    put "$1" "$2" "$scratch/value"
}

# has NODE KEY EXPECTED-FILE: the answer is that file, byte for byte.
has() {
    rm -f "$scratch/got" # curl leaves the file of the time before when there is nothing to write
    fetch "${url[$1]}/map?k=$2" --output "$scratch/got" && cmp --silent "$scratch/got" "$3"
}
has_text() {
    printf '%s=%s\n' "$2" "$3" >"$scratch/expected"
    has "$1" "$2" "$scratch/expected"
}

# all_have KEY EXPECTED-FILE, all_have_text KEY VALUE: every node in $nodes.
all_have() {
    local node
    # shellcheck disable=SC2154 # whoever sources this says which nodes there are
    for node in "${nodes[@]}"; do has "$node" "$1" "$2" || return 1; done
}
all_have_text() {
    printf '%s=%s\n' "$1" "$2" >"$scratch/expected"
    all_have "$1" "$scratch/expected"
}
