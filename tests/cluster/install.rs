//! The package is installed the way an operator does it: checks that name what is wrong, repeatable, and without a
//! touch on what runs already.

use shoal_tests::bed::{Bed, Engine, LiveRestore, Options, Result, image, package};

/// A stand-in for the Docker CLI that claims to talk to another Engine.
fn pretend(version: &str, security: &str) -> String {
    format!("#!/bin/sh\ncase $1 in version) echo {version} ;; info) echo '{security}' ;; esac\n")
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
    let first = package::install(host, "")?.ok()?;
    assert!(first.contains("live-restore set"), "{first}");
    assert_eq!(host.sh("docker info --format '{{.LiveRestoreEnabled}}'")?, "true");
    host.sh("test -x /usr/local/bin/shoal && test -x /usr/local/bin/shoal-manager")?;
    for unit in ["shoal-manager", "shoal-agent", "shoal-secrets"] {
        host.sh(&format!("systemctl is-enabled {unit}"))?;
    }
    host.sh("grep -q ' /run/shoal/secrets tmpfs ' /proc/mounts")?;
    let again = package::install(host, "")?.ok()?;
    assert!(again.contains("live-restore is set"), "{again}");
    assert_eq!(host.sh(started)?, before, "the Engine's containers were touched");
    host.sh("/usr/local/lib/shoal/uninstall.sh")?;
    host.sh("test ! -e /usr/local/bin/shoal && test -d /var/lib/shoal")?;
    assert_eq!(host.sh(started)?, before);
    Ok(())
}

#[test]
fn an_engine_that_cannot_serve_is_refused_by_name() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    for (version, security, words) in [
        ("1.40", "[]", "speaks API 1.40; Shoal needs 1.41"),
        ("1.41", "[name=seccomp name=rootless]", "is rootless"),
        ("", "[]", "does not answer"),
    ] {
        host.put("/run/bed/bin/docker", pretend(version, security))?;
        host.sh("chmod 755 /run/bed/bin/docker")?;
        let out = package::install(host, "--check")?;
        assert_eq!(out.code, Some(1), "{}", out.text());
        assert!(out.stderr.contains(words), "{}", out.text());
    }
    // A snap's programs are links to /usr/bin/snap; only this host sees the one made here.
    let overlay = "lowerdir=/usr/bin,upperdir=/var/lib/shoal/upper,workdir=/var/lib/shoal/work";
    host.sh("mkdir /var/lib/shoal/upper /var/lib/shoal/work")?;
    host.sh(&format!("mount -t overlay overlay -o {overlay} /usr/bin"))?;
    host.sh("mv /run/bed/bin/docker /usr/bin/snap && ln -s /usr/bin/snap /run/bed/bin/docker")?;
    let out = package::install(host, "--check")?;
    assert_eq!(out.code, Some(1), "{}", out.text());
    assert!(out.stderr.contains("is a snap"), "{}", out.text());
    Ok(())
}

#[test]
fn a_host_without_an_engine_is_told_how_to_get_one() -> Result<()> {
    let bed = Bed::with(
        1,
        &Options {
            engine: Engine::Absent,
            ..Options::default()
        },
    )?;
    let out = package::install(bed.host(1), "--check")?;
    assert_eq!(out.code, Some(1), "{}", out.text());
    assert!(
        out.stderr.contains("the Docker Engine does not answer"),
        "{}",
        out.text()
    );
    Ok(())
}

#[test]
fn a_taken_port_is_named_with_its_holder() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    image::load(bed.hosts())?;
    host.sh("docker run --detach --publish 4600:8000 shoal/web:1")?;
    let out = package::install(host, "--check")?;
    assert_eq!(out.code, Some(1), "{}", out.text());
    assert!(out.stderr.contains("TCP port 4600"), "{}", out.text());
    assert!(out.stderr.contains("docker-proxy (process "), "{}", out.text());
    Ok(())
}
