//! Network namespaces of a test's own, and commands in them.

use std::fs::{File, read_link};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const PATIENCE: Duration = Duration::from_secs(20);

/// A network namespace: a host or a container. It goes with this value, also when the test is killed.
pub(crate) struct Space {
    holder: Child,
}

impl Space {
    pub(crate) fn new() -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare runs");
        let space = Self { holder };
        let ours = read_link("/proc/self/ns/net").expect("proc");
        until("a namespace (these tests need root)", || {
            read_link(space.file()).is_ok_and(|theirs| theirs != ours)
        });
        space.run("ip link set lo up");
        space
    }

    /// The process that holds it.
    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    fn file(&self) -> String {
        format!("/proc/{}/ns/net", self.pid())
    }

    /// Runs a story on a thread that lives in it.
    #[track_caller]
    pub(crate) fn within<T: Send>(&self, story: impl AsyncFnOnce() -> T + Send) -> T {
        let space = File::open(self.file()).expect("the namespace");
        let thread = || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(story())
        };
        let ended = std::thread::scope(|scope| scope.spawn(thread).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a command that works, and answers what it wrote.
    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> String {
        self.attempt(command)
            .unwrap_or_else(|cried| panic!("{command}: {cried}"))
    }

    /// Runs a command: what it wrote, or what it wrote to standard error when it failed.
    pub(crate) fn attempt(&self, command: &str) -> Result<String, String> {
        let space = format!("--net={}", self.file());
        told(Command::new("nsenter").arg(space).args(["sh", "-c", command]))
    }

    /// Starts a command that lives as long as what is returned.
    pub(crate) fn start(&self, command: &str) -> Running {
        let space = format!("--net={}", self.file());
        let command = format!("exec {command}");
        let child = Command::new("nsenter")
            .arg(space)
            .args(["sh", "-c", &command])
            .spawn();
        Running(child.expect("nsenter runs"))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ended = self.holder.wait();
    }
}

/// A process that ends with this value.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _sent = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Runs a story in a fresh network namespace.
#[track_caller]
pub(crate) fn alone(story: impl AsyncFnOnce() + Send) {
    Space::new().within(story);
}

/// Runs a command that works in the namespace of this thread, and answers what it wrote.
#[track_caller]
pub(crate) fn run(command: &str) -> String {
    told(Command::new("sh").args(["-c", command])).unwrap_or_else(|cried| panic!("{command}: {cried}"))
}

fn told(command: &mut Command) -> Result<String, String> {
    let out = command.output().expect("it runs");
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Waits for a condition, within reason.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
