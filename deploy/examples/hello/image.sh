#!/bin/sh
# Makes the image shoal/hello:1 on this host's Engine from the static busybox of this machine. Nothing is pulled.
# Running it again changes nothing.
set -eu
if docker image inspect shoal/hello:1 >/dev/null 2>&1; then
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/etc" "$work/tmp" "$work/proc" "$work/sys" "$work/dev" "$work/www/cgi-bin"
cp /bin/busybox "$work/bin/busybox"
for applet in $(/bin/busybox --list); do
  [ "$applet" = busybox ] || ln -s busybox "$work/bin/$applet"
done
echo 'root:x:0:0:root:/:/bin/sh' >"$work/etc/passwd"

# Ends at once on TERM, as process 1 of a container must see to itself.
cat >"$work/bin/web" <<'WEB'
#!/bin/sh
trap 'kill $!; exit 0' TERM INT
httpd -f -h /www -p 8000 & wait
WEB
cat >"$work/www/cgi-bin/index.cgi" <<'PAGE'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n%s, from %s\n' "${GREETING:-hello}" "$(hostname)"
PAGE
cat >"$work/bin/healthy" <<'HEALTHY'
#!/bin/sh
wget -q -O /dev/null http://127.0.0.1:8000/
HEALTHY
chmod 755 "$work/bin/web" "$work/bin/healthy" "$work/www/cgi-bin/index.cgi"
tar -C "$work" --owner=0 --group=0 -cf - . |
  docker import -c 'CMD ["/bin/web"]' -c 'EXPOSE 8000' - shoal/hello:1 >/dev/null
