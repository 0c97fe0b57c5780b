//! The package is installed the way an operator does it: checks that name what is wrong, repeatable, offline, and without
//! a touch on what runs already.

use shoal_tests::bed::{Bed, Engine, Host, LiveRestore, Options, Result, image, package};
use shoal_tests::cluster::Cluster;

/// A stand-in for the Docker CLI that claims to talk to another Engine.
fn pretend(version: &str, security: &str) -> String {
    format!("#!/bin/sh\ncase $1 in version) echo {version} ;; info) echo '{security}' ;; esac\n")
}

/// Whether the secrets' memory is mounted, for `test`.
const MEMORY: &str = "\"$(stat -c %m /run/shoal/secrets 2>/dev/null)\" = /run/shoal/secrets";

/// The scripts that complete words, in the folders where shells look.
const SCRIPTS: [&str; 3] = [
    "/usr/local/share/bash-completion/completions/shoal",
    "/usr/local/share/zsh/site-functions/_shoal",
    "/etc/fish/completions/shoal.fish",
];

/// A program that only this host has, before all others of that name.
fn put_program(host: &Host, name: &str, text: String) -> Result<()> {
    let path = format!("/run/bed/bin/{name}");
    host.put(&path, text)?;
    host.sh(&format!("chmod 755 {path}")).map(drop)
}

/// Checks the host with the package that is unpacked there, and expects a refusal in these words.
fn refused(host: &Host, arguments: &str, words: &str) -> Result<()> {
    let out = host.exec(&format!("shoal-package/install.sh --check {arguments}"))?;
    assert_eq!(out.code, Some(1), "{words}: {}", out.text());
    assert!(out.stderr.contains("shoal: refused: "), "{}", out.text());
    assert!(out.stderr.contains(words), "{words}: {}", out.text());
    Ok(())
}

/// Checks the host, and expects that it will do, with a warning in these words.
fn warned(host: &Host, words: &str) -> Result<()> {
    let out = host.exec("shoal-package/install.sh --check")?;
    assert_eq!(out.code, Some(0), "{words}: {}", out.text());
    assert!(out.stderr.contains("shoal: warning: "), "{}", out.text());
    assert!(out.stderr.contains(words), "{words}: {}", out.text());
    Ok(())
}

#[test]
fn an_install_is_repeatable_and_leaves_containers_alone() -> Result<()> {
    let bed = Bed::with(
        1,
        &Options {
            live_restore: LiveRestore::Off,
            ..Options::default()
        },
    )?;
    let host = bed.host(1);
    image::load(bed.hosts())?;
    host.sh("docker run --detach --name mine shoal/idle:1")?;
    let started = "docker inspect --format '{{.State.StartedAt}} {{.State.Running}}' mine";
    let before = host.sh(started)?;
    // Offline, and on Ubuntu as on Debian.
    host.unplug()?;
    host.put("/etc/os-release", "ID=ubuntu\nID_LIKE=debian\n")?;
    let first = package::install(host, "")?;
    assert!(!first.stderr.contains("tried on"), "{}", first.text());
    let first = first.ok()?;
    assert!(first.contains("live-restore set"), "{first}");
    assert_eq!(host.sh("docker info --format '{{.LiveRestoreEnabled}}'")?, "true");
    host.sh("test -x /usr/local/bin/shoal && test -x /usr/local/bin/shoal-manager")?;
    for script in SCRIPTS {
        host.sh(&format!("grep 'shoal __complete' {script}"))?;
    }
    for unit in ["shoal-manager", "shoal-agent", "shoal-secrets"] {
        host.sh(&format!("systemctl is-enabled {unit}"))?;
    }
    host.sh(&format!("test {MEMORY}"))?;
    assert_eq!(
        host.sh("stat --file-system --format %T /run/shoal/secrets")?,
        "tmpfs"
    );
    let again = package::install(host, "")?.ok()?;
    assert!(again.contains("live-restore is set"), "{again}");
    assert_eq!(host.sh(started)?, before, "the Engine's containers were touched");
    host.sh("/usr/local/lib/shoal/uninstall.sh")?;
    host.sh("test ! -e /usr/local/bin/shoal && test -d /var/lib/shoal")?;
    for script in SCRIPTS {
        host.sh(&format!("test ! -e {script}"))?;
    }
    host.sh("! systemctl is-active shoal-agent && ! systemctl is-active shoal-manager")?;
    host.sh("shoal-package/uninstall.sh")?;
    assert_eq!(host.sh(started)?, before);
    an_engine_that_is_off_is_started(host)?;
    without_systemd(host)
}

/// Where an Engine is installed, `--with-engine` fetches nothing: it starts it.
fn an_engine_that_is_off_is_started(host: &Host) -> Result<()> {
    host.sh("systemctl stop docker && ! docker version")?;
    let out = host.exec("shoal-package/install.sh --check --with-engine")?;
    assert_eq!(out.code, Some(0), "{}", out.text());
    for words in ["starting it through systemd", "this host will do"] {
        assert!(out.stdout.contains(words), "{words}: {}", out.text());
    }
    host.sh("systemctl is-active docker && docker version").map(drop)
}

