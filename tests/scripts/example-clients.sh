#!/usr/bin/env bash
# The clients of examples/clients against the real binary, all that this machine has the language for.
# Usage: tests/scripts/example-clients.sh BINARY
# shellcheck source=tests/scripts/nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh" clients "${1:?usage: tests/scripts/example-clients.sh BINARY}"
clients=$(dirname "${BASH_SOURCE[0]}")/../../examples/clients

# Each language with its command and how it writes a key that is not there.
declare -A command=([shell]="bash $clients/client.sh" [python]="python3 $clients/client.py"
    [node]="node $clients/client.mjs" [go]="$scratch/client-go")
declare -A absent=([shell]='(absent)' [python]=None [node]=null [go]='(absent)')
languages=()
for language in shell python node go; do
    tool=${command[$language]%% *}
    if [ $language = go ]; then
        tool=go
        if command -v go >/dev/null; then
            # It looks for a module file all the way up, and wants a place for what it has compiled.
            GO111MODULE=off GOCACHE=${GOCACHE:-$scratch/go} go build -o "$scratch/client-go" "$clients/client.go"
            check $? "client.go is compiled"
        fi
    fi
    if command -v "$tool" >/dev/null; then
        languages+=("$language")
    else
        echo "skipped: $language: there is no $tool on this machine"
    fi
done

# said LANGUAGE LINE...: what a client has printed so far.
said() {
    local language=$1 line
    shift
    for line in "$@"; do printf '%s\n' "$line"; done >"$scratch/expected"
    cmp --silent "$scratch/said-$language" "$scratch/expected"
}

# expect TEXT LINE: all clients print one more line, "ABSENT" in it as their language writes it.
declare -A lines
expect() {
    local language text=$1 line=$2
    for language in "${languages[@]}"; do
        lines[$language]+=${line//ABSENT/${absent[$language]}}$'\n'
        within 10000 "$language: $text" said "$language" "${lines[$language]%$'\n'}"
    done
}

start_nodes 1 2 3
declare -A client
for language in "${languages[@]}"; do
    for value in blue red "${absent[$language]}"; do lines[$language]+="demo/$language = $value"$'\n'; done
    # shellcheck disable=SC2086 # a command and its words
    ${command[$language]} "${url[1]}" 1 >"$scratch/said-$language" 2>&1 &
    client[$language]=$!
done
expect "writes, reads, deletes, and finds no flag" 'flag = ABSENT'
put_text 2 flag on >/dev/null
expect "sees a flag that another pod has set" 'flag = on'

# Waits end after a second and are begun anew, without a word. Each look is a good request too.
looks=0
answered() {
    looks=$((looks + 1))
    [ $(($(stat_of 1 nGoodHttpReqs) - looks)) -ge "$1" ]
}
within 20000 "waits end with 304, and they wait again" \
    answered $(($(stat_of 1 nGoodHttpReqs) + 3 * ${#languages[@]}))
fetch -X DELETE "${url[3]}/map/flag"
expect "sees that it is gone" 'flag = ABSENT'
refused() { [ "$(stat_of 1 nBadHttpReqs)" -ge "$1" ]; }
within 20000 "waits end with 404, and they wait again" \
    refused $(($(stat_of 1 nBadHttpReqs) + 3 * ${#languages[@]}))
put_text 2 flag off >/dev/null
expect "sees that it is back" 'flag = off'

stop 1
expect "notices that the sidecar is away" 'no answer, trying again'
start 1
within 10000 "the sidecar is back" answers 1 /readyz 200
put_text 2 flag end >/dev/null
expect "goes on where it was" 'flag = end'
for language in "${languages[@]}"; do
    ended() { ! kill -0 "${client[$language]}" 2>/dev/null; }
    within 5000 "$language: ends" ended
    wait "${client[$language]}"
    same $? 0 "$language: with exit code 0"
done
finish
