//! One host of a bed: a process that is the first of its own namespaces, with an Engine, an address and a disk.
//! Killing that process is a power cut. Everything here blocks, and ends at its deadline.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::layout::{HostLayout, Layout};
use super::process::{CGROUP_VARIABLE, SEARCH_PATH};
use super::run::{BedError, Output, Result, describe, must, read, run_command, wait_for, write};
use super::{Options, cgroup, switch};

/// How long a command inside a host may take unless [`Host::exec_within`] says otherwise.
pub const EXEC_WITHIN: Duration = Duration::from_secs(120);
const BOOT_WITHIN: Duration = Duration::from_secs(120);
const POWER_OFF_WITHIN: Duration = Duration::from_secs(60);

/// A host of a [`super::Bed`].
#[derive(Debug)]
pub struct Host {
    bed: Layout,
    layout: HostLayout,
    options: Options,
}

impl Host {
    pub(super) fn new(bed: &Layout, number: usize, options: &Options) -> Self {
        Self {
            bed: bed.clone(),
            layout: bed.host(number),
            options: options.clone(),
        }
    }

    /// From 1.
    pub fn number(&self) -> usize {
        self.layout.number
    }

    /// The hostname: `h1`.
    pub fn name(&self) -> &str {
        &self.layout.name
    }

    /// The host's address on the switch.
    pub fn address(&self) -> &str {
        &self.layout.address
    }

    /// The host's IPv6 address on the switch.
    pub fn ipv6_address(&self) -> &str {
        &self.layout.ipv6_address
    }

    /// Where a file under `/var/lib/shoal`, `/var/lib/docker` or `/etc/shoal` lies on the machine, power or not.
    pub fn own_path(&self, path: &str) -> PathBuf {
        self.layout.own(path)
    }

    /// True while the host has power.
    pub fn is_on(&self) -> bool {
        self.pid().is_some()
    }

    fn pid(&self) -> Option<u32> {
        let pid: u32 = read(&self.layout.pid_file()).ok()?.trim().parse().ok()?;
        // A number may be used again: the host's first process is number 1 of a nested namespace.
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let first = status
            .lines()
            .any(|l| l.starts_with("NSpid:") && l.split_whitespace().last() == Some("1"));
        first.then_some(pid)
    }

    fn need_power(&self) -> Result<u32> {
        self.pid()
            .ok_or_else(|| BedError::Refused(format!("{} has no power; boot it first", self.name())))
    }

    /// Gives the host power: namespaces, supervisor, enabled units; returns when its Engine answers.
    pub fn boot(&self) -> Result<()> {
        if self.is_on() {
            return Ok(());
        }
        self.prepare_disk()?;
        switch::cable(&self.bed, &self.layout)?;
        self.start_first_process()?;
        if self.options.engine == super::Engine::Present {
            self.wait_engine()?;
        }
        Ok(())
    }

    /// Writes what a host finds on its disk at its first boot, and the id of this boot.
    fn prepare_disk(&self) -> Result<()> {
        let disk = self.layout.dir.join("disk");
        let number = self.number();
        let bed_pid = self
            .bed
            .name
            .bytes()
            .fold(0u64, |sum, b| sum.wrapping_mul(131).wrapping_add(u64::from(b)));
        let machine_id = self.options.machine_id.clone();
        let machine_id = machine_id.unwrap_or_else(|| format!("{bed_pid:024x}{number:08x}"));
        write(
            &self.layout.dir.join("boot_id"),
            must("cat", &["/proc/sys/kernel/random/uuid"])? + "\n",
        )?;
        if disk.join("etc/machine-id").exists() {
            return Ok(());
        }
        write(&disk.join("etc/machine-id"), format!("{machine_id}\n"))?;
        write(&disk.join("etc/hostname"), format!("{}\n", self.name()))?;
        write(
            &disk.join("etc/hosts"),
            format!("127.0.0.1 localhost\n127.0.1.1 {}\n", self.name()),
        )?;
        write(&disk.join("etc/resolv.conf"), "")?;
        let live_restore = self.options.live_restore == super::LiveRestore::On;
        let config = if live_restore {
            "{\"live-restore\": true}\n"
        } else {
            "{}\n"
        };
        write(&disk.join("etc/docker/daemon.json"), config)?;
        if self.options.engine == super::Engine::Absent {
            return Ok(());
        }
        write(
            &self.layout.own("/etc/systemd/system/docker.service"),
            self.engine_unit(),
        )?;
        let wants = self.layout.own("/etc/systemd/system/multi-user.target.wants");
        super::run::make_dir(&wants)?;
        let link = wants.join("docker.service");
        std::os::unix::fs::symlink("/etc/systemd/system/docker.service", &link)
            .map_err(|source| BedError::File { path: link, source })
    }

