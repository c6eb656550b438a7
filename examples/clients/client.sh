#!/usr/bin/env bash
# The sidecar from a shell, with curl (7.84 or later).
#
# Usage: client.sh [URL [WAIT_SECONDS]]
set -uo pipefail
url=${1:-http://localhost:8081}
wait=${2:-30}
value=$(mktemp)
trap 'rm -f "$value"' EXIT

ask() { curl --silent --max-time $((wait + 10)) "$@"; }

# Keys go into the URL as they are here: percent-encode them, as /keys prints them.
put() { ask --fail-with-body --request PUT --data-binary "$2" "$url/map/$1${3:+?ttl=$3}"; }
get() { ask --fail "$url/map/$1" || printf '(absent)'; }
delete() { ask --fail --request DELETE "$url/map/$1"; }

# watch KEY COMMAND: carries the command out with the value now and after each change, until it fails.
watch() {
    local key=$1 changed=$2 tag='' seconds=0 status new_tag
    while true; do
        # Without a tag the header is left out: curl drops those that have no value.
        if ! read -r status new_tag < <(ask --output "$value" --write-out '%{http_code} %header{etag}\n' \
            --header "If-None-Match: $tag" "$url/map/$key?wait=${seconds}s") || [ "$status" = 000 ]; then
            echo 'no answer, trying again'
            until ask --fail --output /dev/null "$url/readyz"; do sleep 0.2; done
            continue
        fi
        case $status in
        200)
            tag=$new_tag
            "$changed" "$(cat "$value")" || return 0
            ;;
        404)
            if [ -n "$tag" ] || [ "$seconds" = 0 ]; then "$changed" '(absent)' || return 0; fi
            tag=
            ;;
        304) ;;
        *) sleep 1 ;; # 503: too many wait already, or it has just started
        esac
        seconds=$wait
    done
}

show() {
    echo "flag = $1"
    [ "$1" != end ]
}

put demo%2Fshell blue
echo "demo/shell = $(get demo%2Fshell)"
put demo%2Fshell red 60s
echo "demo/shell = $(get demo%2Fshell)"
delete demo%2Fshell
echo "demo/shell = $(get demo%2Fshell)"

watch flag show