/// Daemons that were started by hand are stopped, and nobody else: not even a program of the same name.
fn without_systemd(host: &Host) -> Result<()> {
    host.sh("umount /run/systemd/system 2>/dev/null || rm -rf /run/systemd/system")?;
    let said = host.exec("shoal-package/install.sh --no-start")?.ok()?;
    assert!(!said.contains("the daemons run"), "{said}");
    let said = host.exec("shoal-package/install.sh")?.ok()?;
    assert!(said.contains("no systemd here; start by hand: "), "{said}");
    host.sh("mkdir -p /root/own && cp /usr/local/bin/shoal-agent /root/own/")?;
    host.sh("/usr/local/lib/shoal/mount-secrets")?;
    for daemon in ["shoal-manager", "shoal-agent"] {
        host.sh(&format!(
            "setsid {daemon} run >/root/{daemon}.log 2>&1 </dev/null & true"
        ))?;
        let socket = daemon.trim_start_matches("shoal-");
        host.wait_sh(
            "a daemon by hand",
            PORT_WITHIN,
            &format!("test -S /run/shoal/{socket}.sock"),
        )?;
    }
    let other =
        "/root/own/shoal-agent run --data-dir /root/own/data --socket /root/own/sock --health 127.0.0.1:4799";
    host.sh(&format!("setsid {other} --secrets-dir /run/shoal/secrets >/root/own/log 2>&1 </dev/null & echo $! >/root/own/pid"))?;
    host.wait_sh("another agent", PORT_WITHIN, "test -S /root/own/sock")?;
    // An upgrade replaces the file under the program that runs.
    host.exec("shoal-package/install.sh --no-start")?.ok()?;
    let said = host.sh("/usr/local/lib/shoal/uninstall.sh")?;
    for daemon in ["shoal-manager", "shoal-agent"] {
        assert!(said.contains(&format!("{daemon} (process ")), "{said}");
    }
    host.sh("! ss -Hltn | grep -qE ':460[012] '")?;
    host.sh("kill -0 $(cat /root/own/pid) && kill $(cat /root/own/pid)")
        .map(drop)
}

#[test]
fn a_purge_takes_the_tasks_and_the_state_and_nothing_else() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let host = cluster.bed.host(1);
    host.sh("docker run --detach --name mine shoal/idle:1 && docker network create mine")?;
    host.sh("echo hush | shoal secret create word -")?;
    host.sh("shoal network create net")?;
    cluster.ok("service create --name web --secret word --network net --no-resolve-image shoal/web:1")?;
    // The Engine's rules drop what is forwarded; a firewall of nftables has rules of ours, too.
    let wall = "add table inet wall; add chain inet wall in { type filter hook input priority 5; policy accept; }; \
                add rule inet wall in tcp dport 1 drop";
    host.sh(&format!("nft '{wall}'"))?;
    host.wait_sh(
        "our rules",
        std::time::Duration::from_secs(60),
        "iptables-nft-save | grep SHOAL-FORWARD && nft list chain inet wall in | grep shoal",
    )?;
    let out = host.exec("/usr/local/lib/shoal/uninstall.sh --purge")?;
    assert!(
        out.stderr.contains("is a node of a cluster still"),
        "{}",
        out.text()
    );
    let said = out.ok()?;
    assert!(said.contains("1 containers of tasks removed"), "{said}");
    // The bed mounts a disk there, as an operator may.
    host.sh("test -z \"$(ls -A /var/lib/shoal /etc/shoal | grep -v :)\" && test ! -e /run/shoal")?;
    host.sh(&format!("! test {MEMORY}"))?;
    assert_eq!(host.sh("docker ps --all --format '{{.Names}}'")?, "mine");
    let networks = host.sh("docker network ls --filter driver=bridge --format '{{.Name}}' | sort | xargs")?;
    assert_eq!(networks, "bridge mine");
    host.sh("! iptables-nft-save | grep -e SHOAL && ! nft list ruleset | grep -i shoal")?;
    Ok(())
}

#[test]
fn an_engine_that_cannot_serve_is_refused_by_name() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    package::install(host, "--check")?.ok()?;
    for (version, security, words) in [
        ("1.40", "[]", "speaks API 1.40; Shoal needs 1.41"),
        ("1.41", "[name=seccomp name=rootless]", "is rootless"),
        ("", "[]", "does not answer"),
    ] {
        put_program(host, "docker", pretend(version, security))?;
        refused(host, "", words)?;
    }
    // A snap's programs are links to /usr/bin/snap; only this host sees the one made here.
    let overlay = "lowerdir=/usr/bin,upperdir=/var/lib/shoal/upper,workdir=/var/lib/shoal/work";
    host.sh("mkdir -p /var/lib/shoal/upper /var/lib/shoal/work")?;
    host.sh(&format!("mount -t overlay overlay -o {overlay} /usr/bin"))?;
    host.sh("mv /run/bed/bin/docker /usr/bin/snap && ln -s /usr/bin/snap /run/bed/bin/docker")?;
    refused(host, "", "is a snap")?;
    host.sh("rm /run/bed/bin/docker /usr/bin/docker /usr/local/bin/docker")?;
    refused(host, "", "no Docker Engine on this host")
}

