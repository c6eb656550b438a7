# shellcheck shell=bash
# Runs nodes of the real binary on this machine, each on its own loopback address. To be sourced with the name of the test
# suite and the path of the binary. Sets what tests/scripts/checks.sh sets, and:
#   net   the first three bytes of all addresses: node N listens on $net.N, for HTTP on port 8081
# shellcheck source=tests/scripts/checks.sh
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

suite=$1
binary=$(realpath "$2")
declare -A pid

# Random, so that two runs at the same time can use the same ports.
net=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1))

clean_up() {
    # The nodes, and whatever else the script has started in the background.
    # shellcheck disable=SC2046 # one argument for each process
    { kill -KILL $(jobs -p); wait; } 2>/dev/null
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# start NODE: as a member of a cluster of three.
start() {
    SERVICE_DNS_NAME=$net.1,$net.2,$net.3 CLIENT_BIND=$net.$1 CLIENT_PORT=8081 PEER_BIND=$net.$1 CLUSTER=$suite \
        MY_POD_NAME=pod-$1 READY_TIMEOUT=3s DRAIN_TIMEOUT=1s "$binary" serve 2>>"$scratch/log-$1" &
    pid[$1]=$!
    url[$1]=http://$net.$1:8081
}

# start_nodes NODE...: starts them and waits until they are ready.
start_nodes() {
    local node
    for node in "$@"; do start "$node"; done
    for node in "$@"; do within 10000 "node $node turns ready" answers "$node" /readyz 200; done
}

# stop NODE [SIGNAL]: sends SIGTERM, as Kubernetes does, or another signal. Returns the node's exit code.
stop() {
    kill "-${2:-TERM}" "${pid[$1]}"
    { wait "${pid[$1]}"; } 2>/dev/null
}

# stat_of NODE NAME: prints one value of /stats.
stat_of() { fetch "${url[$1]}/stats" | sed -n "s/^$2=//p"; }

# finish: ends the script with its verdict, and with the nodes' logs if a check has failed.
finish() {
    if [ $failed -gt 0 ]; then
        for node in "${!pid[@]}"; do sed "s/^/# node $node: /" "$scratch/log-$node"; done
    fi
    verdict "$suite"
}
