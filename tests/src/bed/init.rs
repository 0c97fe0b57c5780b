//! The supervisor of a bed host: its first process, a stand-in for systemd. It reaps orphans, starts the enabled
//! units of `/etc/systemd/system` at boot, restarts them by their own rules, and carries out what the host's
//! `systemctl` asks over a socket. It knows nothing about Shoal.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use super::process;
use super::store::Store;
use super::unit::{Ended, KillMode, Kind, Next, Remains, Unit};
use super::unit_files::{WANTS, disable, enable, enabled, full_name, load};

/// Where `systemctl` finds the supervisor.
pub const SOCKET: &str = "/run/bed/init.sock";
/// Where units say that they are ready.
const NOTIFY: &str = "/run/bed/notify.sock";
/// How long a unit may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often the supervisor looks for due restarts, and the reaper for children while there are none.
const TICK: Duration = Duration::from_millis(20);

enum Event {
    Exited(u32, Ended),
    Ready,
    Asked(Request),
}

struct Request {
    words: Vec<String>,
    reply_to: UnixStream,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Inactive,
    Active,
    Failed,
    /// Down, to be started at this moment.
    Waiting(Instant),
}

#[derive(Debug)]
struct Running {
    state: State,
    main_pid: Option<u32>,
    last: Option<Ended>,
    restarts: u64,
    stopping: bool,
}

/// Runs until the power is cut.
pub fn run() -> std::io::Result<()> {
    fs::create_dir_all("/run/bed")?;
    fs::create_dir_all(WANTS)?;
    fs::create_dir_all(process::LOGS)?;
    let (events, inbox) = channel();
    let listener = UnixListener::bind(SOCKET)?;
    let notify = UnixDatagram::bind(NOTIFY)?;
    std::thread::spawn({
        let events = events.clone();
        move || reap(&events)
    });
    std::thread::spawn({
        let events = events.clone();
        move || listen(&listener, &events)
    });
    let store = Arc::new(Store::default());
    std::thread::spawn({
        let store = Arc::clone(&store);
        move || listen_ready(&notify, &store, &events)
    });
    let mut supervisor = Supervisor {
        inbox,
        queue: VecDeque::new(),
        units: BTreeMap::new(),
        ready: 0,
        store,
    };
    supervisor.boot();
    supervisor.serve()
}

fn reap(events: &Sender<Event>) {
    loop {
        let ended = match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => {
                let ended = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Ended::Code(code),
                    (None, Some(signal)) => Ended::Signal(signal),
                    (None, None) => continue,
                };
                Event::Exited(pid.as_raw_nonzero().get().unsigned_abs(), ended)
            }
            Ok(None) | Err(_) => {
                std::thread::sleep(TICK);
                continue;
            }
        };
        if events.send(ended).is_err() {
            return;
        }
    }
}

fn listen(listener: &UnixListener, events: &Sender<Event>) {
    for stream in listener.incoming().flatten() {
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_err() {
            continue;
        }
        let words = line.trim_end().split('\u{1f}').map(str::to_owned).collect();
        if events
            .send(Event::Asked(Request {
                words,
                reply_to: stream,
            }))
            .is_err()
        {
            return;
        }
    }
}

fn listen_ready(socket: &UnixDatagram, store: &Store, events: &Sender<Event>) {
    while let Ok(said_ready) = store.hear(socket) {
        if said_ready && events.send(Event::Ready).is_err() {
            return;
        }
    }
}

struct Supervisor {
    inbox: Receiver<Event>,
    /// Requests that came while another one was being carried out.
    queue: VecDeque<Request>,
    units: BTreeMap<String, Running>,
    /// How often some unit has said that it is ready.
    ready: u64,
    /// What programs keep while they restart.
    store: Arc<Store>,
}

impl Supervisor {
    fn boot(&mut self) {
        let Ok(entries) = fs::read_dir(WANTS) else { return };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in names {
            if let Err(message) = self.start(&name) {
                process::log(&name, &message);
            }
        }
    }

    fn serve(&mut self) -> std::io::Result<()> {
        loop {
            if let Some(request) = self.queue.pop_front() {
                let (code, text) = self.answer(&request.words);
                let mut to = request.reply_to;
                // The asker may have gone away; the order is carried out all the same.
                let _gone = write!(to, "{code}\n{text}");
            }
            self.pump(TICK);
            self.start_due();
        }
    }

    /// Takes in what has happened, waiting at most `longest` for the first thing.
    fn pump(&mut self, longest: Duration) {
        let mut next = self.inbox.recv_timeout(longest).ok();
        while let Some(event) = next {
            match event {
                Event::Asked(request) => self.queue.push_back(request),
                Event::Ready => self.ready += 1,
                Event::Exited(pid, ended) => self.exited(pid, ended),
            }
            next = self.inbox.try_recv().ok();
        }
    }

