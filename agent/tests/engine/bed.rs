//! A private Docker Engine for tests, and a container's whole life in one call. It needs root and `dockerd`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use shoal_agent::assignments::Assigned;
use shoal_agent::engine::docker::DockerEngine;
use shoal_agent::engine::{ContainerState, Engine, LogQuery, Networks, NodeFacts, Observed, plan};
use shoal_agent::network::ipv6::Ipv6;
use shoal_proto::id::{ClusterId, NodeId, RevisionId, ServiceId, TaskId};
use shoal_proto::service::{SlotKey, TaskTemplate};
use shoal_proto::task::{DesiredState, TaskStatus};
use shoal_proto::time::Timestamp;

pub(crate) const IMAGE: &str = "shoal-test/busybox:1";
/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Bed {
    pub(crate) dir: PathBuf,
    pub(crate) engine: Arc<DockerEngine>,
    words: Mutex<ChildStdin>,
    _launcher: Mutex<Child>,
}

/// The Engine that tests share; it goes when their process does.
pub(crate) fn shared() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| Bed::new(&[]))
}

fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl Bed {
    pub(crate) fn new(flags: &[&str]) -> Self {
        let dir = PathBuf::from(format!(
            "/var/tmp/shoal-engine-{}-{}",
            std::process::id(),
            number()
        ));
        std::fs::create_dir_all(&dir).expect("directory for the engine");
        let script = dir.join("bed.sh");
        std::fs::write(&script, include_str!("bed.sh")).expect("script");
        let mut launcher = Command::new("sh")
            .arg(&script)
            .arg(&dir)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sh starts");
        let words = Mutex::new(launcher.stdin.take().expect("piped"));
        let engine = Arc::new(DockerEngine::new(&dir.join("docker.sock").to_string_lossy()));
        let bed = Self {
            dir,
            engine,
            words,
            _launcher: Mutex::new(launcher),
        };
        bed.wait_ready();
        bed.import();
        bed
    }

    pub(crate) fn say(&self, word: &str) {
        let mut words = self.words.lock().expect("lock");
        writeln!(words, "{word}").expect("launcher listens");
        words.flush().expect("launcher listens");
    }

    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let said = self.try_docker(args);
        said.unwrap_or_else(|words| panic!("docker {args:?}: {words}"))
    }

    pub(crate) fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        let host = format!("unix://{}/docker.sock", self.dir.display());
        let out = Command::new("docker")
            .arg("-H")
            .arg(host)
            .args(args)
            .output()
            .expect("docker runs");
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    pub(crate) fn wait_ready(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime");
        let until = Instant::now() + PATIENCE;
        while runtime.block_on(self.engine.info()).is_err() {
            let log = std::fs::read_to_string(self.dir.join("dockerd.log")).unwrap_or_default();
            assert!(
                Instant::now() < until,
                "dockerd does not come up (these tests need root): {log}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn import(&self) {
        let root = self.dir.join("rootfs");
        for part in ["bin", "etc", "tmp", "proc", "sys", "dev", "data"] {
            std::fs::create_dir_all(root.join(part)).expect("rootfs");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
        std::fs::copy(
            busybox.expect("busybox-static is installed"),
            root.join("bin/busybox"),
        )
        .expect("rootfs");
        let list = Command::new("busybox")
            .arg("--list")
            .output()
            .expect("busybox runs")
            .stdout;
        for applet in String::from_utf8_lossy(&list)
            .lines()
            .filter(|name| *name != "busybox")
        {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("rootfs");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nuser1:x:1001:1002::/:/bin/sh\n";
        std::fs::write(root.join("etc/passwd"), passwd).expect("rootfs");
        std::fs::write(root.join("etc/group"), "root:x:0:\nuser1:x:1002:\n").expect("rootfs");
        std::fs::write(root.join("data/from-image"), "image\n").expect("rootfs");
        let tar = self.dir.join("rootfs.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status()
            .expect("tar");
        assert!(packed.success());
        let change = "ENV FROM_IMAGE=yes PATH=/bin";
        self.docker(&[
            "import",
            "-c",
            change,
            "-c",
            "CMD [\"echo\", \"image command\"]",
            &tar.to_string_lossy(),
            IMAGE,
        ]);
    }

    /// Makes, starts and awaits a container; answers it and what it wrote.
    pub(crate) fn run(&self, assigned: &Assigned) -> (Observed, String) {
        let made = plan(assigned, &Networks::new(), &facts()).expect("plan");
        self.run_plan(&made)
    }

    pub(crate) fn run_plan(&self, made: &shoal_agent::engine::ContainerPlan) -> (Observed, String) {
        block(async {
            for network in &made.networks {
                self.engine.ensure_network(network).await.expect("network");
            }
            for volume in &made.volumes {
                self.engine.ensure_volume(volume).await.expect("volume");
            }
            let id = self.engine.create(made).await.expect("create");
            self.engine.start(&id).await.expect("start");
            let seen = self.until(&id, |seen| seen.state == ContainerState::Exited).await;
            let output = self.output(&id).await;
            self.engine.remove(&id).await.expect("remove");
            (seen, output)
        })
    }

    pub(crate) async fn until(&self, id: &str, holds: impl Fn(&Observed) -> bool) -> Observed {
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = self
                .engine
                .inspect(id)
                .await
                .expect("inspect")
                .expect("container");
            if holds(&seen) {
                return seen;
            }
            assert!(Instant::now() < until, "never: {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn output(&self, id: &str) -> String {
        let query = LogQuery {
            stdout: true,
            stderr: true,
            ..LogQuery::default()
        };
        let mut chunks = self.engine.logs(id, query).await.expect("logs");
        let mut text = String::new();
        while let Some(chunk) = chunks.next().await {
            text.push_str(&String::from_utf8_lossy(&chunk.expect("chunk").bytes));
        }
        text
    }
}

pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(future)
}

pub(crate) fn facts() -> NodeFacts {
    NodeFacts {
        cluster: ClusterId::new(Timestamp::from_ms(1), 1),
        node: NodeId::new(Timestamp::from_ms(2), 2),
        epoch: 1,
        boot: "boot".to_owned(),
        hostname: "h1".to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        ipv6: Ipv6::There,
    }
}

/// A task of its own that runs this in a shell.
pub(crate) fn shell(script: &str) -> Assigned {
    let mut template = TaskTemplate::default();
    IMAGE.clone_into(&mut template.container.image);
    template.container.command = Some(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]);
    Assigned {
        task: TaskId::new(Timestamp::from_ms(number()), 0),
        service: ServiceId::new(Timestamp::from_ms(2), 2),
        service_name: "web".to_owned(),
        service_labels: BTreeMap::new(),
        stack: None,
        slot: SlotKey::Number(3),
        revision: RevisionId::new(Timestamp::from_ms(3), 3),
        desired: DesiredState::Running,
        inherits: None,
        stop_reason: None,
        template: Arc::new(template),
        revision_number: 1,
        contents: BTreeMap::new(),
        credential: None,
        default_log: None,
        spares: Vec::new(),
        status: TaskStatus::default(),
        addresses: BTreeMap::new(),
    }
}

/// The same, changed.
pub(crate) fn shell_with(script: &str, change: impl FnOnce(&mut TaskTemplate)) -> Assigned {
    let mut assigned = shell(script);
    change(Arc::make_mut(&mut assigned.template));
    assigned
}
