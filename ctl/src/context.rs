//! Contexts: clusters this workstation knows, each with its identity folder and its managers' addresses.
//!
//! They live in `$SHOAL_CONFIG`, else `$XDG_CONFIG_HOME/shoal`, else `~/.config/shoal`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use shoal_proto::identity::Folder;

const CURRENT_FILE: &str = "current";

/// All contexts of this workstation.
#[derive(Debug, Clone)]
pub struct Contexts {
    dir: PathBuf,
}

impl Contexts {
    /// Where this user's contexts are.
    ///
    /// # Errors
    /// When neither `SHOAL_CONFIG` nor a home directory is set.
    pub fn of_user() -> anyhow::Result<Self> {
        let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let dir = set("SHOAL_CONFIG")
            .or_else(|| set("XDG_CONFIG_HOME").map(|d| d.join("shoal")))
            .or_else(|| set("HOME").map(|d| d.join(".config").join("shoal")))
            .or_else(|| set("USERPROFILE").map(|d| d.join(".config").join("shoal")))
            .ok_or_else(|| {
                anyhow!("no home directory is set: set SHOAL_CONFIG to a directory for the contexts")
            })?;
        Ok(Self { dir })
    }

    /// Contexts below a directory of the caller's choice.
    #[must_use]
    pub fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The identity folder of one context, whether it exists or not.
    ///
    /// # Errors
    /// When the name could leave the directory.
    pub fn folder(&self, name: &str) -> anyhow::Result<Folder> {
        let valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(valid) {
            bail!(
                "{name:?} is not a name for a context: use up to 64 letters, digits, dots, dashes and underscores"
            );
        }
        Ok(Folder::new(self.dir.join("contexts").join(name)))
    }

    /// Names of all contexts, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        let dir = self.dir.join("contexts");
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// The context that is used when none is named: `SHOAL_CONTEXT`, else what `context use` set.
    #[must_use]
    pub fn current(&self) -> Option<String> {
        let named = env::var("SHOAL_CONTEXT").ok();
        let chosen = named.or_else(|| fs::read_to_string(self.dir.join(CURRENT_FILE)).ok());
        chosen.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty())
    }

    /// Makes a context the current one.
    ///
    /// # Errors
    /// When there is none of that name, or the file cannot be written.
    pub fn choose(&self, name: &str) -> anyhow::Result<()> {
        if !self.folder(name)?.path().exists() {
            bail!("there is no context {name}: `shoal context ls` lists them");
        }
        let path = self.dir.join(CURRENT_FILE);
        fs::write(&path, name).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes a context with its key.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be removed.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        let folder = self.folder(name)?;
        if !folder.path().exists() {
            bail!("there is no context {name}: `shoal context ls` lists them");
        }
        fs::remove_dir_all(folder.path())
            .with_context(|| format!("cannot remove {}", folder.path().display()))?;
        if self.current().as_deref() == Some(name) {
            fs::remove_file(self.dir.join(CURRENT_FILE)).ok();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Contexts;

    #[test]
    fn a_name_that_leaves_the_directory_is_refused() {
        let contexts = Contexts::in_dir(std::path::Path::new("/nowhere"));
        for name in ["", "..", "a/b", ".hidden", "a b"] {
            assert!(contexts.folder(name).is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn choosing_and_removing_a_context_that_is_not_there_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let contexts = Contexts::in_dir(dir.path());
        assert!(contexts.choose("prod").unwrap_err().to_string().contains("prod"));
        assert!(contexts.remove("prod").unwrap_err().to_string().contains("prod"));
    }

    #[test]
    fn the_chosen_context_is_current_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let contexts = Contexts::in_dir(dir.path());
        std::fs::create_dir_all(contexts.folder("prod").unwrap().path()).unwrap();
        contexts.choose("prod").unwrap();
        assert_eq!(contexts.names().unwrap(), ["prod"]);
        contexts.remove("prod").unwrap();
        assert!(contexts.names().unwrap().is_empty());
    }
}