#[test]
fn a_host_whose_engine_is_off_is_told_how_to_look() -> Result<()> {
    let bed = Bed::with(
        1,
        &Options {
            engine: Engine::Absent,
            ..Options::default()
        },
    )?;
    let out = package::install(bed.host(1), "--check")?;
    assert_eq!(out.code, Some(1), "{}", out.text());
    let words = "the Docker Engine does not answer: docker version says why";
    assert!(out.stderr.contains(words), "{}", out.text());
    Ok(())
}

#[test]
fn a_taken_port_is_named_with_its_holder() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    image::load(bed.hosts())?;
    package::install(host, "--check")?.ok()?;
    host.sh("docker run --detach --name old --publish 4600:8000 shoal/web:1")?;
    refused(
        host,
        "",
        "TCP port 4600, which shoal-manager needs, is taken by docker-proxy (process ",
    )?;
    refused(host, "", "for the container old")?;
    // A host without a manager does not need it.
    host.sh("shoal-package/install.sh --check --agent-only")?;
    host.sh("docker rm --force old")?;
    for (port, owner) in [(4601, "shoal-manager"), (4602, "shoal-agent")] {
        host.sh(&format!(
            "busybox nc -l -p {port} 127.0.0.1 >/dev/null 2>&1 & echo $! >/run/holder; true"
        ))?;
        host.wait_sh(
            "the port to be taken",
            PORT_WITHIN,
            &format!("ss -Hltn | grep -q :{port}"),
        )?;
        let words = format!("TCP port {port}, which {owner} needs, is taken by busybox (process ");
        refused(host, "", &words)?;
        host.sh("kill $(cat /run/holder)")?;
    }
    Ok(())
}

const PORT_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn a_host_that_cannot_keep_a_promise_is_refused_and_a_lesser_one_warned() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    package::install(host, "--check")?.ok()?;
    warn_about_the_host(host)?;
    refuse_the_host(host)
}

/// What tasks run without.
fn warn_about_the_host(host: &Host) -> Result<()> {
    put_program(host, "timedatectl", "#!/bin/sh\necho no\n".to_owned())?;
    warned(host, "the clock is not synchronised")?;
    host.sh("rm /run/bed/bin/timedatectl && cp -p /etc/os-release /root/os")?;
    host.put("/etc/os-release", "ID=fedora\n")?;
    warned(host, "tried on Debian and Ubuntu; this is: fedora")?;
    host.sh("cp -p /root/os /etc/os-release").map(drop)
}

/// What tasks do not run without, or would be wrong about.
fn refuse_the_host(host: &Host) -> Result<()> {
    let lacks = [
        ("ip", "vxlan", "this kernel cannot make a vxlan interface"),
        ("ip", "rule add", "this kernel has no policy routing"),
    ];
    for (program, what, words) in lacks {
        let text = format!(
            "#!/bin/sh\ncase \"$*\" in *\"{what}\"*) exit 2 ;; esac\nexec /usr/sbin/{program} \"$@\"\n"
        );
        put_program(host, program, text)?;
        refused(host, "", words)?;
    }
    host.sh("rm /run/bed/bin/ip")?;
    put_program(
        host,
        "nft",
        "#!/bin/sh\necho no such feature >&2; exit 1\n".to_owned(),
    )?;
    refused(host, "", "this host lacks nftables: no such feature")?;
    host.sh("rm /run/bed/bin/nft")?;
    host.sh("cp shoal-package/BUILT built && expr $(cat built) + 90000 >shoal-package/BUILT")?;
    refused(host, "", "s before this package was built: set the clock")?;
    host.sh(
        "cp built shoal-package/BUILT && cp shoal-package/ARCH arch && echo Linux-vax >shoal-package/ARCH",
    )?;
    refused(host, "", "this package is for Linux-vax, this host is Linux-")?;
    host.sh("cp arch shoal-package/ARCH && cp -r shoal-package /tmp/ && chmod -R a+rX /tmp/shoal-package")?;
    let out = host.exec("setpriv --reuid 65534 --clear-groups /tmp/shoal-package/install.sh --check")?;
    assert!(out.stderr.contains("must run as root"), "{}", out.text());
    host.sh("cp /etc/machine-id id && : >/etc/machine-id")?;
    refused(host, "", "/etc/machine-id is empty")?;
    host.sh("cat id >/etc/machine-id && mount -t tmpfs none /sys/fs/cgroup")?;
    refused(host, "", "no cgroups with a memory controller")?;
    host.sh("test ! -e /usr/local/bin/shoal").map(drop)
}
