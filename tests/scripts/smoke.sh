#!/usr/bin/env bash
# Checks the HTTP contract, the cluster and the command line with three nodes of the real binary and curl.
# Usage: tests/scripts/smoke.sh BINARY
# shellcheck source=tests/scripts/nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/nodes.sh" smoke "${1:?usage: tests/scripts/smoke.sh BINARY}"
nodes=(1 2 3)

# Without a subcommand and with the default timeouts, as a container runs it.
start() {
    SERVICE_DNS_NAME=$net.1,$net.2,$net.3 CLIENT_BIND=$net.$1 CLIENT_PORT=8081 PEER_BIND=$net.$1 CLUSTER=$suite \
        "$binary" 2>>"$scratch/log-$1" &
    pid[$1]=$!
    url[$1]=http://$net.$1:8081
}

# answer CURL-ARGUMENTS...: prints status line, headers and body, without the Date header.
answer() { fetch --include "$@" | tr -d '\r' | grep -v '^Date: '; }
versionless() { grep -v '^ETag: \|^Last-Modified: '; }

start_nodes "${nodes[@]}"

# --- the contract, on one node ----------------------------------------------------------------------------------------

map=${url[1]}/map
same "$(answer -X PUT -d one "$map?k=a")" $'HTTP/1.1 201 Created\nContent-Length: 0' "a new key: 201, Content-Length: 0, no body"
same "$(answer -X PUT -d two "$map?k=a")" $'HTTP/1.1 204 No Content\nContent-Length: 0' "a replaced key: 204, Content-Length: 0, no body"
same "$(answer "$map?k=a" | versionless)" $'HTTP/1.1 200 OK\nContent-Type: application/octet-stream\nContent-Length: 6\n\na=two' "a GET: 200, application/octet-stream"
same "$(put_text 1 b three)" 201 "a second key"
same "$(fetch "$map?k=b&k=nobody&k=a&k=b")" $'b=three\na=two\nb=three' "pairs in the requested order, without absent keys"
same "$(status 1 '/map?k=nobody')" 404 "none of the keys: 404"
same "$(status 1 /map)" 422 "no key: 422"
same "$(fetch -o "$scratch/reason" -w '%{http_code}' -X PUT -d x "$map")" 422 "a PUT without a key: 422"
same "$(wc -l <"$scratch/reason")" 1 "with the reason in one line"
same "$(fetch -o /dev/null -w '%{http_code}' -X PUT -d x "$map?k=a&k=b")" 422 "a PUT of two keys: 422"
same "$(fetch -o /dev/null -w '%{http_code}' -X PUT -d x "$map?k=%zz")" 400 "bad percent-encoding: 400"
same "$(answer -X PATCH "$map?k=a" | sed -n '1p;/^Allow/p')" $'HTTP/1.1 405 Method Not Allowed\nAllow: GET, HEAD, PUT, POST, DELETE' "another method: 405 with Allow"
same "$(answer --head "$map?k=a" | versionless)" $'HTTP/1.1 200 OK\nContent-Type: application/octet-stream\nContent-Length: 6' "HEAD: as GET, without the body"
same "$(put_text 1 'sp%20ace+%C3%A9' v)" 201 "a key with a space and an accent"
same "$(fetch "$map?k=sp+ace%20%c3%a9")" 'sp ace é=v' "can be read in any encoding"
same "$(put_text 1 '' v)" 201 "the empty key"
same "$(put_text 1 empty '')" 201 "an empty value"
same "$(fetch "$map?k=&k=empty")" $'=v\nempty=' "both can be read"

head --bytes 1048576 /dev/urandom >"$scratch/large"
{ printf 'large='; cat "$scratch/large"; printf '\n'; } >"$scratch/large-expected"
same "$(put 1 large "$scratch/large")" 201 "a value of 1 MiB (curl asks with Expect: 100-continue)"
printf x >>"$scratch/large"
same "$(put 1 large "$scratch/large")" 413 "one byte more: 413"
has 1 large "$scratch/large-expected"
check $? "the old value is still there, byte for byte"
same "$(fetch -o /dev/null -w '%{http_code}' -T "$scratch/large-expected" -H 'Transfer-Encoding: chunked' "$map?k=chunked")" 413 "a chunked upload too large: 413"
printf chunked >"$scratch/value"
same "$(fetch -o /dev/null -w '%{http_code}' -T "$scratch/value" -H 'Transfer-Encoding: chunked' "$map?k=chunked")" 201 "a chunked upload"
same "$(fetch -o /dev/null -o /dev/null -w '%{http_code} %{num_connects};' "$map?k=a" "$map?k=a")" '200 1;200 0;' "keep-alive: the second request needs no new connection"
fetch "${url[1]}/stats" | head -n 6 | sed 's/=.*//' >"$scratch/stats"
same "$(tr '\n' ' ' <"$scratch/stats")" 'upTimeSecs upSince nOutSyncs nInSyncs nBadHttpReqs nGoodHttpReqs ' "/stats starts with the names of k8s-gossipcar"
same "$(fetch "${url[1]}/metrics" | grep -c '^gossip_sidecar_keys ')" 1 "/metrics"

# --- the cluster --------------------------------------------------------------------------------------------------------

within 3000 "all nodes have the value of 1 MiB" all_have large "$scratch/large-expected"
same "$(put_text 2 a three)" 204 "node 2 replaces what node 1 wrote"
within 3000 "all nodes have the replacement" all_have_text a three

stop 3 KILL
same "$(put_text 1 meanwhile v)" 201 "node 1 takes a key while node 3 is dead"
start 3
within 3000 "node 3 has it after a restart" has_text 3 meanwhile v
within 3000 "and has the older key too" has_text 3 a three

same "$(put_text 3 last-words kept)" 201 "node 3 takes a key just before SIGTERM"
stop 3
same $? 0 "node 3 ends with exit code 0"
has_text 1 last-words kept && has_text 2 last-words kept
check $? "nodes 1 and 2 have the key"

# --- the command line -----------------------------------------------------------------------------------------------------

server=(--server "$net.1:8081")
"$binary" put greeting hello "${server[@]}"
same "$? $("$binary" get greeting "${server[@]}")" '0 greeting=hello' "put and get"
"$binary" get nobody "${server[@]}" 2>/dev/null
same $? 1 "get of an absent key: exit code 1"
"$binary" health "${server[@]}" >/dev/null
same $? 0 "health of a node: exit code 0"
"$binary" health --server "$net.9:8081" 2>/dev/null
same $? 1 "health of an address without a node: exit code 1"
SYNC_INTERVAL=soon timeout 10 "$binary" 2>"$scratch/reason"
same "$? $(grep -c SYNC_INTERVAL "$scratch/reason")" '2 1' "a bad setting: exit code 2 and its name"
CLIENT_BIND=$net.1 CLIENT_PORT=8081 PEER_BIND=$net.9 timeout 10 "$binary" 2>"$scratch/reason"
same "$? $(grep -c "$net.1:8081" "$scratch/reason")" '1 1' "a port in use: exit code 1 and the address"

for node in 1 2; do
    stop "$node" INT
    same $? 0 "node $node ends with exit code 0"
done

finish
