//! The words of a line that is being typed, read along the command's own definition: what stands there already, and what
//! kind of word the cursor is in. Pure: asks nobody for names.

use std::collections::BTreeSet;

use clap::{Arg, ArgAction, Command};

use super::Candidate;
use super::wants::{self, Want};

/// What is expected where the cursor is.
enum Place<'a> {
    /// A command, an option, or a value by its place.
    Word,
    /// The value of an option.
    Value(&'a Arg),
}

/// Where the words lead.
pub(super) struct Line<'a> {
    command: &'a Command,
    /// Names of the commands, the program's left out.
    path: Vec<&'a str>,
    place: Place<'a>,
    /// What stands before what is typed of a value, in the same word: `--context=`.
    before: String,
    typed: String,
    /// Options that were given.
    options: BTreeSet<String>,
    /// Values by their place, of the innermost command.
    values: Vec<String>,
    /// After `--`, or in words that belong to somebody else's command.
    only_values: bool,
    host: Option<String>,
    context: Option<String>,
}

impl<'a> Line<'a> {
    /// Reads the words after the program's name. The last is the one at the cursor.
    pub(super) fn read(command: &'a Command, words: &[String]) -> Self {
        let mut line = Self {
            command,
            path: Vec::new(),
            place: Place::Word,
            before: String::new(),
            typed: String::new(),
            options: BTreeSet::new(),
            values: Vec::new(),
            only_values: false,
            host: None,
            context: None,
        };
        let Some((last, complete)) = words.split_last() else {
            return line;
        };
        for word in complete {
            line.take(word);
        }
        line.stop_at(last);
        line
    }

    /// A word that is complete.
    fn take(&mut self, word: &str) {
        if let Place::Value(option) = self.place {
            self.place = Place::Word;
            self.give(option, word);
        } else if !self.only_values && word == "--" {
            self.only_values = true;
        } else if !self.only_values && word.starts_with("--") {
            self.take_long(word);
        } else if !self.only_values && word.starts_with('-') && word != "-" {
            self.take_short(word);
        } else if let Some(verb) = self.verb(word) {
            self.command = verb;
            self.path.push(verb.get_name());
            self.values.clear();
        } else {
            self.values.push(word.to_owned());
            let belongs_to_others = self.by_place().is_some_and(Arg::is_trailing_var_arg_set);
            self.only_values |= belongs_to_others;
        }
    }

    fn take_long(&mut self, word: &str) {
        let (name, value) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
        let Some(option) = self.long(name) else {
            return;
        };
        self.options.insert(option.get_id().to_string());
        match value {
            Some(value) => self.give(option, value),
            None if takes_next(option) => self.place = Place::Value(option),
            None => {}
        }
    }

    /// Letters, of which the last may have a value: in the same word, or in the next.
    fn take_short(&mut self, word: &str) {
        let mut letters = word.chars().skip(1);
        while let Some(letter) = letters.next() {
            let has = |arg: &&Arg| arg.get_short() == Some(letter);
            let Some(option) = self.command.get_arguments().find(has) else {
                return;
            };
            self.options.insert(option.get_id().to_string());
            if !takes_next(option) {
                continue;
            }
            if letters.next().is_none() {
                self.place = Place::Value(option);
            }
            return;
        }
    }

    fn give(&mut self, option: &Arg, value: &str) {
        match option.get_id().as_str() {
            "context" => self.context = Some(value.to_owned()),
            // Elsewhere it is a line of the hosts file.
            "host" if self.path.is_empty() => self.host = Some(value.to_owned()),
            _ => {}
        }
    }

    /// The word at the cursor.
    fn stop_at(&mut self, word: &str) {
        word.clone_into(&mut self.typed);
        let option = word.split_once('=').filter(|_| word.starts_with("--"));
        if matches!(self.place, Place::Value(_)) || self.only_values {
            return;
        }
        let Some((name, value)) = option else {
            return;
        };
        if let Some(option) = self.long(name).filter(|option| takes_value(option)) {
            self.place = Place::Value(option);
            self.before = format!("{name}=");
            value.clone_into(&mut self.typed);
        }
    }

