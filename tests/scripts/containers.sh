#!/usr/bin/env bash
# Runs three containers of the image as they would run in pods, kills and isolates them in turn, and checks the map.
# Usage: tests/scripts/containers.sh IMAGE-TAG    Needs curl and a local docker engine. Pulls nothing.
#
# Each container is on two networks. On "gossip" all three share one alias, so that Docker's DNS lists every address, as it
# does for a headless Service; a container that is disconnected from it is isolated. "admin" carries the published client
# port and stays connected, so that an isolated node can still be written to.
# shellcheck source=tests/scripts/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

image=${1:?usage: tests/scripts/containers.sh IMAGE-TAG}
run=gossip-test-$$
gossip=$run-gossip
admin=$run-admin
nodes=(1 2 3)

limit_heal_ms=3000   # for a change to reach all nodes, or all keys to reach a restarted node
limit_start_ms=15000 # READY_TIMEOUT is 10 s
limit_stop_ms=9000   # DRAIN_TIMEOUT is 5 s; Docker kills after 10 s
limit_image_bytes=1000000
limit_rss_kb=3072

clean_up() {
    docker rm --force --volumes "${nodes[@]/#/$run-}" >/dev/null 2>&1
    docker network rm "$gossip" "$admin" >/dev/null 2>&1
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

die() {
    echo "containers: $*" >&2
    exit 1
}

# --- a node -------------------------------------------------------------------------------------------------------

create() {
    # Swap is limited too, or 8 MB would be no limit. The image's own health check runs more often than by default. For an
    # isolated node Docker does not know the name, and asks the host's resolver, which may never answer: hence the timeout.
    docker create --name "$run-$1" --network "$admin" --publish 127.0.0.1::8080 \
        --memory 8m --memory-swap 8m --read-only --cap-drop ALL --security-opt no-new-privileges --health-interval 1s \
        --dns-opt timeout:1 --dns-opt attempts:1 \
        --env SERVICE_DNS_NAME=gossip --env CLIENT_PORT=8080 --env CLIENT_BIND=0.0.0.0 "$image" >/dev/null &&
        connect "$1"
}

connect() { docker network connect --alias gossip "$gossip" "$run-$1"; }
disconnect() { docker network disconnect "$gossip" "$run-$1"; }

# Docker publishes another port after each start.
start() {
    docker start "$run-$1" >/dev/null || die "cannot start container $run-$1"
    url[$1]=http://$(docker port "$run-$1" 8080/tcp | head -n 1)
}

is_healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$run-$1")" = healthy ]; }

# has_all NODE: requests every key of $all_keys at once, and compares with the response of another node.
has_all() { has "$1" "$all_keys" "$scratch/all"; }

# watch_until_ready NODE LIMIT-MS: prints a letter for each state in turn, and how long it took. The states: - no response,
# n not ready, r ready, L ready although keys are missing. Readiness is read before the keys, so L is never a false alarm.
watch_until_ready() {
    local node=$1 limit=$2 start letter last=''
    start=$(now_ms)
    while [ $(($(now_ms) - start)) -lt "$limit" ]; do
        case $(status "$node" /readyz) in
        200) if has_all "$node"; then letter=r; else letter=L; fi ;;
        503) letter=n ;;
        *) letter=- ;;
        esac
        [ "$letter" = "$last" ] || printf %s "$letter"
        last=$letter
        [[ $letter != [rL] ]] || break
    done
    echo " $(($(now_ms) - start))"
}

# --- the image ------------------------------------------------------------------------------------------------------

command -v curl >/dev/null || die "curl is not installed"
docker info >/dev/null 2>&1 || die "no docker engine answers; start one"
size=$(docker image inspect --format '{{.Size}}' "$image" 2>/dev/null) ||
    die "there is no image $image; build it first: .ci/image $image"
[ "$size" -le $limit_image_bytes ]
check $? "the image has $size bytes, at most $limit_image_bytes"

# --- three nodes find each other --------------------------------------------------------------------------------------

docker network create "$admin" >/dev/null || die "cannot create network $admin"
docker network create --internal "$gossip" >/dev/null || die "cannot create network $gossip"
for node in "${nodes[@]}"; do create "$node" || die "cannot create container $run-$node"; done
for node in "${nodes[@]}"; do start "$node"; done
for node in "${nodes[@]}"; do within $limit_start_ms "node $node turns ready" answers "$node" /readyz 200; done
for node in "${nodes[@]}"; do within $limit_start_ms "the image's health check finds node $node healthy" is_healthy "$node"; done
for node in "${nodes[@]}"; do
    same "$(status "$node" /healthz) $(status "$node" /stats)" "200 200" "node $node answers /healthz and /stats"
done

