//! Every mistake is refused with its name, and nothing else is.

use shoal_proto::container::{ConfigUse, FileTarget, Mount, MountKind, SecretUse};
use shoal_proto::service::{
    EndpointMode, HostPort, IngressPort, Mode, NetworkTarget, NetworkUse, Protocol, ServiceSpec, TaskTemplate,
};
use shoal_proto::update::FailureAction;

use super::{SpecError, validate};

fn spec() -> ServiceSpec {
    let mut template = TaskTemplate::default();
    "nginx:1".clone_into(&mut template.container.image);
    ServiceSpec {
        name: "stack_web-1".to_owned(),
        settings: Default::default(),
        template,
    }
}

fn refused(change: impl FnOnce(&mut ServiceSpec)) -> String {
    let mut spec = spec();
    change(&mut spec);
    validate(&spec).expect_err("a mistake").to_string()
}

fn ingress(published_port: u16) -> IngressPort {
    IngressPort {
        name: String::new(),
        protocol: Protocol::Tcp,
        container_port: 80,
        published_port,
        host_ip: None,
        prefer: None,
    }
}

fn host(published_port: u16, container_port: u16) -> HostPort {
    HostPort {
        protocol: Protocol::Tcp,
        container_port,
        published_port,
        host_ip: None,
    }
}

fn mount(destination: &str, kind: MountKind) -> Mount {
    Mount {
        destination: destination.to_owned(),
        read_only: false,
        kind,
    }
}

#[test]
fn an_ordinary_service_is_accepted() {
    assert_eq!(validate(&spec()), Ok(()));
}

#[test]
fn names_are_dns_labels() {
    for name in ["", "-web", "web-", "we b", "wéb", &"w".repeat(64)] {
        assert!(
            refused(|spec| name.clone_into(&mut spec.name)).contains("not valid"),
            "{name:?}"
        );
    }
    assert!(refused(|spec| spec.template.container.image.clear()).contains("names no image"));
}

#[test]
fn jobs_are_refused_until_they_exist() {
    assert!(refused(|spec| spec.settings.mode = Mode::GlobalJob).contains("global-job"));
}

#[test]
fn numbers_out_of_range_name_their_limit() {
    let message = refused(|spec| spec.settings.mode = Mode::Replicated { replicas: 100_001 });
    assert_eq!(message, "replicas is 100001: at most 100000");
    assert!(refused(|spec| spec.settings.update.max_failure_ratio_ppm = 1_000_001).contains("1000000"));
    assert!(refused(|spec| spec.settings.rollback.delay_ms = u64::MAX).contains("delay in ms"));
}

#[test]
fn a_rollback_cannot_roll_back() {
    let message = refused(|spec| spec.settings.rollback.failure_action = FailureAction::Rollback);
    assert!(message.contains("pause or continue"));
}

#[test]
fn placement_is_read_at_the_door() {
    let constrained = |text: &str| refused(|spec| spec.template.placement.constraints.push(text.to_owned()));
    assert!(constrained("node.labels.zone=a").contains("no operator"));
    assert!(constrained("node.color==red").contains("valid are node.id"));
    assert!(
        refused(|spec| spec.template.placement.spread.push("node.id".to_owned()))
            .contains("node.labels.NAME")
    );
    let message = refused(|spec| {
        spec.settings.mode = Mode::Global;
        spec.template.placement.max_replicas_per_node = 1;
    });
    assert!(message.contains("only for replicated"));
}

#[test]
fn a_reservation_is_at_most_the_limit() {
    let message = refused(|spec| {
        spec.template.resources.limits.memory_bytes = 64 << 20;
        spec.template.resources.reservations.memory_bytes = 65 << 20;
    });
    assert!(message.contains("memory in bytes reserves 68157440 and is limited to 67108864"));
    assert!(refused(|spec| spec.template.resources.limits.memory_bytes = 1_000).contains("too small"));
}

#[test]
fn less_than_a_thousandth_of_a_core_is_refused() {
    let message = refused(|spec| spec.template.resources.reservations.nano_cpus = 999_999);
    assert!(message.contains("cpu reservation of 999999 billionths of a core is too small"));
    assert!(refused(|spec| spec.template.resources.limits.nano_cpus = 1).contains("cpu limit of 1 "));
    let mut least = spec();
    least.template.resources.limits.nano_cpus = 1_000_000;
    assert_eq!(validate(&least), Ok(()));
}

