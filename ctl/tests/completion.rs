//! Completion as a shell meets it: the real program, the real script, a manager that is one in name only.

#[path = "../src/complete/manager_test.rs"]
mod manager;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use manager::Manager;
use tokio::runtime::Runtime;

/// Until a machine that is busy with other things answers within the program's own short patience.
const WITHIN: Duration = Duration::from_secs(60);

/// A home without contexts, and a manager on a socket in it.
struct Home {
    folder: tempfile::TempDir,
    _runtime: Runtime,
}

impl Home {
    fn new(manager: Manager) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let runtime = Runtime::new().expect("a runtime starts");
        let _inside = runtime.enter();
        manager.listen(&folder.path().join("sock"));
        Self {
            folder,
            _runtime: runtime,
        }
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        let folder = program_path().parent().expect("it is in a folder").to_owned();
        let path = format!(
            "{}:{}",
            folder.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let socket = self.folder.path().join("sock");
        Command::new(program)
            .args(arguments)
            .env("PATH", path)
            .env("SHOAL_CONFIG", self.folder.path())
            .env("SHOAL_HOST", format!("unix://{}", socket.display()))
            .current_dir(self.folder.path())
            .output()
            .expect("the program starts")
    }

    fn shoal(&self, arguments: &[&str]) -> Output {
        self.run(&program_path(), arguments)
    }

    /// What the script of bash leaves for a line, whose words are as bash breaks them: each reply in brackets, then
    /// the options of the completion.
    fn bash(&self, line: &str, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let text = format!(
            "source <(shoal completion bash)
             compopt() {{ options+=\" $2\"; }}
             COMP_LINE='{line}' COMP_POINT={} COMP_WORDS=({}) COMP_CWORD={}
             _shoal shoal
             for reply in \"${{COMPREPLY[@]}}\"; do printf '[%s]' \"$reply\"; done
             printf '%s' \"$options\"",
            line.len(),
            words.join(" "),
            words.len() - 1,
        );
        let out = self.run(Path::new("bash"), &["--norc", "--noprofile", "-c", &text]);
        assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{line}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

fn program_path() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_shoal"))
}

/// Asks until it is so: an answer that came too late is empty.
fn until(wanted: &str, ask: impl Fn() -> String) {
    let begin = Instant::now();
    loop {
        let found = ask();
        if found == wanted {
            return;
        }
        assert!(begin.elapsed() < WITHIN, "{found:?} is not {wanted:?}");
    }
}

#[test]
fn bash_takes_the_script_and_completes_names_of_the_cluster() {
    let home = Home::new(Manager::Full);
    let cases: &[(&str, &[&str], &str)] = &[
        ("shoal serv", &["shoal", "serv"], "[service]"),
        (
            "shoal service inspect ",
            &["shoal", "service", "inspect", ""],
            "[shop_api][shop_web][web]",
        ),
        (
            "shoal service scale web=3 shop_w",
            &["shoal", "service", "scale", "web", "=", "3", "shop_w"],
            "[shop_web=] nospace",
        ),
        (
            "shoal service scale web=",
            &["shoal", "service", "scale", "web", "=", ""],
            " nospace",
        ),
        // Bash replaces what stands behind the = or : alone.
        (
            "shoal service update --network-add=ba",
            &["shoal", "service", "update", "--network-add", "=", "ba"],
            "[back]",
        ),
        (
            "shoal registry logout registry.example:5",
            &["shoal", "registry", "logout", "registry.example", ":", "5"],
            "[5000]",
        ),
        ("shoal  node rm  h1 ", &["shoal", "node", "rm", "h1", ""], "[h2]"),
        (
            "shoal stack check -c comp",
            &["shoal", "stack", "check", "-c", "comp"],
            " default",
        ),
        (
            "shoal stack check --project-directory=x",
            &["shoal", "stack", "check", "--project-directory", "=", "x"],
            " dirnames",
        ),
    ];
    for (line, words, wanted) in cases {
        until(wanted, || home.bash(line, words));
    }
}

#[test]
fn the_manager_that_the_line_names_is_asked() {
    let home = Home::new(Manager::Full);
    let other = Home::new(Manager::Holds("elsewhere"));
    let socket = other.folder.path().join("sock");
    let socket = socket.display();
    let line = format!("shoal --host unix://{socket} service ps ");
    let path = format!("//{socket}");
    let words = ["shoal", "--host", "unix", ":", &path, "service", "ps", ""];
    until("[elsewhere]", || home.bash(&line, &words));
}

#[test]
fn bash_completes_the_word_up_to_the_cursor() {
    let home = Home::new(Manager::Full);
    let text = "source <(shoal completion bash)
         COMP_LINE='shoal nodes ls' COMP_POINT=8 COMP_WORDS=(shoal nodes ls) COMP_CWORD=1
         _shoal shoal; printf '%s' \"${COMPREPLY[*]}\"; complete -p shoal";
    let out = home.run(Path::new("bash"), &["--norc", "--noprofile", "-c", text]);
    assert_eq!(
        String::from_utf8_lossy(&out.stdout),
        "nodecomplete -F _shoal shoal\n"
    );
}

#[test]
fn a_manager_that_does_not_answer_costs_a_moment_and_no_word() {
    let home = Home::new(Manager::Silent);
    let gone = ["--host", "unix:///nowhere/sock"];
    let line = ["__complete", "--", "service", "inspect", ""];
    let lines = [line.to_vec(), [&gone[..], &line[..]].concat()];
    for line in lines {
        let out = home.shoal(&line);
        assert_eq!(out.status.code(), Some(0), "{line:?}");
        assert_eq!((out.stdout.len(), out.stderr.len()), (0, 0), "{line:?}: {out:?}");
    }
}

#[test]
fn each_shell_has_a_script_and_the_help_says_where_it_goes() {
    let home = Home::new(Manager::Silent);
    for (shell, place) in [
        ("bash", "/usr/local/share/bash-completion/completions/shoal"),
        ("zsh", "/usr/local/share/zsh/site-functions/_shoal"),
        ("fish", "/etc/fish/completions/shoal.fish"),
    ] {
        let script = String::from_utf8(home.shoal(&["completion", shell]).stdout).expect("it is text");
        assert!(script.contains("shoal __complete -- "), "{script}");
        let help = String::from_utf8(home.shoal(&["completion", "--help"]).stdout).expect("it is text");
        assert!(help.contains(place), "{help}");
    }
    let file = home.folder.path().join("script");
    std::fs::write(&file, home.shoal(&["completion", "bash"]).stdout).expect("there is room");
    let file = file.to_string_lossy().into_owned();
    let out = home.run(Path::new("bash"), &["-n", &file]);
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    let out = home.shoal(&["completion", "tcsh"]);
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("bash, zsh, fish"), "{said}");
}
