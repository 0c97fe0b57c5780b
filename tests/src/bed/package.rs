//! Puts Shoal on hosts the way an operator does: builds the package, unpacks it on the host, runs its
//! `install.sh`. Nothing reaches a host beside the tarball.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::host::Host;
use super::run::{BedError, Output, Result, must};

/// Names a tarball that is there already (set by `deploy/test`, so that not every test target packs one).
const TARBALL_VARIABLE: &str = "SHOAL_TARBALL";
/// Up to six hosts unpack two hundred megabytes at the same time, on one machine's disk.
const INSTALL_WITHIN: Duration = Duration::from_secs(180);

/// The package that this process installs, once it is packed. Hosts install at the same time: only one of them packs.
static PACKED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The package of this workspace with debug programs, packed once per process.
pub fn tarball() -> Result<PathBuf> {
    packed("--debug")
}

/// Packs release programs and has [`install`] use them from now on: for benchmarks.
pub fn pack_release() -> Result<()> {
    packed("").map(drop)
}

fn packed(profile: &str) -> Result<PathBuf> {
    let mut packed = PACKED.lock().expect("packing does not panic");
    if let Some(path) = &*packed {
        return Ok(path.clone());
    }
    let path = match std::env::var_os(TARBALL_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => pack(profile)?,
    };
    if !path.is_file() {
        return Err(BedError::Refused(format!(
            "{TARBALL_VARIABLE}: no file {}",
            path.display()
        )));
    }
    *packed = Some(path.clone());
    Ok(path)
}

fn pack(profile: &str) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/package");
    let arguments: Vec<&str> = [profile].into_iter().filter(|word| !word.is_empty()).collect();
    let out = must(&script.to_string_lossy(), &arguments)?;
    let last = out.lines().last().unwrap_or_default();
    Ok(PathBuf::from(last))
}

/// Unpacks the package on `host` and runs its `install.sh` with `arguments`.
pub fn install(host: &Host, arguments: &str) -> Result<Output> {
    let tarball = tarball()?;
    host.put(
        "/root/shoal.tar.gz",
        std::fs::read(&tarball).map_err(|source| BedError::File {
            path: tarball.clone(),
            source,
        })?,
    )?;
    host.exec_within(INSTALL_WITHIN, &format!(
        "rm -rf shoal-package && mkdir shoal-package && tar -C shoal-package --strip-components=1 -xzf shoal.tar.gz \
         && rm shoal.tar.gz && shoal-package/install.sh {arguments}"
    ))
}
