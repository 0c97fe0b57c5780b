//! The texts that were read, and places in them. It reads nothing itself: who opens a file adds it here, so that every
//! finding can show its line.

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 2 * 1024 * 1024;

/// A file that was read, by its number in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(usize);

/// A stretch of one line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which file.
    pub file: FileId,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Length in characters, at least 1.
    pub width: usize,
}

/// One text and the name it is shown by.
#[derive(Debug, Clone)]
pub struct Source {
    /// As the user gave it, `<stdin>` for standard input.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// All texts of one run, in the order they were read.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Keeps a text and gives it a number.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        self.files.push(Source {
            name: name.into(),
            text: text.into(),
        });
        FileId(self.files.len() - 1)
    }

    /// The text with this number.
    #[must_use]
    pub fn get(&self, file: FileId) -> &Source {
        &self.files[file.0]
    }

    /// Names of all files, in the order they were read.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// The line a place points at, without its line break.
    #[must_use]
    pub fn line(&self, place: Place) -> &str {
        self.get(place.file)
            .text
            .lines()
            .nth(place.line.saturating_sub(1))
            .unwrap_or_default()
    }

    /// `file:line:column`, as compilers write it.
    #[must_use]
    pub fn show(&self, place: Place) -> String {
        format!("{}:{}:{}", self.get(place.file).name, place.line, place.column)
    }
}
