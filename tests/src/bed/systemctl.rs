//! What stands in for `systemctl` and `journalctl` inside a bed host: it hands the words to the supervisor and
//! prints its answer.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::init::SOCKET;
use super::process;

/// Sends `words` to the supervisor and returns the exit code after printing the answer.
pub fn systemctl(words: &[String]) -> std::io::Result<i32> {
    let mut words = words.to_vec();
    // `-s KILL` and `-p MainPID --value` are written apart; the supervisor reads one word per option.
    join_option(&mut words, &["-s", "--signal"], "--signal=");
    let wanted = take_option(&mut words, &["-p", "--property"]);
    let bare = words.iter().any(|word| word == "--value");
    let quiet = words.iter().any(|word| word == "-q" || word == "--quiet");
    let mut stream = UnixStream::connect(SOCKET)?;
    writeln!(stream, "{}", words.join("\u{1f}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (code, text) = answer
        .split_once('\n')
        .unwrap_or(("1", "the supervisor gave no answer"));
    for line in text.lines() {
        let Some(property) = &wanted else {
            if !quiet {
                println!("{line}");
            }
            continue;
        };
        if let Some(value) = line
            .strip_prefix(property.as_str())
            .and_then(|rest| rest.strip_prefix('='))
        {
            println!("{}", if bare { value } else { line });
        }
    }
    Ok(code.parse().unwrap_or(1))
}

/// Prints the log of the unit named by `-u`.
pub fn journalctl(words: &[String]) -> std::io::Result<i32> {
    let mut words = words.to_vec();
    let Some(unit) = take_option(&mut words, &["-u", "--unit"]) else {
        eprintln!("bed journalctl: name the unit: -u UNIT");
        return Ok(1);
    };
    let unit = if unit.contains('.') {
        unit
    } else {
        format!("{unit}.service")
    };
    print!("{}", std::fs::read_to_string(process::log_file(&unit))?);
    Ok(0)
}

fn take_option(words: &mut Vec<String>, names: &[&str]) -> Option<String> {
    for name in names {
        if let Some(at) = words.iter().position(|word| word == name) {
            words.remove(at);
            return (at < words.len()).then(|| words.remove(at));
        }
        let prefix = format!("{name}=");
        if let Some(at) = words.iter().position(|word| word.starts_with(&prefix)) {
            return words.remove(at).strip_prefix(&prefix).map(str::to_owned);
        }
    }
    None
}

fn join_option(words: &mut Vec<String>, names: &[&str], joined: &str) {
    if let Some(value) = take_option(words, names) {
        words.push(format!("{joined}{value}"));
    }
}