    fn exited(&mut self, pid: u32, ended: Ended) {
        let Some((name, running)) = self.units.iter_mut().find(|(_, r)| r.main_pid == Some(pid)) else {
            return;
        };
        running.main_pid = None;
        running.last = Some(ended);
        let unit = load(name);
        let well = ended == Ended::Code(0);
        running.state = match unit {
            _ if running.stopping => State::Inactive,
            Ok(unit) if unit.kind == Kind::Oneshot && well && unit.remains == Remains::Active => {
                State::Active
            }
            Ok(unit) => match unit.after_exit(ended) {
                Next::StartAgain => {
                    State::Waiting(Instant::now() + Duration::from_millis(unit.restart_delay_ms))
                }
                Next::Fail => State::Failed,
                Next::Rest => State::Inactive,
            },
            Err(_) => State::Failed,
        };
        process::log(name, &format!("ended with {ended:?}, now {:?}", running.state));
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let due = |r: &Running| matches!(r.state, State::Waiting(at) if at <= now);
        let names: Vec<String> = self
            .units
            .iter()
            .filter(|(_, r)| due(r))
            .map(|(n, _)| n.clone())
            .collect();
        for name in names {
            if let Some(running) = self.units.get_mut(&name) {
                running.restarts += 1;
                running.state = State::Inactive;
            }
            if let Err(message) = self.start(&name) {
                process::log(&name, &message);
            }
        }
    }

    fn start(&mut self, name: &str) -> Result<(), String> {
        let name = &full_name(name);
        if self.units.get(name).is_some_and(|r| r.state == State::Active) {
            return Ok(());
        }
        let unit = load(name)?;
        for required in &unit.requires {
            self.start(required)
                .map_err(|e| format!("{name}: requires {required}: {e}"))?;
        }
        let running = self.units.entry(name.clone()).or_insert(Running {
            state: State::Inactive,
            main_pid: None,
            last: None,
            restarts: 0,
            stopping: false,
        });
        running.stopping = false;
        let commands: Vec<_> = unit.start_pre.iter().chain(&unit.start).collect();
        let (last, before) = commands.split_last().expect("a unit has an ExecStart");
        for command in before {
            self.run_to_end(name, &unit, command)?;
        }
        if unit.kind == Kind::Oneshot {
            self.run_to_end(name, &unit, last)?;
            let remains = unit.remains == Remains::Active;
            self.set_state(name, if remains { State::Active } else { State::Inactive });
            return Ok(());
        }
        let seen_ready = self.ready;
        let store = if unit.stores > 0 {
            Arc::clone(&self.store)
        } else {
            Arc::default()
        };
        let pid = process::spawn(name, &unit, last, None, &store).map_err(|e| format!("{name}: {e}"))?;
        if let Some(running) = self.units.get_mut(name) {
            running.main_pid = Some(pid);
            running.state = State::Active;
        }
        if unit.kind == Kind::Notify {
            self.wait_ready(name, seen_ready)?;
        }
        Ok(())
    }

