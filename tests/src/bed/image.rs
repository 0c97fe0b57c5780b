//! Small images without a registry, made once from the machine's static busybox and loaded on every host, so that
//! image ids agree. `shoal/web:1|2|3` answers HTTP with hostname and version (3 fails its health check on
//! purpose), `shoal/traffic:1|2` answers datagrams and lines on port 9000, `shoal/idle:1` waits. All of them end at once
//! on TERM.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::host::Host;
use super::layout::Layout;
use super::run::{BedError, Result, make_dir, must, write};

/// Counts changes of the recipe below, so that an old archive is not used for a new recipe.
const RECIPE: u32 = 3;
const BUSYBOX: &str = "/bin/busybox";
/// Every image the archive holds.
pub const IMAGES: [&str; 6] = [
    "shoal/web:1",
    "shoal/web:2",
    "shoal/web:3",
    "shoal/traffic:1",
    "shoal/traffic:2",
    "shoal/idle:1",
];
/// The program `traffic`, which is part of this package and is built once more as a static program.
const TRAFFIC_SOURCE: &str = include_str!("../bin/traffic.rs");

/// Listens on `$PORT`; httpd serves `/cgi-bin/index.cgi` where there is no index page.
const WEB: &str = "#!/bin/sh\ntrap 'kill $!; exit 0' TERM INT\n\
    httpd -f -h /www -p ${PORT:-8000} & wait\n";
const WEB_PAGE: &str =
    "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s version %s\\n' \"$(hostname)\" \"$VERSION\"\n";
const HEALTHY: &str =
    "#!/bin/sh\n[ \"$VERSION\" != 3 ] && wget -q -O /dev/null http://127.0.0.1:${PORT:-8000}/\n";
const IDLE: &str = "#!/bin/sh\ntrap 'exit 0' TERM INT\nsleep 2147483647 & wait\n";

const TRAFFIC: &str = "#!/bin/sh\ntrap 'kill $!; exit 0' TERM INT\n\
    traffic serve --udp ${PORT:-9000} --tcp ${PORT:-9000} & wait\n";

/// Loads all [`IMAGES`] on every one of `hosts`.
pub fn load(hosts: &[Host]) -> Result<()> {
    let Some(first) = hosts.first() else { return Ok(()) };
    let archive = archive_path()?;
    if !archive.exists() {
        make_archive(first, &archive)?;
    }
    std::thread::scope(|scope| {
        let load = |host: &Host| {
            host.sh(&format!("docker load --quiet --input {}", archive.display()))
                .map(drop)
        };
        let loading: Vec<_> = hosts.iter().map(|host| scope.spawn(move || load(host))).collect();
        loading
            .into_iter()
            .try_for_each(|thread| thread.join().expect("loading does not panic"))
    })
}

fn archive_path() -> Result<PathBuf> {
    let size = std::fs::metadata(BUSYBOX)
        .map(|meta| meta.len())
        .map_err(|_| BedError::Refused(format!("{BUSYBOX} is missing: apt-get install busybox-static")))?;
    Ok(folder()?.join(format!("recipe-{RECIPE}-{size}-{:x}.tar", traffic_digest())))
}

fn folder() -> Result<PathBuf> {
    let folder = Layout::root().join("images");
    make_dir(&folder)?;
    Ok(folder)
}

fn traffic_digest() -> u64 {
    let mut hasher = DefaultHasher::new();
    TRAFFIC_SOURCE.hash(&mut hasher);
    hasher.finish()
}