    fn verb(&self, word: &str) -> Option<&'a Command> {
        if self.only_values {
            return None;
        }
        let verbs = self.command.get_subcommands();
        let mut named =
            verbs.filter(|verb| verb.get_name() == word || verb.get_all_aliases().any(|a| a == word));
        named.next()
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        let name = name.strip_prefix("--")?;
        self.command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(name))
    }

    /// The argument that takes the value at the cursor by its place.
    fn by_place(&self) -> Option<&'a Arg> {
        let args: Vec<&Arg> = self.command.get_positionals().collect();
        let repeated = args.last().filter(|last| takes_many(last));
        args.get(self.values.len()).or(repeated).copied()
    }

    /// The argument whose value is typed.
    fn arg(&self) -> Option<&'a Arg> {
        match self.place {
            Place::Value(option) => Some(option),
            Place::Word if self.is_option() => None,
            Place::Word => self.by_place(),
        }
    }

    fn is_option(&self) -> bool {
        !self.only_values && self.typed.starts_with('-')
    }

    /// What is wanted beside what [`Line::offers`] has.
    pub(super) fn want(&self) -> Want {
        // Only commands about one stack name it first.
        let stack = self.values.first().map(String::as_str);
        self.arg()
            .map_or(Want::Nothing, |arg| wants::of(&self.path, arg, stack))
    }

    /// What stands before what is typed of the value.
    pub(super) fn before(&self) -> &str {
        &self.before
    }

    /// What is typed of the word, or of the option's value.
    pub(super) fn typed(&self) -> &str {
        &self.typed
    }

    /// Whether a name stands there already among those that the argument takes.
    pub(super) fn is_given(&self, name: &str) -> bool {
        let own = matches!(self.place, Place::Word);
        let is_it = |value: &String| value == name || value.split_once('=').is_some_and(|(n, _)| n == name);
        let first = self.command.get_positionals().count().saturating_sub(1);
        own && self.values.iter().skip(first).any(is_it)
    }

    /// `--host`, where it was given.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// `--context`, where it was given.
    pub(super) fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// Commands, options and listed values that begin like what is typed.
    pub(super) fn offers(&self) -> Vec<Candidate> {
        if matches!(self.place, Place::Word) && self.is_option() {
            return self.options();
        }
        let mut found = self.listed_values();
        if matches!(self.place, Place::Word) && !self.only_values {
            found.extend(self.verbs());
        }
        found
    }

    fn verbs(&self) -> impl Iterator<Item = Candidate> {
        let shown = self.command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let fits = shown.filter(|verb| verb.get_name().starts_with(&self.typed));
        fits.map(|verb| Candidate {
            word: verb.get_name().to_owned(),
            about: verb.get_about().map(ToString::to_string).unwrap_or_default(),
        })
    }

    /// Options that were not given yet, or may be given again.
    fn options(&self) -> Vec<Candidate> {
        let again = |arg: &Arg| matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
        let open = |arg: &&Arg| {
            !arg.is_positional()
                && !arg.is_hide_set()
                && (again(arg) || !self.options.contains(arg.get_id().as_str()))
        };
        let mut found = Vec::new();
        for arg in self.command.get_arguments().filter(open) {
            let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let long = arg.get_long().map(|name| format!("--{name}"));
            let short = arg.get_short().map(|letter| format!("-{letter}"));
            for word in [long, short].into_iter().flatten() {
                let about = about.clone();
                found.push(Candidate { word, about });
            }
        }
        found.retain(|candidate| candidate.word.starts_with(&self.typed));
        found
    }

    /// The values that the argument lists itself.
    fn listed_values(&self) -> Vec<Candidate> {
        let listed = self.arg().map(Arg::get_possible_values).unwrap_or_default();
        let fits = listed
            .iter()
            .filter(|value| !value.is_hide_set() && value.get_name().starts_with(&self.typed));
        let candidate = fits.map(|value| Candidate {
            word: format!("{}{}", self.before, value.get_name()),
            about: value.get_help().map(ToString::to_string).unwrap_or_default(),
        });
        candidate.collect()
    }
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

/// Whether its value is in the next word.
fn takes_next(option: &Arg) -> bool {
    takes_value(option) && !option.is_require_equals_set()
}

fn takes_many(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.max_values() > 1)
        || matches!(arg.get_action(), ArgAction::Append)
}
