//! A registry of images beside the hosts, at the switch's address. Plain HTTP, which the bed's Engines accept there;
//! with a password when asked. It goes with its value.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::run::{BedError, Result, describe, must, wait_for, write};
use super::{Bed, Host};

/// The only user of a registry with a password.
pub const USER: &str = "reader";
/// That user's password.
pub const PASSWORD: &str = "letmein";
/// `PASSWORD` as the registry wants it (bcrypt).
const HASH: &str = "$2b$05$/BCErhYYHnue48CqU6daGekxCt0DQiXWXBa8U7yIbHQgrshjgB1nu";
const START_WITHIN: Duration = Duration::from_secs(60);

/// Who may read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// [`USER`] with [`PASSWORD`].
    Password,
}

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    address: String,
    process: Child,
}

impl Registry {
    /// Starts a registry on `port` of the bed's switch. Its images lie in the bed's folder.
    pub fn start(bed: &Bed, port: u16, access: Access) -> Result<Self> {
        let dir = bed.dir().join(format!("registry-{port}"));
        let address = format!("{}:{port}", bed.switch_address());
        let config = write_config(&dir, &address, access)?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", bed.switch()))
            .args(["docker-registry", "serve"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let line = describe(&command);
        let process = command.spawn().map_err(|source| BedError::NotStarted {
            command: line,
            source,
        })?;
        let registry = Self { address, process };
        let ask = format!("curl -s -o /dev/null http://{}/v2/", registry.address);
        wait_for("the registry", START_WITHIN, || match bed.at_switch(&ask) {
            Ok(out) if out.success() => Ok(()),
            Ok(out) => Err(out.text()),
            Err(error) => Err(error.to_string()),
        })?;
        Ok(registry)
    }

    /// `HOST:PORT`, the first part of its images' names.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Pushes an image that `host` has as `image`, and returns its name in this registry.
    pub fn push(&self, host: &Host, image: &str) -> Result<String> {
        let name = format!("{}/{image}", self.address);
        let login = format!(
            "echo {PASSWORD} | docker login --username {USER} --password-stdin {}",
            self.address
        );
        host.sh(&format!(
            "{login} && docker tag {image} {name} && docker push {name} && docker rmi {name}"
        ))?;
        host.sh(&format!("docker logout {}", self.address))?;
        Ok(name)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

fn write_config(dir: &std::path::Path, address: &str, access: Access) -> Result<PathBuf> {
    let users = dir.join("htpasswd");
    write(&users, format!("{USER}:{HASH}\n"))?;
    must("mkdir", &["-p", &dir.join("data").to_string_lossy()])?;
    let auth = match access {
        Access::Open => String::new(),
        Access::Password => format!(
            "auth:\n  htpasswd:\n    realm: bed\n    path: {}\n",
            users.display()
        ),
    };
    let config = dir.join("config.yml");
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n\
         http:\n  addr: {address}\n{auth}",
        dir.join("data").display()
    );
    write(&config, text)?;
    Ok(config)
}
