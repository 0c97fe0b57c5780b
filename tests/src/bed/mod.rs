//! A bed of several hosts on one Linux machine: each host owns its namespaces, its Docker Engine, its disk and
//! its address on a switch. Beds with different names run side by side; a bed goes with its [`Bed`] value, and
//! a bed whose owner died goes when the next one is made. Needs root. The bed knows Docker and units, and only
//! [`package`] knows Shoal.

mod cgroup;
mod host;
pub mod image;
pub mod init;
mod layout;
pub mod package;
mod process;
pub mod registry;
mod run;
mod store;
pub mod swarm;
mod switch;
pub mod systemctl;
pub mod unit;
mod unit_files;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use host::{EXEC_WITHIN, Host};
pub use layout::{Layout, MAX_HOSTS};
pub use run::{BedError, Output, Result, must, run, wait_for};

/// Whether hosts have an Engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Every host runs one from its first boot.
    Present,
    /// None does (for tests of the installation).
    Absent,
}

/// Whether the Engines keep containers running while they restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveRestore {
    /// Set in the Engine's configuration.
    On,
    /// Not set.
    Off,
}

/// What can be chosen about a bed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether hosts have an Engine.
    pub engine: Engine,
    /// The Engines' live-restore.
    pub live_restore: LiveRestore,
    /// More flags for every Engine, separated by spaces.
    pub engine_flags: String,
    /// One machine id for all hosts (a cloned disk); `None` gives each its own.
    pub machine_id: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            engine: Engine::Present,
            live_restore: LiveRestore::On,
            engine_flags: String::new(),
            machine_id: None,
        }
    }
}

/// What happens to the bed when its value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtDrop {
    Purge,
    Keep,
}

/// Several hosts, their switch and their disks. Dropping it removes everything.
#[derive(Debug)]
pub struct Bed {
    layout: Layout,
    hosts: Vec<Host>,
    options: Options,
    at_drop: AtDrop,
}

impl Bed {
    /// A bed of `count` running hosts, with the defaults of [`Options`].
    pub fn new(count: usize) -> Result<Self> {
        Self::with(count, &Options::default())
    }

