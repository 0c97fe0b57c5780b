//! Golden scripts: a story in users' words, and below each line what was decided. `SHOAL_BLESS=1` writes what is
//! decided now into the scripts; read the difference before you keep it.

#[path = "scripts/language.rs"]
mod language;
mod world;

use std::path::{Path, PathBuf};

use language::Story;

const OUTPUT: &str = "    ";

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = std::fs::read_dir(&folder).expect("the folder of scripts");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "script"));
    found.sort();
    found
}

/// The script with its output written anew.
fn play(text: &str) -> String {
    let mut story = Story::new();
    let mut written = String::new();
    for line in text.lines().filter(|line| !line.starts_with(OUTPUT)) {
        written += line;
        written += "\n";
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        for told in story.play(line) {
            written += OUTPUT;
            written += told.trim_end();
            written += "\n";
        }
    }
    written
}

#[test]
fn every_script_is_decided_as_written() {
    let only = std::env::var("SHOAL_SCRIPT").unwrap_or_default();
    let bless = std::env::var("SHOAL_BLESS").is_ok();
    let mut wrong = Vec::new();
    let all = scripts();
    assert!(all.len() > 1, "no scripts found");
    for path in all.iter().filter(|path| path.to_string_lossy().contains(&only)) {
        let text = std::fs::read_to_string(path).expect("a script");
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Ok(played) = std::panic::catch_unwind(|| play(&text)) else {
            wrong.push(format!("{name} cannot be played to its end: see above"));
            continue;
        };
        if played == text {
            continue;
        }
        if bless {
            #[expect(
                clippy::disallowed_methods,
                reason = "the test writes its own expectations when told to"
            )]
            std::fs::write(path, &played).expect("a writable script");
            continue;
        }
        wrong.push(difference(path, &text, &played));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(path: &Path, text: &str, played: &str) -> String {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let first = text
        .lines()
        .zip(played.lines())
        .position(|(one, other)| one != other);
    let from = first.unwrap_or_else(|| text.lines().count().min(played.lines().count()));
    let some = |all: &str| all.lines().skip(from).take(12).collect::<Vec<_>>().join("\n");
    format!(
        "{name}, line {}:\nwritten:\n{}\ndecided:\n{}",
        from + 1,
        some(text),
        some(played)
    )
}