    /// The Engine's unit. Its containers live in a cgroup of their own, so that its own cost can be measured.
    fn engine_unit(&self) -> String {
        let cgroup = &self.layout.cgroup;
        let extra = &self.options.engine_flags;
        format!(
            "[Unit]\nDescription=Docker Engine of a bed host\n[Service]\nType=simple\n\
             ExecStartPre=/bin/rm -f /run/docker.pid\n\
             ExecStart=/usr/sbin/dockerd --log-level warn --pidfile /run/docker.pid -H unix:///run/docker.sock \
             --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /{cgroup}/containers \
             --insecure-registry 10.99.0.0/24 {extra}\n\
             ExecReload=/bin/kill -s HUP $MAINPID\nKillMode=process\nRestart=no\nTimeoutStopSec=20s\n\
             [Install]\nWantedBy=multi-user.target\n"
        )
    }

    fn start_first_process(&self) -> Result<()> {
        let dir = &self.layout.dir;
        let boots = std::fs::read_dir(dir).map_or(0, Iterator::count);
        let pid_file = self.layout.pid_file();
        let _absent_at_first_boot = std::fs::remove_file(&pid_file);
        let script = self.bed.boot_script();
        let console = dir.join("console.log");
        let log = std::fs::File::create(&console)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|source| BedError::File {
                path: console.clone(),
                source,
            })?;
        let mut command = Command::new("setsid");
        command
            .args([
                "--fork",
                "nsenter",
                &format!("--net=/run/netns/{}", self.layout.namespace),
                "unshare",
            ])
            .args([
                "--mount",
                "--uts",
                "--ipc",
                "--pid",
                "--fork",
                "--propagation",
                "private",
                "/bin/sh",
            ])
            .arg(script)
            .arg(dir)
            .args([self.name(), &boots.to_string()])
            .arg(self.bed.program())
            .env(CGROUP_VARIABLE, &self.layout.cgroup)
            .stdin(Stdio::null())
            .stdout(log.0)
            .stderr(log.1);
        let line = describe(&command);
        let status = command.status().map_err(|source| BedError::NotStarted {
            command: line,
            source,
        })?;
        if !status.success() {
            return Err(BedError::Refused(format!(
                "{}: could not start its first process",
                self.name()
            )));
        }
        wait_for(
            &format!("{} to start its supervisor", self.name()),
            BOOT_WITHIN,
            || {
                let pid = self.pid().ok_or_else(|| read(&console).unwrap_or_default())?;
                let socket = self.layout.inside(pid, super::init::SOCKET);
                UnixStream::connect(socket)
                    .map(drop)
                    .map_err(|e| format!("{e}; {}", read(&console).unwrap_or_default()))
            },
        )
    }

    /// Waits until the Engine answers.
    pub fn wait_engine(&self) -> Result<()> {
        wait_for(&format!("the Engine of {}", self.name()), BOOT_WITHIN, || {
            let out = self
                .exec("docker version --format '{{.Server.APIVersion}}'")
                .map_err(|e| e.to_string())?;
            if out.success() {
                Ok(())
            } else {
                Err(out.text() + &self.log_tail("docker"))
            }
        })
    }

    /// Cuts the power: every process of the host is gone at once; its disk stays.
    pub fn power_off(&self) -> Result<()> {
        if let Some(pid) = self.pid() {
            must("kill", &["-9", &pid.to_string()])?;
        }
        wait_for(
            &format!("{} to lose power", self.name()),
            POWER_OFF_WITHIN,
            || {
                let left = cgroup::processes(&self.layout.cgroup);
                if left.is_empty() && !self.is_on() {
                    Ok(())
                } else {
                    Err(format!("processes {left:?}"))
                }
            },
        )?;
        switch::unwire(&self.bed, &self.layout)
    }

    /// Power off and on again.
    pub fn reboot(&self) -> Result<()> {
        self.power_off()?;
        self.boot()
    }

    /// Pulls the network cable.
    pub fn unplug(&self) -> Result<()> {
        switch::set_link(&self.bed, &self.layout, "down")
    }

    /// Puts the network cable back.
    pub fn plug(&self) -> Result<()> {
        switch::set_link(&self.bed, &self.layout, "up")
    }

    /// Runs a shell command inside the host, at most two minutes.
    pub fn exec(&self, command: &str) -> Result<Output> {
        self.exec_within(EXEC_WITHIN, command)
    }

    /// Runs a shell command inside the host; past `within` it is killed and the code is 124.
    pub fn exec_within(&self, within: Duration, command: &str) -> Result<Output> {
        let seconds = format!("{}", within.as_secs_f64());
        let mut enter = Command::new("timeout");
        enter.args(["-k", "2", &seconds, "nsenter"]);
        run_command(self.enter(&mut enter, command)?)
    }

    /// Like [`Host::exec`]; a code other than 0 is an error, and the answer is what it printed.
    pub fn sh(&self, command: &str) -> Result<String> {
        self.exec(command)?.ok()
    }

    /// Starts a shell command inside the host and leaves it running.
    pub fn spawn(&self, command: &str) -> Result<Child> {
        let mut enter = Command::new("nsenter");
        let command = self.enter(&mut enter, command)?;
        let line = describe(command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| BedError::NotStarted {
                command: line,
                source,
            })
    }

    fn enter<'a>(&self, enter: &'a mut Command, command: &str) -> Result<&'a mut Command> {
        let pid = self.need_power()?.to_string();
        let path = format!("PATH={SEARCH_PATH}");
        Ok(enter
            .args([
                "-t",
                &pid,
                "-m",
                "-u",
                "-i",
                "-n",
                "-p",
                "--",
                "env",
                "-i",
                "-C",
                "/root",
                &path,
                "HOME=/root",
            ])
            .args(["LANG=C.UTF-8", "/bin/sh", "-c", command]))
    }

    /// Writes a file inside the running host.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        write(&self.layout.inside(self.need_power()?, path), content)
    }

    /// Reads a file inside the running host.
    pub fn get(&self, path: &str) -> Result<String> {
        read(&self.layout.inside(self.need_power()?, path))
    }

    /// Kills the Engine with signal 9; its containers' shims live on.
    pub fn engine_kill(&self) -> Result<()> {
        self.kill("docker", "KILL")?;
        wait_for(
            &format!("the Engine of {} to be gone", self.name()),
            POWER_OFF_WITHIN,
            || {
                let state = self
                    .exec("systemctl is-active docker")
                    .map_err(|e| e.to_string())?;
                if state.success() {
                    Err(state.text())
                } else {
                    Ok(())
                }
            },
        )
    }

    /// Starts the Engine and waits until it answers.
    pub fn engine_start(&self) -> Result<()> {
        self.sh("systemctl start docker")?;
        self.wait_engine()
    }

    /// Sends a signal (`KILL`, `STOP`, `CONT`, `TERM`) to a unit's process. Its unit decides what follows.
    pub fn kill(&self, unit: &str, signal: &str) -> Result<()> {
        self.sh(&format!("systemctl kill --signal={signal} {unit}"))
            .map(drop)
    }

    /// The process id of a unit, inside the host; 0 when it does not run.
    pub fn unit_pid(&self, unit: &str) -> Result<u32> {
        let text = self.sh(&format!("systemctl show -p MainPID --value {unit}"))?;
        text.parse()
            .map_err(|_| BedError::Refused(format!("{unit}: no process id in {text:?}")))
    }

    /// CPU time used since boot by a unit's processes (`docker`, `shoal-manager`, …).
    pub fn unit_cpu(&self, unit: &str) -> Result<Duration> {
        cgroup::cpu_time(&format!("{}/{unit}.service", self.layout.cgroup))
    }

    /// Resident memory of a unit's first process, in KiB.
    pub fn unit_rss_kib(&self, unit: &str) -> Result<u64> {
        let status = self.get(&format!("/proc/{}/status", self.unit_pid(unit)?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|n| n.parse().ok());
        number.ok_or_else(|| BedError::Refused(format!("{unit} does not run on {}", self.name())))
    }

    /// The whole log of a unit since the bed was made.
    pub fn log(&self, unit: &str) -> Result<String> {
        read(
            &self
                .layout
                .dir
                .join(format!("disk/var/log/bed/{unit}.service.log")),
        )
    }

    /// The last 8 lines of a unit's log, for messages.
    pub fn log_tail(&self, unit: &str) -> String {
        let log = self.log(unit).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "\n--- {unit} on {}:\n{}\n",
            self.name(),
            lines[lines.len().saturating_sub(8)..].join("\n")
        )
    }

    /// Waits until `command` inside the host ends with 0; the answer is what it printed.
    pub fn wait_sh(&self, what: &str, within: Duration, command: &str) -> Result<String> {
        let start = Instant::now();
        wait_for(&format!("{what} on {}", self.name()), within, || {
            let left = within.saturating_sub(start.elapsed()).max(Duration::from_secs(1));
            let out = self.exec_within(left, command).map_err(|e| e.to_string())?;
            if out.success() {
                Ok(out.stdout.trim_end().to_owned())
            } else {
                Err(out.text())
            }
        })
    }
}
