#!/usr/bin/env bash
# Runs what a document shows: in its blocks of ```console a line "$ COMMAND" ("> MORE" goes on with it), and below it
# what comes out. The lines are run in their order, by one shell, against three nodes as the demo has them.
#
# Shown and real output are compared line by line, without `Date` headers. A … stands for anything, and these are taken
# for the same wherever they stand: versions, tags of lists, dates and times, node ids, addresses of peers, times in
# /peers, and a Ttl that is less than 5 s off.
# Usage: tests/scripts/doc-examples.sh DOCUMENT BINARY
usage='usage: tests/scripts/doc-examples.sh DOCUMENT BINARY'
document=$(realpath "${1:?$usage}")
suite=$(basename "${document,,}" .md)
# shellcheck source=tests/scripts/nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh" "$suite" "${2:?$usage}"

# alike: output without what differs each time.
alike() {
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

# run LINE COMMAND SHOWN: a counted line; the command is carried out by the document's shell.
run() {
    local got want pattern ended status
    ran=$((ran + 1))
    # The document speaks of the demo's nodes.
    sed -E "s/localhost:808([123])/$net.\1:8081/g" <<<"$2" >"$scratch/command"
    echo . >&"${shell[1]}"
    if read -rt 90 ended <&"${shell[0]}" && [ "$ended" = ended ]; then
        got=$(sed -E "s/${net//./\\.}\.([123]):8081/localhost:808\1/g" "$scratch/output" | alike)
    else
        got='the shell does not come back'
    fi
    want=$(alike <<<"$3")
    pattern=$(sed 's/[][\\*?]/\\&/g; s/…/*/g' <<<"$want")
    # shellcheck disable=SC2053 # a pattern it is
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
# A command's output may go on coming from what it has left in the background, so each has a file of its own.
coproc shell {
    cd "$scratch/work" || exit
    PATH=$scratch/bin:$PATH
    curl() { command curl --silent --show-error --max-time 75 "$@"; }
    while read -r _; do
        rm -f "$scratch/output"
        # shellcheck disable=SC1091 # it is not there yet
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
same "$inside" false "the last block has its end"
same "$((ran > 0))" 1 "the document has lines to run ($ran)"
same "$(stat_of 1 panics) $(stat_of 2 panics) $(stat_of 3 panics)" '0 0 0' "nothing panicked"
finish
