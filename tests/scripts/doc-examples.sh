#!/usr/bin/env bash
# Runs the examples of a document and compares their output with what the document shows. An example is a line "$ COMMAND"
# in a block of ```console, perhaps continued in lines "> MORE", and its output follows. One shell runs all of them in order,
# against three nodes like those of the demo.
#
# Usage: tests/scripts/doc-examples.sh DOCUMENT BINARY
#
# Date headers are ignored, and … matches anything. Versions, ETags of lists, dates and times, node ids, addresses and states
# of peers, and times in /peers match any other of their kind; a Ttl matches if it is less than 5 s off.
usage='usage: tests/scripts/doc-examples.sh DOCUMENT BINARY'
document=$(realpath "${1:?$usage}")
suite=$(basename "${document,,}" .md)
# shellcheck source=tests/scripts/nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh" "$suite" "${2:?$usage}"

# normalize: replaces what differs from run to run.
normalize() {
    tr -d '\r' | awk '
        /^Date: / { next }
        /^Ttl: [0-9]+ms$/ { $0 = "Ttl: " 5 * int(($2 + 4999) / 5000) "s or up to 5 s less" }
        { print }' | sed -E '
        s/[0-9a-f]{16}-[0-9a-f]{8}\b/VERSION/g
        s/"[0-9a-f]{16}-([0-9a-f]+)"/"TAG-\1"/g
        s/(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT/DATE/g
        s/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+/TIME/g
        s/127(\.[0-9]+){3}:[0-9]+/ADDRESS/g
        s/(\bnode=|"node":")[0-9a-f]{8}\b/\1NODE/g
        s/\b((lastExchangeMs|clockOffsetMs)("?[=:]))-?[0-9]+/\1MS/g
        s/\b(state("?[=:]"?))(agree|differ)\b/\1STATE/g'
}

# run LINE-NUMBER COMMAND SHOWN-OUTPUT: has the document's shell run the command, and checks its output.
run() {
    local got want pattern ended status
    ran=$((ran + 1))
    # The document shows the addresses of the demo's nodes.
    sed -E "s/localhost:808([123])/$net.\1:8081/g" <<<"$2" >"$scratch/command"
    echo . >&"${shell[1]}"
    if read -rt 90 ended <&"${shell[0]}" && [ "$ended" = ended ]; then
        got=$(sed -E "s/${net//./\\.}\.([123]):8081/localhost:808\1/g" "$scratch/output" | normalize)
    else
        got='the command does not end'
    fi
    want=$(normalize <<<"$3")
    pattern=$(sed 's/[][\\*?]/\\&/g; s/…/*/g' <<<"$want")
    # shellcheck disable=SC2053 # a pattern is wanted
    [[ $got == $pattern ]]
    status=$?
    check $status "line $1: ${2%%$'\n'*}"
    [ $status -eq 0 ] || diff <(echo "$want") <(echo "$got") | sed 's/^/# /'
}

start_nodes 1 2 3
know_each_other() { [ "$(fetch "${url[1]}/peers" | grep -vc unknown)" = 2 ]; }
within 10000 "node 1 knows the others" know_each_other

mkdir "$scratch/bin" "$scratch/work"
ln -s "$binary" "$scratch/bin/gossip-sidecar"
# Each command has an output file of its own, because background jobs of earlier ones may still write.
coproc shell {
    cd "$scratch/work" || exit
    PATH=$scratch/bin:$PATH
    curl() { command curl --silent --show-error --max-time 75 "$@"; }
    while read -r _; do
        rm -f "$scratch/output"
        # shellcheck disable=SC1091 # written later
        source "$scratch/command" >"$scratch/output" 2>&1 </dev/null
        echo ended
    done
}

number=0
ran=0
begin=0
command=
shown=
inside=false
flush() {
    [ $begin -eq 0 ] || run $begin "$command" "${shown%$'\n'}"
    begin=0
    shown=
}
while IFS= read -r line; do
    number=$((number + 1))
    case $inside:$line in
    'false:```console') inside=true ;;
    false:*) ;;
    'true:```')
        flush
        inside=false
        ;;
    'true:$ '*)
        flush
        begin=$number
        command=${line#'$ '}
        ;;
    'true:> '*) command+=$'\n'${line#'> '} ;;
    *) shown+=$line$'\n' ;;
    esac
done <"$document"
same "$inside" false "the last block is closed"
same "$((ran > 0))" 1 "the document has examples ($ran)"
same "$(stat_of 1 panics) $(stat_of 2 panics) $(stat_of 3 panics)" '0 0 0' "nothing panicked"
finish
