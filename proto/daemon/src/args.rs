//! The parts of a daemon's command line that both have. Reads a token where it was said to be, and nothing else.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::PathBuf;

use clap::Args;
use shoal_proto::identity::MACHINE_ID_FILE;

use crate::kind::Kind;

/// The host the daemon runs on.
#[derive(Debug, Clone, Args)]
pub struct HostArgs {
    /// Where state and identity are kept
    #[arg(
        long,
        env = "SHOAL_DATA_DIR",
        default_value = "/var/lib/shoal",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// The file with this host's machine-id
    #[arg(long, env = "SHOAL_MACHINE_ID_FILE", default_value = MACHINE_ID_FILE, value_name = "FILE", hide = true)]
    pub machine_id_file: PathBuf,
    /// The name this host goes by; its hostname where not given
    #[arg(long, env = "SHOAL_HOSTNAME", value_name = "NAME", hide = true)]
    pub hostname: Option<String>,
}

impl HostArgs {
    /// The identity folder, which the daemons of a host share.
    #[must_use]
    pub fn identity_dir(&self) -> PathBuf {
        self.data_dir.join("identity")
    }
}

/// A join token, or where it is.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The join token; better from --token-file, standard input (`-`) or the environment
    #[arg(
        long,
        env = "SHOAL_TOKEN",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    pub token: Option<String>,
    /// A file with the join token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// There is no token where it was said to be.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// In no file.
    #[error("token file {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not on standard input.
    #[error("token from standard input")]
    StandardInput(#[source] io::Error),
    /// It was not said.
    #[error(
        "a join token is needed (--token, --token-file, SHOAL_TOKEN, or `--token -` for standard input): print one \
         on a manager with `shoal cluster join-token {}`", .0.role()
    )]
    Missing(Kind),
}

impl TokenArgs {
    /// The token that makes this host a `kind`: from `--token` or the environment, a file, or standard input (`-`).
    ///
    /// # Errors
    /// When it is nowhere, or cannot be read where it was said to be.
    pub fn read(&self, kind: Kind) -> Result<String, TokenError> {
        let text = match (&self.token, &self.token_file) {
            (_, Some(path)) => std::fs::read_to_string(path).map_err(|source| TokenError::File {
                path: path.clone(),
                source,
            })?,
            (Some(token), _) if token == "-" => {
                let mut text = String::new();
                io::stdin()
                    .read_to_string(&mut text)
                    .map_err(TokenError::StandardInput)?;
                text
            }
            (Some(token), _) => token.clone(),
            (None, None) => return Err(TokenError::Missing(kind)),
        };
        Ok(text.trim().to_owned())
    }
}

/// Reads `KEY=VALUE`.
///
/// # Errors
/// Says what a label looks like.
pub fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not a label: expected KEY=VALUE")),
    }
}

/// The labels as a map; a key given twice keeps its last value.
#[must_use]
pub fn label_map(labels: &[(String, String)]) -> BTreeMap<String, String> {
    labels.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::{TokenArgs, TokenError, parse_label};
    use crate::kind::Kind;

    #[test]
    fn a_token_is_read_from_its_file_without_the_line_end() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("token");
        std::fs::write(&file, "SHOAL-1\n").unwrap();
        let args = TokenArgs {
            token: None,
            token_file: Some(file),
        };
        assert_eq!(args.read(Kind::Agent).unwrap(), "SHOAL-1");
    }

    #[test]
    fn without_a_token_the_command_that_prints_the_right_one_is_named() {
        let none = TokenArgs {
            token: None,
            token_file: None,
        };
        let said = |kind| none.read(kind).unwrap_err().to_string();
        assert!(said(Kind::Agent).ends_with("`shoal cluster join-token worker`"));
        assert!(said(Kind::Manager).ends_with("`shoal cluster join-token manager`"));
    }

    #[test]
    fn a_token_file_that_is_not_there_is_named() {
        let args = TokenArgs {
            token: None,
            token_file: Some("/nowhere/token".into()),
        };
        let error = args.read(Kind::Agent).unwrap_err();
        assert!(matches!(error, TokenError::File { .. }));
        assert_eq!(error.to_string(), "token file /nowhere/token");
    }

    #[test]
    fn a_label_has_a_key() {
        assert_eq!(parse_label("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert!(parse_label("=b").is_err() && parse_label("a").is_err());
    }
}