/// The static program `traffic`, for whoever asks from a host; built when it is first needed.
pub fn traffic() -> Result<PathBuf> {
    let program = folder()?.join(format!("traffic-{:x}", traffic_digest()));
    if program.exists() {
        return Ok(program);
    }
    let work = program.with_extension(format!("work-{}", std::process::id()));
    make_dir(&work)?;
    let (source, built) = (work.join("traffic.rs"), work.join("traffic"));
    write(&source, TRAFFIC_SOURCE)?;
    // Cargo tells where it is; the compiler of the same toolchain lies beside it.
    let beside = std::env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
    let rustc = beside
        .filter(|path| path.exists())
        .unwrap_or_else(|| "rustc".into());
    let path = |at: &Path| at.to_string_lossy().into_owned();
    let options = "--edition 2024 -O -C target-feature=+crt-static -C strip=symbols -o";
    let (built_text, source_text) = (path(&built), path(&source));
    let arguments: Vec<&str> = options
        .split(' ')
        .chain([built_text.as_str(), source_text.as_str()])
        .collect();
    must(&path(&rustc), &arguments)?;
    std::fs::rename(&built, &program).map_err(|source| BedError::File {
        path: program.clone(),
        source,
    })?;
    std::fs::remove_dir_all(&work).map_err(|source| BedError::File { path: work, source })?;
    Ok(program)
}

fn make_archive(host: &Host, archive: &Path) -> Result<()> {
    let work = archive.with_extension(format!("work-{}", std::process::id()));
    let (web, idle, serve) = (
        work.join("web.tar"),
        work.join("idle.tar"),
        work.join("traffic.tar"),
    );
    root_file_system(
        &work.join("web"),
        &web,
        &[
            ("bin/web", WEB),
            ("bin/healthy", HEALTHY),
            ("www/cgi-bin/index.cgi", WEB_PAGE),
        ],
    )?;
    root_file_system(&work.join("idle"), &idle, &[("bin/idle", IDLE)])?;
    let root = work.join("traffic");
    make_dir(&root.join("bin"))?;
    let program = traffic()?.to_string_lossy().into_owned();
    must("cp", &[&program, &root.join("bin/traffic").to_string_lossy()])?;
    root_file_system(&root, &serve, &[("bin/serve", TRAFFIC)])?;
    // Time enough for a machine on which many hosts start something: slow is not broken, and 3 says no at once.
    let check = "HEALTHCHECK --interval=1s --timeout=20s --retries=3 CMD /bin/healthy";
    for version in 1..=3 {
        host.sh(&format!(
            "docker import -c 'CMD [\"/bin/web\"]' -c 'ENV VERSION={version}' -c 'EXPOSE 8000' -c '{check}' \
             {} shoal/web:{version}",
            web.display()
        ))?;
    }
    for version in 1..=2 {
        host.sh(&format!(
            "docker import -c 'CMD [\"/bin/serve\"]' -c 'ENV VERSION={version}' {} shoal/traffic:{version}",
            serve.display()
        ))?;
    }
    host.sh(&format!(
        "docker import -c 'CMD [\"/bin/idle\"]' {} shoal/idle:1",
        idle.display()
    ))?;
    let fresh = work.join("images.tar");
    host.sh(&format!(
        "docker save --output {} {}",
        fresh.display(),
        IMAGES.join(" ")
    ))?;
    // Two beds may do this at once: the archive appears whole or not at all.
    std::fs::rename(&fresh, archive).map_err(|source| BedError::File {
        path: archive.to_owned(),
        source,
    })?;
    std::fs::remove_dir_all(&work).map_err(|source| BedError::File { path: work, source })
}

fn root_file_system(root: &Path, tar: &Path, scripts: &[(&str, &str)]) -> Result<()> {
    let path = |at: &Path| at.to_string_lossy().into_owned();
    for folder in [
        "bin",
        "etc",
        "tmp",
        "proc",
        "sys",
        "dev",
        "root",
        "run",
        "data",
        "www/cgi-bin",
    ] {
        make_dir(&root.join(folder))?;
    }
    must("cp", &[BUSYBOX, &path(&root.join("bin/busybox"))])?;
    for applet in must(BUSYBOX, &["--list"])?
        .lines()
        .filter(|name| *name != "busybox")
    {
        must("ln", &["-sf", "busybox", &path(&root.join("bin").join(applet))])?;
    }
    write(
        &root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000:web:/:/bin/sh\n",
    )?;
    write(&root.join("etc/group"), "root:x:0:\nweb:x:1000:\nstaff:x:50:\n")?;
    for (name, script) in scripts {
        let file = root.join(name);
        write(&file, script)?;
        must("chmod", &["755", &path(&file)])?;
    }
    must("tar", &["-C", &path(root), "-cf", &path(tar), "."]).map(drop)
}