fn secret(name: &str, path: &str) -> SecretUse {
    SecretUse {
        name: name.to_owned(),
        secret: None,
        version: None,
        file: file(path),
    }
}

fn file(path: &str) -> FileTarget {
    FileTarget {
        path: path.to_owned(),
        uid: String::new(),
        gid: String::new(),
        mode: 0o444,
    }
}

#[test]
fn two_files_or_a_file_and_a_mount_at_one_place_are_refused() {
    let both = |path: &str, other: &str| {
        refused(|spec| spec.template.container.secrets = vec![secret("a", path), secret("b", other)])
    };
    assert_eq!(both("key", "key"), "\"/run/secrets/key\" is mounted twice");
    assert_eq!(both("", "a"), "\"/run/secrets/a\" is mounted twice");
    assert_eq!(both("/etc/key", "/etc/key/"), "\"/etc/key\" is mounted twice");
    let message = refused(|spec| {
        let config = ConfigUse {
            name: "c".to_owned(),
            config: None,
            version: None,
            file: file("/run/secrets/a"),
        };
        spec.template.container.secrets = vec![secret("a", "")];
        spec.template.container.configs = vec![config];
    });
    assert_eq!(message, "\"/run/secrets/a\" is mounted twice");
    let tmpfs = MountKind::Tmpfs {
        size_bytes: 0,
        mode: 0,
    };
    let message = refused(|spec| {
        spec.template.container.mounts = vec![mount("/etc/key", tmpfs)];
        spec.template.container.secrets = vec![secret("a", "/etc/key")];
    });
    assert_eq!(message, "\"/etc/key\" is mounted twice");
    let mut apart = spec();
    apart.template.container.secrets = vec![secret("a", ""), secret("a", "copy")];
    assert_eq!(validate(&apart), Ok(()));
}

#[test]
fn ports_that_cannot_be_had_are_refused() {
    assert!(refused(|spec| spec.template.host_ports.push(host(80, 0))).contains("no container port"));
    let twice = refused(|spec| {
        spec.settings.ingress_ports.push(ingress(80));
        spec.template.host_ports.push(host(80, 80));
    });
    assert!(twice.contains("port 80 is published twice"));
    let without_vip = refused(|spec| {
        spec.settings.endpoint = EndpointMode::DnsRoundRobin;
        spec.settings.ingress_ports.push(ingress(80));
    });
    assert!(without_vip.contains("dnsrr"));
}

#[test]
fn what_the_engine_would_refuse_is_refused_here() {
    let tmpfs = || MountKind::Tmpfs {
        size_bytes: 0,
        mode: 0,
    };
    let bind = MountKind::Bind {
        source: "data".to_owned(),
        propagation: String::new(),
        create: false,
    };
    let mounts = |mounts: Vec<Mount>| refused(|spec| spec.template.container.mounts = mounts);
    assert!(mounts(vec![mount("data", tmpfs())]).contains("not an absolute path"));
    assert!(mounts(vec![mount("/data", bind)]).contains("absolute path of the host"));
    assert!(mounts(vec![mount("/data", tmpfs()), mount("/data/", tmpfs())]).contains("mounted twice"));
    assert!(refused(|spec| spec.template.container.env.push("=x".to_owned())).contains("NAME=value"));
}

#[test]
fn the_first_mistake_is_told() {
    let error = validate(&ServiceSpec {
        name: String::new(),
        ..spec()
    });
    assert_eq!(error, Err(SpecError::Name(String::new())));
}

#[test]
fn a_task_without_an_address_of_its_own_publishes_on_no_other_node() {
    for (network, name) in [(NetworkTarget::Host, "host"), (NetworkTarget::None, "none")] {
        let message = refused(|spec| {
            spec.template.networks = vec![NetworkUse {
                network,
                aliases: Vec::new(),
            }];
            spec.settings.ingress_ports = vec![ingress(8080)];
        });
        assert!(
            message.contains(&format!("network {name} cannot publish ingress ports")),
            "{message}"
        );
        assert!(message.contains("publish with mode=host"), "{message}");
    }
}
