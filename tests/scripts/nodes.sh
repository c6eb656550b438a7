# shellcheck shell=bash
# Nodes of the real binary on this machine, each on a loopback address of its own. To be sourced with a name and a
# binary; sets up what tests/scripts/checks.sh does, and:
#   net   the first three bytes of the nodes' addresses: node N is $net.N, HTTP is on port 8081
# shellcheck source=tests/scripts/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

suite=$1
binary=$(realpath "$2")
declare -A pid

# Loopback addresses that hardly anybody else uses, so that the ports can be the usual ones.
net=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1))

clean_up() {
    # What a document's lines have left in the background, and the nodes.
    # shellcheck disable=SC2046 # one process each
    { kill -KILL $(jobs -p); wait; } 2>/dev/null
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# start NODE: as in a cluster of three.
start() {
    SERVICE_DNS_NAME=$net.1,$net.2,$net.3 CLIENT_BIND=$net.$1 CLIENT_PORT=8081 PEER_BIND=$net.$1 CLUSTER=$suite \
        MY_POD_NAME=pod-$1 READY_TIMEOUT=3s DRAIN_TIMEOUT=1s "$binary" serve 2>>"$scratch/log-$1" &
    pid[$1]=$!
    url[$1]=http://$net.$1:8081
}

# start_nodes NODE...: and waits until they are ready.
start_nodes() {
    local node
    for node in "$@"; do start "$node"; done
    for node in "$@"; do within 10000 "node $node turns ready" answers "$node" /readyz 200; done
}

# stop NODE: as Kubernetes does, and waits for its end.
stop() {
    kill -TERM "${pid[$1]}"
    { wait "${pid[$1]}"; } 2>/dev/null
}

# stat_of NODE NAME: a value of /stats.
stat_of() { fetch "${url[$1]}/stats" | sed -n "s/^$2=//p"; }

finish() {
    if [ $failed -gt 0 ]; then
        for node in "${!pid[@]}"; do sed "s/^/# node $node: /" "$scratch/log-$node"; done
    fi
    echo "$suite: $passed passed, $failed failed"
    [ $failed -eq 0 ]
    exit
}
