# Only who has this token may talk to this Ray, whatever addresses it listens on.
# A new name each time: folders over a network show old files for a while.
token=${3:-{{ token | quote }}-$RANDOM$RANDOM}
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token RAY_USAGE_STATS_ENABLED=0
unset RAY_AUTH_TOKEN RAY_ADDRESS
ray_log={{ ray_log | quote }}-$(hostname).log

# This node's address as host $1 sees it, unless the setup names another, such as that of a faster network.
address_towards() {
    if [ -n "${HPO_NODE_ADDRESS-}" ]; then
        echo "$HPO_NODE_ADDRESS"
        return
    fi
    "$python" -P -c 'import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((sys.argv[1], 9))
    print(s.getsockname()[0])' "$1"
}

# The first port from $1 on that is free here.
free_port() {
    "$python" -P -c 'import socket, sys
for port in range(int(sys.argv[1]), 65536):
    with socket.socket() as s:
        try:
            s.bind(("", port))
        except OSError:
            continue
        print(port)
        break' "$1"
}

# A folder of its own: /tmp/ray may be another user's. Its sockets need a short path.
ray_folder() {
    echo "/tmp/hpo-ray-$UID-${head##*:}"
}

# Ray on this node until it is ended; all ports but the head's are such as are free.
ray_start() {
    exec "$python" -P -m ray.scripts.scripts start --block --disable-usage-stats --num-cpus="$cpus"{{ ray_gpus }} \
        --object-store-memory=83886080 --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0 \
        --temp-dir="$(ray_folder)" "$@" >> "$ray_log" 2>&1
}

if [ "${1-}" = node ]; then
    head=$2
    over=0
    trap 'over=1; kill "$ray" 2> /dev/null' TERM INT
    while ((!over)); do
        since=$SECONDS
        ray_start --address="$head" --node-ip-address="$(address_towards "${head%:*}")" &
        ray=$!
        wait "$ray"
        wait "$ray"  # the first one may have been ended by a signal
        # Ray gives a node 30 s to start, which are few where its files come over a busy network.
        ((SECONDS - since < 60 && SECONDS < 300)) || over=1
    done
    rm -rf "$(ray_folder)"
    exit 0
fi

started=()  # processes to end when the driver has ended

start_head() {
    local address port
    address=$(address_towards "$1")
    port=$(free_port "$first_port")
    head=$address:$port
    (umask 077 && head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$token")
    say "Ray on $nodes nodes, its head at $head"
    ray_start --head --node-ip-address="$address" --port="$port" --include-dashboard=false &
    started+=($!)
}

# shellcheck disable=SC2317  # the trap calls it
end_ray() {
    kill "${started[@]}" 2> /dev/null
    for _ in {1..20}; do
        kill -0 "${started[@]}" 2> /dev/null || break
        sleep 1
    done
    kill -KILL "${started[@]}" 2> /dev/null
    started=()
    rm -rf "$(ray_folder)" "$token"
}
trap end_ray EXIT

wait_for_nodes() {
    local waiting process
    "$python" -P -m hpo.engines.ray_nodes "$head" "$nodes" 300 &
    waiting=$!
    while kill -0 "$waiting" 2> /dev/null; do
        for process in "${started[@]}"; do
            kill -0 "$process" 2> /dev/null && continue
            say "Ray did not start on all nodes, so the study is not started; it wrote" {{ ray_log | quote }}-*.log
            kill "$waiting"
            exit 1
        done
        sleep 1 &
        wait "$!"
    done
    wait "$waiting" || exit 1  # it has said why
    driver+=(--set engine.name=ray --set "engine.address=$head")
}
