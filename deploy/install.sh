#!/bin/sh
# Installs Shoal on this host from the unpacked package beside it. Needs no network. Running it again upgrades.
# The Engine's containers, and what a task of Shoal runs, are left alone.
#
#   install.sh                 check the host, install, start the waiting daemons
#   install.sh --agent-only    without the manager
#   install.sh --no-start      install, start nothing
#   install.sh --check         only check the host
#   install.sh --with-engine   install a Docker Engine first when there is none (needs a network)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
manager=yes start=yes check_only=no with_engine=no
min_api=41

say() { echo "shoal: $*"; }
warn() { echo "shoal: warning: $*" >&2; }
refused=0
refuse() { echo "shoal: refused: $*" >&2; refused=1; }

for argument in "$@"; do
  case $argument in
    --agent-only) manager=no ;;
    --no-start) start=no ;;
    --check) check_only=yes ;;
    --with-engine) with_engine=yes ;;
    *) echo "shoal: unknown argument $argument; see the head of $0" >&2; exit 2 ;;
  esac
done

check_host() {
  [ "$(id -u)" = 0 ] || refuse "must run as root"
  arch=$(cat "$here/ARCH")
  [ "$(uname -s)-$(uname -m)" = "$arch" ] || refuse "this package is for $arch, this host is $(uname -s)-$(uname -m)"
  family=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}")
  case " $family " in
    *" debian "* | *" ubuntu "*) ;;
    *) warn "tried on Debian and Ubuntu; this is: ${family:-unknown}" ;;
  esac
  if [ ! -s /etc/machine-id ]; then
    refuse "/etc/machine-id is empty: run systemd-machine-id-setup (an identity is bound to it)"
  fi
}

check_engine() {
  if [ "$with_engine" = yes ]; then
    "$here/install-engine.sh"
  fi
  program=$(command -v docker || true)
  if [ -z "$program" ]; then
    refuse "no Docker Engine on this host: run install-engine.sh, or install.sh --with-engine (both need a network)"
    return
  fi
  case $(readlink -f "$program") in
    /snap/* | /usr/bin/snap)
      refuse "the Docker Engine is a snap, whose files the agent cannot share: snap remove docker, then install-engine.sh"
      return
      ;;
  esac
  api=$(docker version --format '{{.Server.APIVersion}}' 2>/dev/null || true)
  if [ -z "$api" ]; then
    refuse "the Docker Engine does not answer: docker version says why"
    return
  fi
  if docker info --format '{{.SecurityOptions}}' 2>/dev/null | grep -q rootless; then
    refuse "the Docker Engine is rootless: it can neither share memory with the agent nor be given ports; install docker.io as root"
  fi
  if [ "${api%%.*}" = 1 ] && [ "${api#*.}" -lt "$min_api" ]; then
    refuse "the Docker Engine speaks API $api; Shoal needs 1.$min_api (Docker 20.10) or newer"
  fi
}

# What the network of tasks stands on is named one by one.
check_kernel() {
  [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ] ||
    refuse "no cgroups with a memory controller at /sys/fs/cgroup: limits could not be kept"
  grep -qw overlay /proc/filesystems || modprobe -q overlay 2>/dev/null ||
    warn "this kernel does not list the file system overlay; the Engine may be slow"
  check_nft
  if command -v ip >/dev/null 2>&1; then
    for kind in bridge veth 'vxlan id 9 dstport 0'; do
      if ip link add shoal-check type $kind 2>/dev/null; then
        ip link del shoal-check
      else
        refuse "this kernel cannot make a ${kind%% *} interface: no task of the cluster could be reached (modprobe ${kind%% *})"
      fi
    done
    check_seal
    if ip rule add pref 17999 nop protocol 171 2>/dev/null; then
      ip rule del pref 17999
    else
      refuse "this kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES): published ports need it"
    fi
  else
    warn "no program ip: what the kernel's network can do is not checked (apt-get install iproute2)"
  fi
}

# Only encrypted networks need it, and there is another way.
check_seal() {
  if ip link add shoal-check type wireguard 2>/dev/null; then
    ip link del shoal-check
  elif [ -e /dev/net/tun ] || modprobe -q tun 2>/dev/null; then
    say "this kernel has no wireguard: encrypted networks are sealed by a program of ours, which is slower (modprobe wireguard)"
  else
    warn "this kernel has neither wireguard nor tun: encrypted networks cannot be used on this host (modprobe wireguard)"
  fi
}

# Each line is tried and not carried out.
check_nft() {
  command -v nft >/dev/null 2>&1 ||
    refuse "no program nft: apt-get install nftables (1.0.6 or newer; tasks are reached through its rules)"
  try_nft "nftables" ""
  try_nft "address translation in nftables (nft_chain_nat)" \
    "add chain ip shoal-check c { type nat hook prerouting priority -105; }"
  chain="add chain ip shoal-check c { type filter hook prerouting priority -155; }; add rule ip shoal-check c"
  try_nft "connection tracking in nftables (nft_ct)" "$chain ct mark set 0x10000"
  try_nft "address lookups in nftables (nft_fib)" "$chain fib daddr type local accept"
  try_nft "maps keyed by chance in nftables (nft_numgen; nft 1.0.6 or newer)" \
    "add map ip shoal-check m { typeof numgen inc mod 2 : ip daddr; }"
}

try_nft() {
  words=$(printf 'add table ip shoal-check\n%s\n' "$2" | nft -c -f - 2>&1) ||
    refuse "this host lacks $1: $(echo "$words" | head -n 1)"
}

check_ports() {
  if ! command -v ss >/dev/null 2>&1; then
    warn "no program ss: whether the ports are free is not checked (apt-get install iproute2)"
    return
  fi
  if [ "$manager" = yes ]; then
    check_port 4600 shoal-manager
    check_port 4601 shoal-manager
  fi
  check_port 4602 shoal-agent
}

check_port() {
  port=$1 owner=$2
  line=$(ss -Hltnp "sport = :$port" 2>/dev/null | head -n 1)
  case $line in
    '' | *"\"$owner\""*) ;;
    *)
      holder=$(echo "$line" | sed -n 's/.*users:((\"\([^\"]*\)\",pid=\([0-9]*\).*/\1 (process \2)/p')
      # The Engine's proxy says little: the container behind it is what can be moved.
      container=$(docker ps --filter "publish=$port" --format '{{.Names}}' 2>/dev/null | head -n 1)
      [ -z "$container" ] || holder="$holder for the container $container"
      refuse "TCP port $port, which $owner needs, is taken by ${holder:-another program}"
      ;;
  esac
}

