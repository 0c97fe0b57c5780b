//! What could stand where the cursor is: the words of the line so far in, candidates out. The scripts for shells ask
//! through `shoal __complete`. Never waits long, and never says what went wrong: a line is being typed.

mod line;
#[cfg(test)]
mod line_test;
#[cfg(test)]
mod live_test;
#[cfg(test)]
mod manager_test;
mod script;
mod wants;

use std::path::PathBuf;
use std::time::Duration;

use clap::Command;
pub use script::Shell;
use tokio::time::timeout;

use self::line::Line;
use self::wants::{Kind, Want};
use crate::client::{Cluster, Freshness, Name, Named, Target};
use crate::context::Contexts;
use crate::render::table::natural;

/// How long a manager is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until one is reached.
    pub connect: Duration,
    /// Until its answers are there, reaching it included.
    pub all: Duration,
}

impl Default for Patience {
    /// Longer, and whoever typed would wonder whether the shell hangs.
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(300),
            all: Duration::from_secs(1),
        }
    }
}

/// From where live names come.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Clusters this workstation knows; none where there is no home.
    pub contexts: Option<Contexts>,
    /// The manager to ask, where the line names none: `SHOAL_HOST`.
    pub host: Option<String>,
    /// How long it is waited for.
    pub patience: Patience,
}

/// One thing that could stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    /// The whole word.
    word: String,
    /// A few words about it; may be empty.
    about: String,
}

/// What the shell adds to the candidates, or leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Nothing: a blank follows the word.
    Plain,
    /// No blank follows: more of the word is to be typed.
    Open,
    /// Files, by the shell's own rules.
    Files,
    /// Folders, by the shell's own rules.
    Folders,
}

/// The answer to a script: a line for each candidate, `WORD` or `WORD<tab>ABOUT`; a line that begins with a colon says
/// what else the shell is to do: `:files`, `:folders`, `:nospace`. `words` are those after the program's name, up to the
/// one at the cursor, which may be empty.
pub async fn answer(command: Command, words: &[String], around: &Surroundings) -> String {
    let mut command = command;
    command.build();
    let line = Line::read(&command, words);
    let (mut found, mut manner) = (line.offers(), Manner::Plain);
    match line.want() {
        Want::Nothing => {}
        Want::Files => manner = Manner::Files,
        Want::Folders => manner = Manner::Folders,
        Want::Live(kind) => {
            if kind == Kind::Scales {
                manner = Manner::Open;
            }
            found.extend(live(&kind, &line, around).await);
        }
    }
    print(&found, manner)
}

fn print(found: &[Candidate], manner: Manner) -> String {
    let mut out = match manner {
        Manner::Plain => String::new(),
        Manner::Open => ":nospace\n".to_owned(),
        Manner::Files => ":files\n".to_owned(),
        Manner::Folders => ":folders\n".to_owned(),
    };
    for Candidate { word, about } in found {
        // What would break a line could not be a word of the command line anyway.
        if word.contains(char::is_control) || word.starts_with(':') {
            continue;
        }
        let about = about.lines().next().unwrap_or_default().replace('\t', " ");
        out.push_str(word);
        if !about.is_empty() {
            out.push('\t');
            out.push_str(&about);
        }
        out.push('\n');
    }
    out
}

/// Live names that fit what is typed; ids only where no name does.
async fn live(kind: &Kind, line: &Line<'_>, around: &Surroundings) -> Vec<Candidate> {
    let mut names = names(kind, line, around).await;
    names.retain(|known| !line.is_given(&known.name) && !line.is_given(&known.id));
    let candidate = |word: &str, about: String| Candidate {
        word: format!("{}{word}{}", line.before(), kind.after()),
        about,
    };
    let fits = |word: &str| !word.is_empty() && word.starts_with(line.typed());
    let by_name = names.iter().filter(|known| fits(&known.name));
    let mut found: Vec<Candidate> = by_name
        .map(|known| candidate(&known.name, known.about.clone()))
        .collect();
    if found.is_empty() && !line.typed().is_empty() {
        let by_id = names.iter().filter(|known| fits(&known.id));
        let about = |known: &Name| format!("{} {}", known.name, known.about);
        found.extend(by_id.map(|known| candidate(&known.id, about(known))));
    }
    found.sort_by(|a, b| natural(&a.word, &b.word));
    found.dedup_by(|a, b| a.word == b.word);
    found
}

async fn names(kind: &Kind, line: &Line<'_>, around: &Surroundings) -> Vec<Name> {
    let wanted = kind.named();
    if wanted.is_empty() {
        return context_names(around.contexts.as_ref());
    }
    let mut found = Vec::new();
    // What is there when time is up counts.
    let asked = ask(&wanted, line, around, &mut found);
    timeout(around.patience.all, asked).await.ok();
    found
}

/// Nothing is told of what fails: there is nobody to read it.
async fn ask(wanted: &[Named], line: &Line<'_>, around: &Surroundings, found: &mut Vec<Name>) -> Option<()> {
    let host = line.host().or(around.host.as_deref());
    let target = match &around.contexts {
        Some(contexts) => Target::find_in(contexts, host, line.context()).ok()?,
        None => Target::Socket(PathBuf::from(host?.strip_prefix("unix://")?)),
    };
    let reached = Cluster::connect(target, Freshness::Glimpse);
    let mut cluster = timeout(around.patience.connect, reached).await.ok()?.ok()?;
    for of in wanted {
        found.extend(cluster.names(of).await.unwrap_or_default());
    }
    Some(())
}

fn context_names(contexts: Option<&Contexts>) -> Vec<Name> {
    let Some(contexts) = contexts else {
        return Vec::new();
    };
    let current = contexts.current();
    let name = |name: String| {
        let is_current = current.as_deref() == Some(name.as_str());
        Name {
            about: if is_current { "current" } else { "" }.to_owned(),
            id: String::new(),
            name,
        }
    };
    contexts
        .names()
        .unwrap_or_default()
        .into_iter()
        .map(name)
        .collect()
}
