//! This workstation's credentials for registries, as Docker keeps them: its configuration file and its helpers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow, bail};
use serde::Deserialize;

use crate::client::Credential;
use crate::image::registry_of;

/// What Docker calls its own registry in its configuration.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The part of Docker's `config.json` that is about registries.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The credentials for the registry of an image.
///
/// # Errors
/// When there are none, or the helper that keeps them fails.
pub(crate) fn for_image(image: &str) -> anyhow::Result<Credential> {
    let path = config_file()?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let config: DockerConfig =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    find(&config, registry_of(image), ask_helper)?.ok_or_else(|| {
        let host = registry_of(image);
        anyhow!(
            "no credentials for {host} in {}: `docker login {host}` or `shoal registry login {host}`",
            path.display()
        )
    })
}

fn config_file() -> anyhow::Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let dir = set("DOCKER_CONFIG").or_else(|| {
        set("HOME")
            .or_else(|| set("USERPROFILE"))
            .map(|h| h.join(".docker"))
    });
    Ok(dir
        .ok_or_else(|| anyhow!("no home directory is set: set DOCKER_CONFIG"))?
        .join("config.json"))
}

/// Finds credentials; `ask` runs a helper for a key.
fn find(
    config: &DockerConfig,
    host: &str,
    ask: impl Fn(&str, &str) -> anyhow::Result<(String, String)>,
) -> anyhow::Result<Option<Credential>> {
    let key = if host == "docker.io" { DOCKER_HUB_KEY } else { host };
    let with = |(username, password)| {
        Some(Credential {
            host: host.to_owned(),
            username,
            password,
        })
    };
    if let Some(helper) = config.cred_helpers.get(key) {
        return ask(helper, key).map(with);
    }
    let known = config
        .auths
        .iter()
        .find(|(k, _)| *k == key || k.trim_start_matches("https://").trim_end_matches('/') == host);
    match known {
        None => Ok(None),
        Some((known_key, auth)) if auth.auth.is_empty() && !config.creds_store.is_empty() => {
            ask(&config.creds_store, known_key).map(with)
        }
        Some((_, auth)) => decode(&auth.auth).map(with),
    }
}

fn decode(auth: &str) -> anyhow::Result<(String, String)> {
    let bytes = data_encoding::BASE64
        .decode(auth.as_bytes())
        .context("the stored credentials are not base64")?;
    let text = String::from_utf8(bytes).context("the stored credentials are not text")?;
    let (username, password) = text
        .split_once(':')
        .ok_or_else(|| anyhow!("the stored credentials have no colon"))?;
    Ok((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Asks a `docker-credential-…` program, which reads the key on standard input.
fn ask_helper(helper: &str, key: &str) -> anyhow::Result<(String, String)> {
    let program = format!("docker-credential-{helper}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(key.as_bytes())
            .with_context(|| format!("cannot write to {program}"))?;
    }
    let output = child
        .wait_with_output()
        .with_context(|| format!("{program} did not end"))?;
    if !output.status.success() {
        bail!("{program} has no credentials for {key}");
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{program} answered no JSON"))?;
    Ok((answer.username, answer.secret))
}

#[cfg(test)]
mod tests {
    use super::{DockerConfig, find};

    fn config(text: &str) -> DockerConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn stored_credentials_are_decoded() {
        let config = config(r#"{"auths": {"https://r.example/": {"auth": "Y2k6aHVudGVyMg=="}}}"#);
        let found = find(&config, "r.example", |_, _| panic!("no helper is configured"))
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.username.as_str(), found.password.as_str()),
            ("ci", "hunter2")
        );
    }

    #[test]
    fn a_helper_is_asked_for_its_own_registry() {
        let config = config(r#"{"credHelpers": {"r.example": "vault"}}"#);
        let found = find(&config, "r.example", |helper, key| {
            Ok((helper.to_owned(), key.to_owned()))
        })
        .unwrap()
        .unwrap();
        assert_eq!(
            (found.username.as_str(), found.password.as_str()),
            ("vault", "r.example")
        );
    }

    #[test]
    fn a_registry_nobody_logged_in_to_has_no_credentials() {
        assert!(
            find(&config("{}"), "r.example", |_, _| panic!(
                "no helper is configured"
            ))
            .unwrap()
            .is_none()
        );
    }
}
