# A private Docker Engine: its own network, mounts and processes, all gone with whoever holds the other end of standard
# input. Words on standard input: stop, start, registry, hang, go. Arguments: directory, then further flags of dockerd.
set -eu
dir=$1
shift
if [ "${SHOAL_BED_INSIDE:-}" = "" ]; then
  SHOAL_BED_INSIDE=yes unshare --net --mount --pid --fork --mount-proc --propagation slave --kill-child \
    sh "$0" "$dir" "$@" || true
  # The kernel lets go of the mounts a moment after the processes.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$dir" 2>/dev/null && exit 0
    sleep 0.2
  done
  exit 0
fi
ip link set lo up
# For tests of propagation.
mkdir "$dir/shared"
mount -t tmpfs shared "$dir/shared"
mount --make-shared "$dir/shared"
# Nothing of the host's own Engine.
echo '{}' >"$dir/daemon.json"
start() {
  rm -f "$dir/docker.pid"
  dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/docker.pid" -H "unix://$dir/docker.sock" \
    --cgroup-parent "/shoal-engine-tests" --storage-driver overlay2 "$@" </dev/null >>"$dir/dockerd.log" 2>&1 &
  pid=$!
}
start "$@"
while read -r word; do
  case $word in
    stop) kill -TERM $pid; wait $pid || true ;;
    start) start "$@" ;;
    registry) docker-registry serve "$dir/registry.yml" </dev/null >>"$dir/registry.log" 2>&1 & ;;
    hang) kill -STOP $pid ;;
    go) kill -CONT $pid ;;
  esac
done