check_clock() {
  built=$(cat "$here/BUILT")
  now=$(date +%s)
  if [ "$now" -lt "$built" ]; then
    refuse "the clock says $(date -u -d "@$now" +%FT%TZ), $((built - now)) s before this package was built: set the clock"
  fi
  if command -v timedatectl >/dev/null 2>&1 && [ "$(timedatectl show -p NTPSynchronized --value 2>/dev/null)" = no ]; then
    warn "the clock is not synchronised: certificates and logs need clocks that agree (apt-get install chrony)"
  fi
}

# A program is replaced in one step; one that runs keeps its old file until its restart.
put() {
  install -D -m "$3" "$1" "$2.new"
  mv "$2.new" "$2"
}

install_files() {
  for program in shoal shoal-agent shoal-manager; do
    [ "$program" = shoal-manager ] && [ "$manager" = no ] && continue
    put "$here/bin/$program" "/usr/local/bin/$program" 755
  done
  put "$here/mount-secrets" /usr/local/lib/shoal/mount-secrets 755
  put "$here/uninstall.sh" /usr/local/lib/shoal/uninstall.sh 755
  # Shells look there for what no package of the distribution brought.
  put "$here/completion/shoal.bash" /usr/local/share/bash-completion/completions/shoal 644
  put "$here/completion/shoal.zsh" /usr/local/share/zsh/site-functions/_shoal 644
  put "$here/completion/shoal.fish" /etc/fish/completions/shoal.fish 644
  mkdir -p /etc/systemd/system
  for unit in $(units); do
    put "$here/systemd/$unit" "/etc/systemd/system/$unit" 644
  done
  mkdir -p -m 755 /etc/shoal
  mkdir -p -m 700 /var/lib/shoal
}

units() {
  echo shoal-secrets.service shoal-agent.service
  [ "$manager" = no ] || echo shoal-manager.service
}

start_daemons() {
  systemctl daemon-reload
  for unit in $(units); do
    systemctl enable "$unit" 2>/dev/null
    # The secrets' memory is never remounted under running tasks.
    if [ "$unit" = shoal-secrets.service ]; then
      systemctl start "$unit"
    else
      systemctl restart "$unit"
    fi
  done
}

check_host
if [ "$refused" = 0 ]; then
  check_engine
  check_kernel
  check_ports
  check_clock
fi
[ "$refused" = 0 ] || exit 1
if [ "$check_only" = yes ]; then
  say "this host will do"
  exit 0
fi

"$here/install-engine.sh" --configure-only
install_files
say "version $(cat "$here/VERSION") installed in /usr/local/bin"
if [ "$start" = no ]; then
  exit 0
fi
if [ -d /run/systemd/system ]; then
  start_daemons
  say "the daemons run; without an identity they wait"
else
  say "no systemd here; start by hand: /usr/local/lib/shoal/mount-secrets; shoal-manager run & shoal-agent run &"
fi
say "next, on the first host:  shoal-manager init"
say "then, on every other:     shoal-agent join ADDR:4600 --token T   (shoal cluster join-token worker shows T)"