for node in "${nodes[@]}"; do
    pid=$(docker inspect --format '{{.State.Pid}}' "$run-$node")
    rss=$(awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status" 2>/dev/null)
    [ "${rss:-$limit_rss_kb}" -lt $limit_rss_kb ]
    check $? "node $node holds ${rss:-an unknown number of} kB resident when idle, less than $limit_rss_kb"
done

# --- a write reaches all nodes ----------------------------------------------------------------------------------------

same "$(status 1 '/map?k=first')" 404 "a key that was never written is absent"
same "$(put_text 1 first one)" 201 "node 1 takes a new key"
within $limit_heal_ms "all nodes have it" all_have_text first one
same "$(put_text 2 first two)" 204 "node 2 replaces it"
within $limit_heal_ms "all nodes have the replacement" all_have_text first two

{
    printf 'żółw ✓ 蛇 🐢 a=b\n%%00\r\n'
    for octal in {0..3}{0..7}{0..7}; do printf '%b' "\\0$octal"; done
} >"$scratch/bytes"
{
    printf 'clé ✓='
    cat "$scratch/bytes"
    printf '\n'
} >"$scratch/bytes-expected"
same "$(put 3 cl%C3%A9%20%E2%9C%93 "$scratch/bytes")" 201 "node 3 takes a value of all 256 bytes under a non-ASCII key"
within $limit_heal_ms "all nodes have it, byte for byte" all_have cl%C3%A9%20%E2%9C%93 "$scratch/bytes-expected"

# --- a node is killed and restarted -------------------------------------------------------------------------------------

docker kill --signal KILL "$run-3" >/dev/null || die "cannot kill container $run-3"
all_keys=first
for i in {1..20}; do
    taken=$(put_text 1 "meanwhile-$i" "value-$i")
    [ "$taken" = 201 ] || break
    all_keys+="&k=meanwhile-$i"
done
same "$taken" 201 "node 1 takes 20 keys while node 3 is dead"
fetch "${url[1]}/map?k=$all_keys" --output "$scratch/all"
same "$(wc -l <"$scratch/all")" 21 "node 1 returns all 21 keys in one response"

start 3
read -r seen took < <(watch_until_ready 3 $limit_start_ms)
[[ $seen == *r ]]
check $? "node 3, killed and restarted, turns ready only with all keys: $seen ($took ms; letters: see watch_until_ready)"
within $limit_heal_ms "node 3 has all keys again" has_all 3

# Without its peers it must not turn ready, however fast it is.
docker kill --signal KILL "$run-3" >/dev/null || die "cannot kill container $run-3"
disconnect 3
start 3
within $limit_heal_ms "node 3, started in isolation, is alive" answers 3 /healthz 200
same "$(status 3 /readyz)" 503 "and not ready"
same "$(status 3 "/map?k=$all_keys")" 404 "and has none of the keys"
# Watched from before on, because it may have caught up by the time that connecting it returns.
watch_until_ready 3 $limit_start_ms >"$scratch/states" &
watcher=$!
within $limit_heal_ms "and is being watched" test -s "$scratch/states"
connect 3
wait $watcher
read -r seen took <"$scratch/states"
[[ $seen == *nr ]]
check $? "once connected, it turns ready only with all keys: $seen ($took ms)"
[ "${took:-$limit_heal_ms}" -lt $limit_heal_ms ]
check $? "that takes less than $limit_heal_ms ms"

# --- a node is isolated and reconnected ---------------------------------------------------------------------------------

disconnect 3
same "$(put_text 1 majority from-1)" 201 "node 1 takes a key while node 3 is isolated"
same "$(put_text 3 minority from-3)" 201 "node 3 takes a key while it is isolated"
same "$(put_text 1 both from-1)" 201 "node 1 takes a key that both sides write"
same "$(put_text 3 both from-3)" 201 "and later node 3 takes the same key"
within $limit_heal_ms "node 2 has what node 1 took" has_text 2 majority from-1
same "$(status 3 '/map?k=majority') $(status 2 '/map?k=minority')" "404 404" "neither side has the other's key: node 3 is really isolated"
connect 3
within $limit_heal_ms "once connected, all nodes have the key of node 1" all_have_text majority from-1
within $limit_heal_ms "all nodes have the key of node 3" all_have_text minority from-3
within $limit_heal_ms "all nodes have the later of the two writes to one key" all_have_text both from-3

# --- an orderly stop loses no acknowledged write --------------------------------------------------------------------------

# stop NODE: sends SIGTERM, and checks exit code and time.
stop() {
    local start took
    start=$(now_ms)
    docker stop --time 10 "$run-$1" >/dev/null || die "cannot stop container $run-$1"
    took=$(($(now_ms) - start))
    same "$(docker inspect --format '{{.State.ExitCode}}' "$run-$1")" 0 "node $1 exits with 0 on SIGTERM"
    [ $took -lt $limit_stop_ms ]
    check $? "node $1 stops in time ($took ms of at most $limit_stop_ms)"
}

same "$(put_text 3 last-words kept)" 201 "node 3 takes a key just before SIGTERM"
stop 3
has_text 1 last-words kept && has_text 2 last-words kept
check $? "nodes 1 and 2 have it after node 3 has exited"
stop 2
stop 1 # It has no peer left, and must not wait for one for ever.

if [ $failed -gt 0 ]; then
    for node in "${nodes[@]}"; do
        docker logs --timestamps --tail 40 "$run-$node" 2>&1 | sed "s/^/# node $node: /"
    done
fi
verdict containers
