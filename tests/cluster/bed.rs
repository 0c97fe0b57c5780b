//! The bed keeps its promises: hosts are separate, a power cut is a power cut, units are kept running.

use std::time::Duration;

use shoal_tests::bed::registry::{Access, PASSWORD, Registry, USER};
use shoal_tests::bed::{Bed, Result, image};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn hosts_are_separate_and_reach_each_other() -> Result<()> {
    let bed = Bed::new(2)?;
    let (first, second) = (bed.host(1), bed.host(2));
    assert_eq!(first.sh("hostname")?, "h1");
    assert_ne!(
        first.sh("cat /etc/machine-id")?,
        second.sh("cat /etc/machine-id")?
    );
    first.sh("busybox ping -c 1 -W 2 10.99.0.12")?;
    second.unplug()?;
    assert!(
        !first.exec("busybox ping -c 1 -W 1 10.99.0.12")?.success(),
        "an unplugged host answers"
    );
    second.plug()?;
    first.wait_sh("h2 to answer again", SOON, "busybox ping -c 1 -W 1 10.99.0.12")?;
    first.sh("touch /var/lib/shoal/mine /etc/mine")?;
    assert!(
        !second.exec("ls /var/lib/shoal/mine /etc/mine")?.success(),
        "disks are shared"
    );
    Ok(())
}

#[test]
fn a_power_cut_takes_processes_and_leaves_the_disk() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    image::load(bed.hosts())?;
    let boot = host.sh("cat /proc/sys/kernel/random/boot_id")?;
    host.sh("docker run --detach --name web --publish 8000:8000 shoal/web:1")?;
    host.wait_sh("web to answer", SOON, "curl -sf http://10.99.0.11:8000/")?;
    host.sh("echo kept > /var/lib/shoal/note; touch /run/gone")?;
    host.reboot()?;
    assert_ne!(
        host.sh("cat /proc/sys/kernel/random/boot_id")?,
        boot,
        "a boot has an id of its own"
    );
    assert_eq!(host.sh("cat /var/lib/shoal/note")?, "kept");
    assert!(
        !host.exec("ls /run/gone")?.success(),
        "/run outlived the power cut"
    );
    assert_eq!(
        host.sh("docker inspect --format '{{.State.Running}}' web")?,
        "false"
    );
    Ok(())
}

#[test]
fn containers_outlive_a_killed_engine_with_live_restore() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    image::load(bed.hosts())?;
    host.sh("docker run --detach --name idle shoal/idle:1")?;
    let before = host.sh("docker inspect --format '{{.State.StartedAt}}' idle")?;
    host.engine_kill()?;
    assert!(!host.exec("docker ps")?.success());
    host.engine_start()?;
    assert_eq!(
        host.sh("docker inspect --format '{{.State.StartedAt}}' idle")?,
        before
    );
    assert_eq!(
        host.sh("docker inspect --format '{{.State.Running}}' idle")?,
        "true"
    );
    Ok(())
}

#[test]
fn the_third_web_image_fails_its_health_check() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    image::load(bed.hosts())?;
    for (version, health) in [(2, "healthy"), (3, "unhealthy")] {
        host.sh(&format!(
            "docker run --detach --name web{version} shoal/web:{version}"
        ))?;
        let look =
            format!("docker inspect --format '{{{{.State.Health.Status}}}}' web{version} | grep -x {health}");
        host.wait_sh(health, SOON, &look)?;
    }
    Ok(())
}

#[test]
fn a_unit_is_restarted_by_its_own_rules_and_comes_back_after_a_boot() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    let unit = "[Service]\nExecStart=/bin/sh -c 'read code < /root/code; [ $code = 0 ] && exec sleep 1000; exit $code'\n\
        Restart=on-failure\nRestartSec=100ms\nRestartPreventExitStatus=64\n[Install]\nWantedBy=multi-user.target\n";
    host.put("/etc/systemd/system/x.service", unit)?;
    host.put("/root/code", "0\n")?;
    host.sh("systemctl enable --now x")?;
    let first = host.unit_pid("x")?;
    host.kill("x", "KILL")?;
    host.wait_sh(
        "x to restart",
        SOON,
        "systemctl show -p NRestarts --value x | grep -x 1",
    )?;
    host.wait_sh("x to run", SOON, "systemctl is-active x")?;
    assert_ne!(host.unit_pid("x")?, first);
    host.reboot()?;
    host.sh("systemctl is-active x")?;
    host.put("/root/code", "64\n")?;
    host.kill("x", "KILL")?;
    host.wait_sh(
        "x to fail for good",
        SOON,
        "systemctl is-active x | grep -x failed",
    )?;
    Ok(())
}

#[test]
fn beds_run_side_by_side_and_leave_nothing_behind() -> Result<()> {
    let (one, two) = (Bed::new(1)?, Bed::new(1)?);
    assert_ne!(one.name(), two.name());
    assert_eq!(one.host(1).address(), two.host(1).address());
    one.host(1).sh("touch /var/lib/shoal/mine")?;
    assert!(!two.host(1).exec("ls /var/lib/shoal/mine")?.success());
    let (name, dir) = (one.name().to_owned(), one.dir().clone());
    drop(one);
    assert!(!dir.exists());
    assert!(!shoal_tests::bed::must("ip", &["netns", "list"])?.contains(&name));
    two.host(1).sh("true")?;
    Ok(())
}

#[test]
fn a_registry_with_a_password_refuses_who_has_none() -> Result<()> {
    let bed = Bed::new(2)?;
    let (first, second) = (bed.host(1), bed.host(2));
    image::load(&bed.hosts()[..1])?;
    let registry = Registry::start(&bed, 5000, Access::Password)?;
    let name = registry.push(first, "shoal/idle:1")?;
    let out = second.exec(&format!("docker pull {name}"))?;
    assert!(out.stderr.contains("no basic auth credentials"), "{}", out.text());
    second.sh(&format!(
        "docker login -u {USER} -p {PASSWORD} {}",
        registry.address()
    ))?;
    second.sh(&format!("docker pull {name}"))?;
    Ok(())
}
