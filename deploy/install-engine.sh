#!/bin/sh
# Sees to a Docker Engine on this host: installs Debian's docker.io when none is there, starts it (through systemd
# where that is process 1, directly where not), and lets containers outlive a restart of the Engine (live-restore)
# unless it is in Swarm mode. Says what it does. Running it again changes nothing. Containers are never touched.
#
#   install-engine.sh                    all of that
#   install-engine.sh --configure-only   only live-restore, on the Engine that is there
set -eu

say() { echo "engine: $*"; }
refuse() { echo "engine: $*" >&2; exit 1; }

systemd() { [ -d /run/systemd/system ]; }
answers() { docker version --format '{{.Server.APIVersion}}' >/dev/null 2>&1; }

install_engine() {
  if command -v dockerd >/dev/null 2>&1; then
    return
  fi
  command -v apt-get >/dev/null 2>&1 || refuse "no Docker Engine, and no apt-get to install one: see https://docs.docker.com/engine/install/"
  say "no Docker Engine here: installing the package docker.io"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends docker.io iptables ca-certificates >/dev/null
}

start_engine() {
  if answers; then
    return
  fi
  if systemd; then
    say "starting it through systemd"
    systemctl enable --now docker
  else
    say "no systemd here: starting dockerd in the background, log in /var/log/dockerd.log"
    rm -f /var/run/docker.pid
    setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &
  fi
  tries=0
  until answers; do
    tries=$((tries + 1))
    if [ "$tries" -gt 150 ]; then
      tail -n 5 /var/log/dockerd.log 2>/dev/null || true
      refuse "it did not answer within 30 s; see the lines above or: journalctl -u docker"
    fi
    sleep 0.2
  done
}

reload_engine() {
  if systemd && systemctl is-active --quiet docker; then
    systemctl reload docker
  else
    kill -HUP "$(cat /var/run/docker.pid)"
  fi
}

keep_containers_over_restarts() {
  state=$(docker info --format '{{.Swarm.LocalNodeState}}')
  if [ "$state" != inactive ] && [ -n "$state" ]; then
    say "it is in Swarm mode ($state), which excludes live-restore: left as it is"
    return
  fi
  if [ "$(docker info --format '{{.LiveRestoreEnabled}}')" = true ]; then
    say "live-restore is set"
    return
  fi
  config=/etc/docker/daemon.json
  if [ -s "$config" ] && grep -q '"live-restore"' "$config"; then
    say "$config turns live-restore off: left as it is; containers will stop when the Engine restarts"
    return
  fi
  mkdir -p /etc/docker
  if [ -s "$config" ]; then
    cp -p "$config" "$config.before-shoal"
  else
    echo '{}' >"$config"
  fi
  # Put the key first; a comma follows unless the object was empty.
  tr '\n' ' ' <"$config" | sed -e 's/^ *{ *}/{"live-restore": true}/' -e t -e 's/{/{"live-restore": true, /' >"$config.new"
  mv "$config.new" "$config"
  reload_engine
  tries=0
  until [ "$(docker info --format '{{.LiveRestoreEnabled}}')" = true ]; do
    tries=$((tries + 1))
    [ "$tries" -gt 50 ] && refuse "it did not take live-restore from $config"
    sleep 0.1
  done
  say "live-restore set in $config: containers keep running while the Engine restarts"
}

[ "$(id -u)" = 0 ] || refuse "must run as root"
case ${1:-} in
  '')
    install_engine
    start_engine
    ;;
  --configure-only) answers || refuse "no Engine answers on this host" ;;
  *) refuse "unknown argument $1" ;;
esac
keep_containers_over_restarts
say "$(docker version --format 'Docker Engine {{.Server.Version}}, API {{.Server.APIVersion}}')"