    fn wait_ready(&mut self, name: &str, seen: u64) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        while self.ready == seen {
            self.pump(TICK);
            if self.main_pid(name).is_none() {
                return Err(format!("{name}: ended before it was ready; see its log"));
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "{name}: did not say that it is ready within {READY_WITHIN:?}"
                ));
            }
        }
        Ok(())
    }

    fn run_to_end(&mut self, name: &str, unit: &Unit, command: &[String]) -> Result<(), String> {
        let main = self.main_pid(name);
        let nothing = Store::default();
        let pid = process::spawn(name, unit, command, main, &nothing).map_err(|e| format!("{name}: {e}"))?;
        if main.is_some() {
            return Ok(());
        }
        if let Some(running) = self.units.get_mut(name) {
            running.main_pid = Some(pid);
            running.last = None;
        }
        while self.main_pid(name).is_some() {
            self.pump(TICK);
        }
        match self.units.get(name).and_then(|r| r.last) {
            Some(Ended::Code(0)) => Ok(()),
            other => {
                self.set_state(name, State::Failed);
                Err(format!("{name}: `{}` ended with {other:?}", command.join(" ")))
            }
        }
    }

    fn stop(&mut self, name: &str) -> Result<(), String> {
        let name = &full_name(name);
        let unit = load(name)?;
        let Some(running) = self.units.get_mut(name) else {
            return Ok(());
        };
        running.stopping = true;
        for command in &unit.stop {
            self.run_to_end(name, &unit, command)?;
        }
        self.signal(name, &unit, Signal::TERM);
        let deadline = Instant::now() + Duration::from_millis(unit.stop_timeout_ms);
        while self.main_pid(name).is_some() && Instant::now() < deadline {
            self.pump(TICK);
        }
        if self.main_pid(name).is_some() || unit.kill_mode != KillMode::Process {
            self.signal(name, &unit, Signal::KILL);
        }
        while self.main_pid(name).is_some() {
            self.pump(TICK);
        }
        self.set_state(name, State::Inactive);
        Ok(())
    }

    fn signal(&self, name: &str, unit: &Unit, signal: Signal) {
        let everybody = match unit.kill_mode {
            KillMode::ControlGroup => true,
            KillMode::Mixed => signal == Signal::KILL,
            KillMode::Process => false,
        };
        let others = if everybody {
            process::members(name)
        } else {
            Vec::new()
        };
        for pid in self.main_pid(name).into_iter().chain(others) {
            send(pid, signal);
        }
    }

    fn main_pid(&self, name: &str) -> Option<u32> {
        self.units.get(name).and_then(|r| r.main_pid)
    }

    fn set_state(&mut self, name: &str, state: State) {
        if let Some(running) = self.units.get_mut(name) {
            running.state = state;
        }
    }

    fn answer(&mut self, words: &[String]) -> (i32, String) {
        let options: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .filter(|w| w.starts_with('-'))
            .collect();
        let mut plain = words.iter().map(String::as_str).filter(|w| !w.starts_with('-'));
        let verb = plain.next().unwrap_or("");
        let names: Vec<&str> = plain.collect();
        if matches!(verb, "daemon-reload" | "reset-failed") {
            return (0, String::new());
        }
        if names.is_empty() {
            return (1, format!("bed systemctl: {verb}: which unit?\n"));
        }
        for name in &names {
            let (code, text) = self.one(verb, name, &options);
            if code != 0 || !text.is_empty() {
                return (code, text);
            }
        }
        (0, String::new())
    }

    fn one(&mut self, verb: &str, name: &str, options: &[&str]) -> (i32, String) {
        let now = options.contains(&"--now");
        let done = match verb {
            "start" => self.start(name),
            "stop" => self.stop(name).inspect(|()| self.forget(name)),
            "restart" => self.stop(name).and_then(|()| self.start(name)),
            "try-restart" if self.main_pid(&full_name(name)).is_none() => Ok(()),
            "try-restart" => self.stop(name).and_then(|()| self.start(name)),
            "reload" => self.reload(name),
            "enable" => enable(name).and_then(|()| if now { self.start(name) } else { Ok(()) }),
            "disable" => disable(name).and_then(|()| if now { self.stop(name) } else { Ok(()) }),
            "is-active" | "show" | "status" => return self.describe(verb, name),
            "is-enabled" => return enabled(name),
            "kill" => self.kill(name, options),
            _ => Err(format!("bed systemctl: no verb {verb}")),
        };
        match done {
            Ok(()) => (0, String::new()),
            Err(message) => (1, format!("{message}\n")),
        }
    }

    /// Only a restart leaves what a unit's program has kept.
    fn forget(&self, name: &str) {
        if load(&full_name(name)).is_ok_and(|unit| unit.stores > 0) {
            self.store.clear();
        }
    }

    fn reload(&mut self, name: &str) -> Result<(), String> {
        let name = &full_name(name);
        let unit = load(name)?;
        if self.main_pid(name).is_none() || unit.reload.is_empty() {
            return Err(format!("{name}: not running, or has no ExecReload"));
        }
        for command in &unit.reload {
            self.run_to_end(name, &unit, command)?;
        }
        Ok(())
    }

    fn kill(&self, name: &str, options: &[&str]) -> Result<(), String> {
        let name = &full_name(name);
        let wanted = options
            .iter()
            .find_map(|o| o.strip_prefix("--signal="))
            .unwrap_or("TERM");
        let signal = match wanted.trim_start_matches("SIG") {
            "KILL" | "9" => Signal::KILL,
            "STOP" | "19" => Signal::STOP,
            "CONT" | "18" => Signal::CONT,
            "HUP" | "1" => Signal::HUP,
            "INT" | "2" => Signal::INT,
            "TERM" | "15" => Signal::TERM,
            other => return Err(format!("{name}: no signal {other}")),
        };
        let pid = self
            .main_pid(name)
            .ok_or_else(|| format!("{name}: not running"))?;
        send(pid, signal);
        Ok(())
    }

    fn describe(&self, verb: &str, name: &str) -> (i32, String) {
        let name = &full_name(name);
        let running = self.units.get(name);
        let state = match running.map_or(State::Inactive, |r| r.state) {
            State::Active => "active",
            State::Inactive => "inactive",
            State::Failed => "failed",
            State::Waiting(_) => "activating",
        };
        let code = if state == "active" { 0 } else { 3 };
        if verb == "is-active" {
            return (code, format!("{state}\n"));
        }
        let status = match running.and_then(|r| r.last) {
            Some(Ended::Code(status) | Ended::Signal(status)) => status,
            None => 0,
        };
        let (pid, restarts) = running.map_or((0, 0), |r| (r.main_pid.unwrap_or(0), r.restarts));
        let text = format!(
            "Id={name}\nActiveState={state}\nMainPID={pid}\nNRestarts={restarts}\nExecMainStatus={status}\n"
        );
        (if verb == "status" { code } else { 0 }, text)
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that has just ended is what was wanted.
        let _gone = kill_process(pid, signal);
    }
}
