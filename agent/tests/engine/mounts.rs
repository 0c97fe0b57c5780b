//! What a task's file systems are, seen from inside.

use shoal_proto::container::{Mount, MountKind};
use shoal_proto::service::TaskTemplate;

use shoal_agent::engine::{Engine as _, EngineError, Networks, plan};

use crate::bed::{block, facts, shared, shell_with};
use crate::keys::sees;

#[test]
fn a_read_only_root_with_a_tmpfs_in_it() {
    let change = |t: &mut TaskTemplate| {
        t.container.read_only = true;
        t.container.mounts = vec![Mount {
            destination: "/scratch".to_owned(),
            read_only: false,
            kind: MountKind::Tmpfs {
                size_bytes: 1 << 20,
                mode: 0o750,
            },
        }];
    };
    let script = "touch /x 2>/dev/null || echo root is read-only; touch /scratch/x && echo scratch is not; \
                  df -k /scratch | tail -1 | awk '{print $2}'; stat -c %a /scratch";
    sees(script, change, "root is read-only\nscratch is not\n1024\n750");
}

#[test]
fn a_bind_mount_read_only_and_one_that_is_made() {
    let bed = shared();
    let (there, absent) = (bed.dir.join("there"), bed.dir.join("absent/deep"));
    std::fs::create_dir_all(&there).expect("directory");
    std::fs::write(there.join("file"), "content\n").expect("file");
    let bind = |source: &std::path::Path, destination: &str, read_only, create| Mount {
        destination: destination.to_owned(),
        read_only,
        kind: MountKind::Bind {
            source: source.to_string_lossy().into_owned(),
            propagation: "rprivate".to_owned(),
            create,
        },
    };
    let mounts = vec![
        bind(&there, "/ro", true, false),
        bind(&absent, "/{{.Service.Name}}", false, true),
    ];
    let script = "cat /ro/file; touch /ro/x 2>/dev/null || echo read-only; echo hi > /web/out";
    sees(script, |t| t.container.mounts = mounts, "content\nread-only");
    assert_eq!(
        std::fs::read_to_string(absent.join("out")).expect("written"),
        "hi\n"
    );
    let missing = shell_with("true", |t| {
        t.container.mounts = vec![bind("/nowhere/at/all".as_ref(), "/x", false, false)]
    });
    let made = plan(&missing, &Networks::new(), &facts()).expect("plan");
    let error = block(bed.engine.create(&made)).expect_err("a missing source is refused");
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

#[test]
fn volumes_keep_data_copy_the_images_and_may_be_anonymous() {
    let volume = |name: &str, destination: &str, no_copy| Mount {
        destination: destination.to_owned(),
        read_only: false,
        kind: MountKind::Volume {
            name: name.to_owned(),
            driver: String::new(),
            driver_options: Default::default(),
            labels: [("kind".to_owned(), "test".to_owned())].into(),
            no_copy,
            subpath: String::new(),
        },
    };
    sees(
        "echo kept > /v/f",
        |t| t.container.mounts = vec![volume("{{.Service.Name}}-data", "/v", false)],
        "",
    );
    sees(
        "cat /v/f",
        |t| t.container.mounts = vec![volume("web-data", "/v", false)],
        "kept",
    );
    assert_eq!(
        shared().docker(&["volume", "inspect", "-f", "{{.Labels.kind}}", "web-data"]),
        "test"
    );
    sees(
        "ls /data",
        |t| t.container.mounts = vec![volume("copied", "/data", false)],
        "from-image",
    );
    sees(
        "ls /data",
        |t| t.container.mounts = vec![volume("bare", "/data", true)],
        "",
    );
    let before = shared().docker(&["volume", "ls", "-q"]);
    sees(
        "touch /v/x && echo ok",
        |t| t.container.mounts = vec![volume("", "/v", false)],
        "ok",
    );
    assert_eq!(
        shared().docker(&["volume", "ls", "-q"]),
        before,
        "an anonymous volume goes with its container"
    );
}

fn bind(source: &str, destination: &str, propagation: &str) -> Mount {
    Mount {
        destination: destination.to_owned(),
        read_only: false,
        kind: MountKind::Bind {
            source: source.to_owned(),
            propagation: propagation.to_owned(),
            create: false,
        },
    }
}

#[test]
fn a_bind_mounts_propagation_is_the_one_that_was_asked_for() {
    // A file system of the bed that passes its mounts on.
    let source = shared().dir.join("shared").to_string_lossy().into_owned();
    for (propagation, expected) in [
        ("rshared", "shared"),
        ("rslave", "master"),
        ("rprivate", ""),
        ("", ""),
    ] {
        let asked = |t: &mut TaskTemplate| t.container.mounts = vec![bind(&source, "/p", propagation)];
        let script = "grep ' / /p ' /proc/self/mountinfo | grep -oE ' (shared|master):' | tr -d ' :'";
        sees(script, asked, expected);
    }
    let wrong = shell_with("true", |t| {
        t.container.mounts = vec![bind(&source, "/p", "sideways")];
    });
    let made = plan(&wrong, &Networks::new(), &facts()).expect("plan");
    let error = block(shared().engine.create(&made)).expect_err("no such propagation");
    assert!(
        error
            .to_string()
            .contains("\"sideways\" of a bind mount: one of private"),
        "{error}"
    );
}

fn volume(change: impl FnOnce(&mut MountKind)) -> Mount {
    let mut kind = MountKind::Volume {
        name: String::new(),
        driver: String::new(),
        driver_options: [].into(),
        labels: [].into(),
        no_copy: false,
        subpath: String::new(),
    };
    change(&mut kind);
    Mount {
        destination: "/v".to_owned(),
        read_only: false,
        kind,
    }
}

#[test]
fn a_volumes_driver_and_its_options_are_in_force_named_or_not() {
    for called in ["", "optioned"] {
        let mount = volume(|kind| {
            let MountKind::Volume {
                name, driver_options, ..
            } = kind
            else {
                return;
            };
            called.clone_into(name);
            let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=2m,mode=0711")];
            *driver_options = options
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        });
        sees(
            "df -k /v | tail -1 | awk '{print $1, $2}'; stat -c %a /v",
            |t| t.container.mounts = vec![mount],
            "tmpfs 2048\n711",
        );
    }
}

#[test]
fn a_volume_may_be_read_only() {
    let mut mount = volume(|kind| {
        if let MountKind::Volume { name, .. } = kind {
            "looked-at".clone_into(name);
        }
    });
    mount.read_only = true;
    let script = "touch /v/x 2>/dev/null || echo read-only";
    sees(script, |t| t.container.mounts = vec![mount], "read-only");
}

#[test]
fn part_of_a_volume_is_seen_or_refused_by_the_engines_version() {
    let part = |inside: &str| {
        volume(|kind| {
            if let MountKind::Volume { name, subpath, .. } = kind {
                "parted".clone_into(name);
                inside.clone_into(subpath);
            }
        })
    };
    let whole = part("");
    sees(
        "mkdir /v/deep; echo part > /v/deep/f",
        |t| t.container.mounts = vec![whole],
        "",
    );
    let deep = part("deep");
    let task = shell_with("cat /v/f", |t| t.container.mounts = vec![deep]);
    let bed = shared();
    let api = block(bed.engine.info()).expect("info").api;
    let minor: u32 = api.split_once('.').expect("version").1.parse().expect("number");
    if minor >= 45 {
        assert_eq!(bed.run(&task).1.trim(), "part");
        return;
    }
    let made = plan(&task, &Networks::new(), &facts()).expect("plan");
    let error = block(bed.engine.create(&made)).expect_err("this engine does not know it");
    assert!(
        matches!(&error, EngineError::TooOld { .. }) && error.to_string().contains("subpath of a volume"),
        "{error}"
    );
}

#[test]
fn memory_without_options_has_the_engines_bounds_and_mode() {
    let mount = Mount {
        destination: "/scratch".to_owned(),
        read_only: false,
        kind: MountKind::Tmpfs {
            size_bytes: 0,
            mode: 0,
        },
    };
    let script = "stat -c %a /scratch; grep ' /scratch ' /proc/mounts | cut -d' ' -f1";
    sees(script, |t| t.container.mounts = vec![mount], "1777\ntmpfs");
}
