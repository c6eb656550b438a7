#!/usr/bin/env bash
# Runs the clients in examples/clients against the real binary, and skips those whose language is not installed.
# Usage: tests/scripts/example-clients.sh BINARY
# shellcheck source=tests/scripts/nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh" clients "${1:?usage: tests/scripts/example-clients.sh BINARY}"
clients=$(dirname "${BASH_SOURCE[0]}")/../../examples/clients

# For each language the command, and what the client prints for an absent key.
declare -A command=([shell]="bash $clients/client.sh" [python]="python3 $clients/client.py"
    [node]="node $clients/client.mjs" [go]="$scratch/client-go")
declare -A absent=([shell]='(absent)' [python]=None [node]=null [go]='(absent)')
languages=()
for language in shell python node go; do
    tool=${command[$language]%% *}
    if [ $language = go ]; then
        tool=go
        if command -v go >/dev/null; then
            # There is no module file, and go needs a folder for its cache even where HOME is not set.
            GO111MODULE=off GOCACHE=${GOCACHE:-$scratch/go} go build -o "$scratch/client-go" "$clients/client.go"
            check $? "client.go is compiled"
        fi
    fi
    if command -v "$tool" >/dev/null; then
        languages+=("$language")
    else
        skip "$language: $tool is not installed"
    fi
done

# has_printed LANGUAGE LINE...: the client's output so far is these lines.
has_printed() {
    local language=$1 line
    shift
    for line in "$@"; do printf '%s\n' "$line"; done >"$scratch/expected"
    cmp --silent "$scratch/output-$language" "$scratch/expected"
}

# expect TEXT LINE: each client prints one more line. ABSENT stands for what it prints for an absent key.
declare -A lines
expect() {
    local language text=$1 line=$2
    for language in "${languages[@]}"; do
        lines[$language]+=${line//ABSENT/${absent[$language]}}$'\n'
        within 10000 "$language: $text" has_printed "$language" "${lines[$language]%$'\n'}"
    done
}

start_nodes 1 2 3
declare -A client
for language in "${languages[@]}"; do
    for value in blue red "${absent[$language]}"; do lines[$language]+="demo/$language = $value"$'\n'; done
    # shellcheck disable=SC2086 # a program and its arguments
    ${command[$language]} "${url[1]}" 1 >"$scratch/output-$language" 2>&1 &
    client[$language]=$!
done
expect "writes, reads, deletes, and finds no flag" 'flag = ABSENT'
put_text 2 flag on >/dev/null
expect "sees the flag that another pod has set" 'flag = on'

# Blocking queries end after a second, and the clients send the next one without printing anything. Reading /stats is a good
# request too, and is subtracted.
readings=0
answered() {
    readings=$((readings + 1))
    [ $(($(stat_of 1 nGoodHttpReqs) - readings)) -ge "$1" ]
}
within 20000 "blocking queries end with 304 and are sent again" \
    answered $(($(stat_of 1 nGoodHttpReqs) + 3 * ${#languages[@]}))
fetch -X DELETE "${url[3]}/map/flag"
expect "sees that the flag was deleted" 'flag = ABSENT'
refused() { [ "$(stat_of 1 nBadHttpReqs)" -ge "$1" ]; }
within 20000 "blocking queries end with 404 and are sent again" \
    refused $(($(stat_of 1 nBadHttpReqs) + 3 * ${#languages[@]}))
put_text 2 flag off >/dev/null
expect "sees that the flag is set again" 'flag = off'

stop 1
expect "notices that the sidecar is down" 'no answer, trying again'
start 1
within 10000 "the sidecar is back" answers 1 /readyz 200
put_text 2 flag end >/dev/null
expect "goes on where it stopped" 'flag = end'
for language in "${languages[@]}"; do
    has_exited() { ! kill -0 "${client[$language]}" 2>/dev/null; }
    within 5000 "$language: exits" has_exited
    kill -KILL "${client[$language]}" 2>/dev/null # or `wait` would never return
    wait "${client[$language]}"
    same $? 0 "$language: with exit code 0"
done
finish