    /// A bed of `count` running hosts.
    pub fn with(count: usize, options: &Options) -> Result<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        clean_up_orphans()?;
        let serial = MADE.fetch_add(1, Ordering::Relaxed);
        let bed = Self::make(
            &format!("b{}x{serial}", std::process::id()),
            options,
            AtDrop::Purge,
        )?;
        bed.grow(count)
    }

    /// The bed with a fixed name, made if it is not there, which stays when this value goes.
    pub fn kept(name: &str, count: usize) -> Result<Self> {
        let dir = Layout::named(name).dir;
        if dir.join("owner").exists() {
            return Self::open(name)?.grow(count);
        }
        Self::make(name, &Options::default(), AtDrop::Keep)?.grow(count)
    }

    /// An existing bed, which stays when this value goes.
    pub fn open(name: &str) -> Result<Self> {
        let layout = Layout::named(name);
        if !layout.owner_file().exists() {
            return Err(BedError::Refused(format!(
                "no bed named {name} in {}",
                Layout::root().display()
            )));
        }
        let options = Options::default();
        let numbers = (1..=MAX_HOSTS).take_while(|number| layout.host(*number).dir.exists());
        let hosts = numbers
            .map(|number| Host::new(&layout, number, &options))
            .collect();
        Ok(Self {
            layout,
            hosts,
            options,
            at_drop: AtDrop::Keep,
        })
    }

    fn make(name: &str, options: &Options, at_drop: AtDrop) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Err(BedError::Refused(
                "a bed makes namespaces and runs Engines: run it as root".into(),
            ));
        }
        let layout = Layout::named(name);
        run::make_dir(&layout.dir)?;
        run::write(&layout.owner_file(), owner(at_drop)?)?;
        let bed = Self {
            layout,
            hosts: Vec::new(),
            options: options.clone(),
            at_drop,
        };
        run::write(&bed.layout.boot_script(), include_str!("boot.sh"))?;
        let program = bed.layout.program();
        std::fs::copy(find_program()?, &program).map_err(|source| BedError::File {
            path: program,
            source,
        })?;
        switch::up(&bed.layout)?;
        Ok(bed)
    }

    /// Adds hosts until there are `count`, and gives all of them power.
    pub fn grow(mut self, count: usize) -> Result<Self> {
        if count > MAX_HOSTS {
            return Err(BedError::Refused(format!(
                "{count} hosts: a bed has at most {MAX_HOSTS}"
            )));
        }
        for number in self.hosts.len() + 1..=count {
            self.hosts.push(Host::new(&self.layout, number, &self.options));
        }
        self.boot_all()?;
        Ok(self)
    }

    /// Gives every host power, all at once.
    pub fn boot_all(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let booting: Vec<_> = self
                .hosts
                .iter()
                .map(|host| scope.spawn(|| host.boot()))
                .collect();
            booting
                .into_iter()
                .try_for_each(|thread| thread.join().expect("booting does not panic"))
        })
    }

    /// Cuts the power of every host in the same moment.
    pub fn power_off_all(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let going: Vec<_> = self
                .hosts
                .iter()
                .map(|host| scope.spawn(|| host.power_off()))
                .collect();
            going
                .into_iter()
                .try_for_each(|thread| thread.join().expect("a power cut does not panic"))
        })
    }

    /// Host `number`, from 1.
    ///
    /// # Panics
    /// When the bed has no such host.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number - 1]
    }

    /// All hosts, in order.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The bed's name, which no other bed of this machine has.
    pub fn name(&self) -> &str {
        &self.layout.name
    }

    /// The bed's folder on the machine; hosts see it at the same path.
    pub fn dir(&self) -> &PathBuf {
        &self.layout.dir
    }

    /// The namespace of the switch.
    pub(crate) fn switch(&self) -> String {
        self.layout.switch()
    }

    /// The address of the switch itself.
    pub fn switch_address(&self) -> String {
        self.layout.switch_address()
    }

    /// Runs a shell command at the switch: a place beside the hosts, for clients and registries.
    pub fn at_switch(&self, command: &str) -> Result<Output> {
        let net = format!("--net=/run/netns/{}", self.layout.switch());
        run(
            "timeout",
            &["-k", "2", "120", "nsenter", &net, "/bin/sh", "-c", command],
        )
    }

    /// Cuts all power and removes namespaces and cgroups; the disks stay.
    pub fn down(&self) -> Result<()> {
        self.power_off_all()?;
        switch::down(&self.layout)?;
        cgroup::remove(&self.layout.cgroup());
        Ok(())
    }

    /// [`Bed::down`], and the disks go too.
    pub fn purge(&self) -> Result<()> {
        self.down()?;
        remove_dir(&self.layout)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.at_drop == AtDrop::Keep {
            return;
        }
        if std::thread::panicking() && std::env::var_os("SHOAL_BED_KEEP").is_some() {
            eprintln!(
                "bed {} stays for a look: {}",
                self.name(),
                self.layout.dir.display()
            );
            return;
        }
        if let Err(error) = self.purge() {
            eprintln!("bed {}: {error}; the next bed cleans up", self.name());
        }
    }
}

/// Removes the beds whose owner has died.
pub fn clean_up_orphans() -> Result<()> {
    let Ok(entries) = std::fs::read_dir(Layout::root()) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let owner = run::read(&entry.path().join("owner")).unwrap_or_default();
        if owner.is_empty() || owner.starts_with("kept") || owner_lives(&owner) {
            continue;
        }
        Bed::open(&entry.file_name().to_string_lossy())?.purge()?;
    }
    Ok(())
}

/// `PID START`: a number may be used again, the pair is not. Kept beds say so instead.
fn owner(at_drop: AtDrop) -> Result<String> {
    if at_drop == AtDrop::Keep {
        return Ok("kept\n".to_owned());
    }
    let pid = std::process::id();
    Ok(format!("{pid} {}\n", start_of(pid).unwrap_or_default()))
}

fn owner_lives(owner: &str) -> bool {
    let mut words = owner.split_whitespace();
    let pid = words.next().and_then(|word| word.parse().ok());
    pid.and_then(start_of)
        .is_some_and(|start| Some(start.as_str()) == words.next())
}

/// When a process started, in ticks since the machine's boot (field 22 of its stat; the name may hold spaces).
fn start_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19).map(str::to_owned)
}

fn remove_dir(layout: &Layout) -> Result<()> {
    std::fs::remove_dir_all(&layout.dir)
        .or_else(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                Ok(())
            } else {
                Err(error)
            }
        })
        .map_err(|source| BedError::File {
            path: layout.dir.clone(),
            source,
        })
}

/// The `bed` program, beside the running one or (for a test) in the folder above.
fn find_program() -> Result<PathBuf> {
    let running = std::env::current_exe().map_err(|source| BedError::File {
        path: PathBuf::from("/proc/self/exe"),
        source,
    })?;
    let folders = running.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join("bed"));
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        BedError::Refused("the program `bed` is not built: cargo build --package shoal-tests --bins".into())
    })
}
