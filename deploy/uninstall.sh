#!/bin/sh
# Removes Shoal's programs and units from this host. The state in /var/lib/shoal, and tasks' containers, stay unless
# --purge is given. Take the node out of its cluster first: shoal node rm NODE.
#
#   uninstall.sh            programs and units
#   uninstall.sh --purge    and the state, the tasks' containers and networks, the secrets' memory
set -eu
say() { echo "shoal: $*"; }
[ "$(id -u)" = 0 ] || { echo "shoal: refused: must run as root" >&2; exit 1; }
case ${1:-} in
  '' | --purge) ;;
  *) echo "shoal: unknown argument $1; see the head of $0" >&2; exit 2 ;;
esac

if [ -e /var/lib/shoal/identity/cluster.json ]; then
  echo "shoal: warning: this host is a node of a cluster still: shoal node rm $(hostname), on a manager, takes it off the list" >&2
fi
# Whether a process runs the program that is installed here: that very file or, where it was upgraded meanwhile, one of
# its name that is gone, among this host's own processes. A container's program of the same name is another file.
runs() {
  [ "/proc/$2/exe" -ef "$1" ] && return 0
  [ "$(readlink "/proc/$2/exe" 2>/dev/null)" = "$1 (deleted)" ] && [ "/proc/$2/ns/mnt" -ef /proc/self/ns/mnt ]
}

# Daemons that no systemd holds are stopped by their own processes; tasks go on running.
stop_daemon() {
  program=/usr/local/bin/$1
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    runs "$program" "$pid" || continue
    kill "$pid" 2>/dev/null || continue
    tries=0
    while runs "$program" "$pid"; do
      tries=$((tries + 1))
      if [ "$tries" -gt 150 ]; then
        echo "shoal: warning: $1 (process $pid) did not stop within 30 s, and is killed" >&2
        kill -9 "$pid" 2>/dev/null || true
        break
      fi
      sleep 0.2
    done
    say "$1 (process $pid) stopped"
  done
}

# Takes the agent's rules out of the host's firewalls: its own chains with the jumps to them where iptables rules, and
# those that say `shoal` in their comment elsewhere. iptables of the older kind would make its tables by being asked.
close_firewalls() {
  for program in iptables-nft iptables-legacy; do
    command -v "$program" >/dev/null 2>&1 || continue
    if [ "$program" = iptables-legacy ] && ! grep -qx filter /proc/net/ip_tables_names 2>/dev/null; then
      continue
    fi
    saved=$("$program-save" -t filter 2>/dev/null)
    {
      echo "$saved" | sed -n 's/^-A \(.* -j SHOAL-[A-Z]*\)$/-D \1/p'
      echo "$saved" | sed -n 's/^:\(SHOAL-[A-Z]*\) .*/-F \1\n-X \1/p'
    } | while read -r rule; do
      # shellcheck disable=SC2086 # words of a rule; none of these has a blank inside one
      "$program" -w 5 $rule || echo "shoal: warning: a rule of ours stays: $program $rule" >&2
    done
  done
  nft -a list ruleset 2>/dev/null | awk '
    $1 == "table" { table = $2 " " $3 }
    $1 == "chain" { chain = $2 }
    / comment "shoal / { print "delete rule " table " " chain " handle " $NF }' | nft -f - 2>/dev/null || true
}

for unit in shoal-agent.service shoal-manager.service shoal-secrets.service; do
  [ -e "/etc/systemd/system/$unit" ] || continue
  if [ -d /run/systemd/system ]; then
    systemctl disable --now "$unit" 2>/dev/null
  fi
  rm -f "/etc/systemd/system/$unit"
done
[ ! -d /run/systemd/system ] || systemctl daemon-reload
stop_daemon shoal-agent
stop_daemon shoal-manager
rm -f /usr/local/bin/shoal /usr/local/bin/shoal-agent /usr/local/bin/shoal-manager
for script in /usr/local/share/bash-completion/completions/shoal /usr/local/share/zsh/site-functions/_shoal \
  /etc/fish/completions/shoal.fish; do
  rm -f "$script"
  # The folders made for it go with it, as far as nothing else is in them.
  rmdir "${script%/*}" 2>/dev/null && rmdir "$(dirname "${script%/*}")" 2>/dev/null || true
done
say "programs and units removed"

if [ "${1:-}" = --purge ]; then
  containers=$(docker ps --all --quiet --filter label=io.shoal.cluster 2>/dev/null || true)
  if [ -n "$containers" ]; then
    # shellcheck disable=SC2086 # one word per container
    docker rm --force $containers >/dev/null
    say "$(echo "$containers" | wc -l) containers of tasks removed"
  fi
  networks=$(docker network ls --quiet --filter label=io.shoal.cluster 2>/dev/null || true)
  # shellcheck disable=SC2086 # one word per network
  [ -z "$networks" ] || docker network rm $networks >/dev/null
  # What the agent wrote into the kernel: its table, its rules and routes (all of protocol 171), its tunnel.
  nft delete table ip shoal 2>/dev/null || true
  nft delete table bridge shoal 2>/dev/null || true
  if command -v ip >/dev/null 2>&1; then
    ip -4 rule flush protocol 171 2>/dev/null || true
    ip -4 route flush table all protocol 171 2>/dev/null || true
    for device in shlvxe shlwg shlvx; do
      ip link del "$device" 2>/dev/null || true
    done
  fi
  close_firewalls
  secrets=/run/shoal/secrets
  [ "$(stat -c %m "$secrets" 2>/dev/null)" != "$secrets" ] || umount "$secrets"
  for folder in /var/lib/shoal /etc/shoal /run/shoal; do
    [ -d "$folder" ] || continue
    find "$folder" -mindepth 1 -delete
    # A disk of its own that is mounted there stays, empty.
    rmdir "$folder" 2>/dev/null || true
  done
  say "state removed"
else
  say "the state stays in /var/lib/shoal; --purge removes it and the tasks' containers"
fi
rm -rf /usr/local/lib/shoal
