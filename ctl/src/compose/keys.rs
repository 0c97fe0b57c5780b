//! The one table of Compose keys: each is honoured, warned about or refused. What is not in it is an unknown key, so that
//! nothing can be ignored by being forgotten. The guide's table is made from this one.

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does what the Specification says.
    Honoured,
    /// Accepted without a word: by the Specification it has no effect on what runs, for the reason given.
    NoEffect(&'static str),
    /// Accepted, and the user is told what happens instead.
    Warned(&'static str),
    /// Not deployed, with the reason and what to write instead.
    Refused(&'static str),
    /// Depends on its value; the reader of that key decides and says so.
    ByValue(&'static str),
}

use Verdict::{ByValue, Honoured, NoEffect, Refused, Warned};

const SWAP: &str =
    "swap is left as the Engine has it; only memory is limited, by deploy.resources.limits.memory";
const HOST_NAMESPACE: &str =
    "sharing namespaces of the host or of another container is not supported; take it out";
const NOT_LINUX: &str = "works on Windows only, and Shoal's nodes run Linux";
const FIXED_ADDRESS: &str = "addresses are given out by the cluster; use the service's name instead";
const LATER_DEVICES: &str = "reserving devices is not supported yet; pin the service with a constraint on a node label \
                             and use devices:";
const CORES: &str = "core pinning and scheduler classes are not supported; use deploy.resources.limits.cpus and \
                     deploy.resources.reservations.cpus";
const HOOK: &str = "hooks are not run; put the step into the image's entrypoint";
const PLUGIN: &str =
    "drivers outside the cluster are not supported; use file:, environment: or external: true";
const TEMPLATE: &str = "templates inside secrets and configs are not filled in yet; write the final content";
const DISK_IO: &str = "limits of disk input and output are not supported; take it out";
const MOUNTS: &str = "volumes and absolute paths of the nodes are honoured, a small file of this machine is taken along as \
                      a config, a directory of it is refused";

/// Every key, with `*` for a name of the user's and `[]` for an item of a list. A key without children here takes any
/// value that its reader accepts.
pub const KEYS: &[(&str, Verdict)] = &[
    (
        "version",
        NoEffect("files follow the current Specification, whatever version they name"),
    ),
    ("name", Honoured),
    (
        "include",
        Refused("including files is not supported yet; pass each file with -c"),
    ),
    ("models", Refused("models are not run by Shoal; write a service")),
    ("x-shoal", Warned("no keys of it are known to this version")),
    ("services", Honoured),
    ("services.*", Honoured),
    (
        "services.*.annotations",
        Warned("annotations are not passed on to the Engine; use labels"),
    ),
    (
        "services.*.attach",
        NoEffect("only says whose output `compose up` shows"),
    ),
    ("services.*.blkio_config", Refused(DISK_IO)),
    (
        "services.*.build",
        ByValue("ignored with a warning beside image:, refused without one"),
    ),
    ("services.*.cap_add", Honoured),
    ("services.*.cap_drop", Honoured),
    ("services.*.cgroup", Refused(HOST_NAMESPACE)),
    (
        "services.*.cgroup_parent",
        Refused("the cgroup is chosen by the Engine; take it out"),
    ),
    ("services.*.cgroupns_mode", Refused(HOST_NAMESPACE)),
    ("services.*.command", Honoured),
    ("services.*.configs", Honoured),
    ("services.*.configs[].source", Honoured),
    ("services.*.configs[].target", Honoured),
    ("services.*.configs[].uid", Honoured),
    ("services.*.configs[].gid", Honoured),
    ("services.*.configs[].mode", Honoured),
    (
        "services.*.container_name",
        Warned("containers are named by the cluster; the name is kept as a network alias"),
    ),
    ("services.*.cpu_count", Refused(NOT_LINUX)),
    ("services.*.cpu_percent", Refused(NOT_LINUX)),
    ("services.*.cpu_period", Refused(CORES)),
    ("services.*.cpu_quota", Refused(CORES)),
    ("services.*.cpu_rt_period", Refused(CORES)),
    ("services.*.cpu_rt_runtime", Refused(CORES)),
    (
        "services.*.cpu_shares",
        Warned("has no effect; use deploy.resources.reservations.cpus"),
    ),
    (
        "services.*.cpus",
        Warned("counts as deploy.resources.limits.cpus"),
    ),
    ("services.*.cpuset", Refused(CORES)),
    ("services.*.credential_spec", Refused(NOT_LINUX)),
    (
        "services.*.depends_on",
        Warned("the order of starting is not kept yet; services must wait for each other"),
    ),
    ("services.*.depends_on.*", Honoured),
    ("services.*.depends_on.*.condition", Honoured),
    ("services.*.depends_on.*.required", Honoured),
    ("services.*.depends_on.*.restart", Honoured),
    ("services.*.deploy", Honoured),
    ("services.*.deploy.endpoint_mode", Honoured),
    ("services.*.deploy.labels", Honoured),
    (
        "services.*.deploy.max_concurrent",
        Refused("is for jobs, which are not supported yet"),
    ),
    (
        "services.*.deploy.mode",
        ByValue("replicated and global are honoured, jobs are refused for now"),
    ),
    ("services.*.deploy.placement", Honoured),
    ("services.*.deploy.placement.constraints", Honoured),
    ("services.*.deploy.placement.max_replicas_per_node", Honoured),
    ("services.*.deploy.placement.preferences", Honoured),
    ("services.*.deploy.placement.preferences[].spread", Honoured),
    ("services.*.deploy.replicas", Honoured),
    ("services.*.deploy.resources", Honoured),
    ("services.*.deploy.resources.limits", Honoured),
    ("services.*.deploy.resources.limits.cpus", Honoured),
    ("services.*.deploy.resources.limits.memory", Honoured),
    ("services.*.deploy.resources.limits.pids", Honoured),
    ("services.*.deploy.resources.reservations", Honoured),
    ("services.*.deploy.resources.reservations.cpus", Honoured),
    (
        "services.*.deploy.resources.reservations.devices",
        Refused(LATER_DEVICES),
    ),
    (
        "services.*.deploy.resources.reservations.generic_resources",
        Refused(LATER_DEVICES),
    ),
    ("services.*.deploy.resources.reservations.memory", Honoured),
    ("services.*.deploy.resources.reservations.pids", Honoured),
    ("services.*.deploy.restart_policy", Honoured),
    ("services.*.deploy.restart_policy.condition", Honoured),
    ("services.*.deploy.restart_policy.delay", Honoured),
    ("services.*.deploy.restart_policy.max_attempts", Honoured),
    ("services.*.deploy.restart_policy.window", Honoured),
    ("services.*.deploy.rollback_config", Honoured),
    ("services.*.deploy.rollback_config.delay", Honoured),
    ("services.*.deploy.rollback_config.failure_action", Honoured),
    ("services.*.deploy.rollback_config.max_failure_ratio", Honoured),
    ("services.*.deploy.rollback_config.monitor", Honoured),
    ("services.*.deploy.rollback_config.order", Honoured),
    ("services.*.deploy.rollback_config.parallelism", Honoured),
    ("services.*.deploy.update_config", Honoured),
    ("services.*.deploy.update_config.delay", Honoured),
    ("services.*.deploy.update_config.failure_action", Honoured),
    ("services.*.deploy.update_config.max_failure_ratio", Honoured),
    ("services.*.deploy.update_config.monitor", Honoured),
    ("services.*.deploy.update_config.order", Honoured),
    ("services.*.deploy.update_config.parallelism", Honoured),
    (
        "services.*.develop",
        Warned("is for work on one machine and has no effect on a cluster"),
    ),
    (
        "services.*.device_cgroup_rules",
        Refused("rules for devices are not supported; name the devices in devices:"),
    ),
    ("services.*.devices", Honoured),
    ("services.*.devices[].source", Honoured),
    ("services.*.devices[].target", Honoured),
    ("services.*.devices[].permissions", Honoured),
    ("services.*.dns", Honoured),
    ("services.*.dns_opt", Honoured),
    ("services.*.dns_search", Honoured),
    (
        "services.*.domainname",
        Refused("write the whole name in hostname:"),
    ),
    ("services.*.entrypoint", Honoured),
    ("services.*.env_file", Honoured),
    ("services.*.env_file[].path", Honoured),
    ("services.*.env_file[].required", Honoured),
    ("services.*.env_file[].format", Honoured),
    ("services.*.environment", Honoured),
    (
        "services.*.expose",
        NoEffect("every port is open between the tasks of a network"),
    ),
    (
        "services.*.extends",
        Refused("extends is not supported yet; share keys with an anchor and <<:"),
    ),
    (
        "services.*.external_links",
        Refused("put both services on one external network instead"),
    ),
    ("services.*.extra_hosts", Honoured),
    ("services.*.gpus", Refused(LATER_DEVICES)),
    ("services.*.group_add", Honoured),
    ("services.*.healthcheck", Honoured),
    ("services.*.healthcheck.disable", Honoured),
    ("services.*.healthcheck.interval", Honoured),
    ("services.*.healthcheck.retries", Honoured),
    ("services.*.healthcheck.start_interval", Honoured),
    ("services.*.healthcheck.start_period", Honoured),
    ("services.*.healthcheck.test", Honoured),
    ("services.*.healthcheck.timeout", Honoured),
    ("services.*.hostname", Honoured),
    ("services.*.image", Honoured),
    ("services.*.init", Honoured),
    ("services.*.ipc", Refused(HOST_NAMESPACE)),
    ("services.*.isolation", Refused(NOT_LINUX)),
    ("services.*.label_file", Honoured),
    ("services.*.labels", Honoured),
    (
        "services.*.links",
        ByValue("a plain name needs no link and is warned about, an alias is refused"),
    ),
    ("services.*.logging", Honoured),
    ("services.*.logging.driver", Honoured),
    ("services.*.logging.options", Honoured),
    ("services.*.mac_address", Refused(FIXED_ADDRESS)),
    (
        "services.*.mem_limit",
        Warned("counts as deploy.resources.limits.memory"),
    ),
    (
        "services.*.mem_reservation",
        Warned("counts as deploy.resources.reservations.memory"),
    ),
    ("services.*.mem_swappiness", Warned(SWAP)),
    ("services.*.memswap_limit", Warned(SWAP)),
    (
        "services.*.models",
        Refused("models are not run by Shoal; write a service"),
    ),
    (
        "services.*.network_mode",
        ByValue("host and none are honoured, bridge and default warned about, others refused"),
    ),
    ("services.*.networks", Honoured),
    ("services.*.networks.*", Honoured),
    ("services.*.networks.*.aliases", Honoured),
    (
        "services.*.networks.*.driver_opts",
        Refused("options of one attachment are not supported; take them out"),
    ),
    (
        "services.*.networks.*.gw_priority",
        Warned("the way out is chosen by the cluster"),
    ),
    (
        "services.*.networks.*.interface_name",
        Refused("interfaces are named by the Engine; take it out"),
    ),
    ("services.*.networks.*.ipv4_address", Refused(FIXED_ADDRESS)),
    ("services.*.networks.*.ipv6_address", Refused(FIXED_ADDRESS)),
    ("services.*.networks.*.link_local_ips", Refused(FIXED_ADDRESS)),
    ("services.*.networks.*.mac_address", Refused(FIXED_ADDRESS)),
    (
        "services.*.networks.*.priority",
        Warned("networks are joined in the order of their names"),
    ),
    (
        "services.*.oom_kill_disable",
        Refused("a task that cannot be stopped endangers its node; set a memory limit"),
    ),
    ("services.*.oom_score_adj", Honoured),
    ("services.*.pid", Refused(HOST_NAMESPACE)),
    (
        "services.*.pids_limit",
        Warned("counts as deploy.resources.limits.pids"),
    ),
    ("services.*.platform", Honoured),
    ("services.*.ports", Honoured),
    (
        "services.*.ports[].app_protocol",
        NoEffect("a note for readers of the file"),
    ),
    ("services.*.ports[].host_ip", Honoured),
    ("services.*.ports[].mode", Honoured),
    ("services.*.ports[].name", Honoured),
    ("services.*.ports[].protocol", Honoured),
    ("services.*.ports[].published", Honoured),
    ("services.*.ports[].target", Honoured),
    ("services.*.ports[].x-shoal", Honoured),
    ("services.*.ports[].x-shoal.prefer", Honoured),
    ("services.*.post_start", Warned(HOOK)),
    ("services.*.pre_stop", Warned(HOOK)),
    ("services.*.privileged", Honoured),
    ("services.*.profiles", Honoured),
    (
        "services.*.provider",
        Refused("services are containers; take it out"),
    ),
    ("services.*.pull_policy", Honoured),
    (
        "services.*.pull_refresh_after",
        Warned("images are pulled when a task needs them"),
    ),
    ("services.*.read_only", Honoured),
    ("services.*.restart", Honoured),
    (
        "services.*.runtime",
        Refused("other runtimes are not supported yet; take it out"),
    ),
    ("services.*.scale", Honoured),
    ("services.*.secrets", Honoured),
    ("services.*.secrets[].source", Honoured),
    ("services.*.secrets[].target", Honoured),
    ("services.*.secrets[].uid", Honoured),
    ("services.*.secrets[].gid", Honoured),
    ("services.*.secrets[].mode", Honoured),
    ("services.*.security_opt", Honoured),
    ("services.*.shm_size", Honoured),
    ("services.*.stdin_open", Honoured),
    ("services.*.stop_grace_period", Honoured),
    ("services.*.stop_signal", Honoured),
    ("services.*.storage_opt", Refused(DISK_IO)),
    ("services.*.sysctls", Honoured),
    ("services.*.tmpfs", Honoured),
    ("services.*.tty", Honoured),
    ("services.*.ulimits", Honoured),
    ("services.*.ulimits.*", Honoured),
    ("services.*.ulimits.*.hard", Honoured),
    ("services.*.ulimits.*.soft", Honoured),
    (
        "services.*.use_api_socket",
        Refused("mount /var/run/docker.sock yourself, knowing that it gives away the node"),
    ),
    ("services.*.user", Honoured),
    ("services.*.userns_mode", Refused(HOST_NAMESPACE)),
    ("services.*.uts", Refused(HOST_NAMESPACE)),
    (
        "services.*.volume_driver",
        Refused("set driver: on the volume itself, under volumes:"),
    ),
    ("services.*.volumes", ByValue(MOUNTS)),
    ("services.*.volumes[].bind", Honoured),
    ("services.*.volumes[].bind.create_host_path", Honoured),
    ("services.*.volumes[].bind.propagation", Honoured),
    (
        "services.*.volumes[].bind.recursive",
        Refused("mounts below a bind mount follow the Engine's default"),
    ),
    (
        "services.*.volumes[].bind.selinux",
        Refused("files are not relabelled; label the directory on the node"),
    ),
    (
        "services.*.volumes[].consistency",
        NoEffect("only known to Docker Desktop"),
    ),
    (
        "services.*.volumes[].image",
        Refused("mounting images is not supported; use a volume"),
    ),
    ("services.*.volumes[].read_only", Honoured),
    ("services.*.volumes[].source", Honoured),
    ("services.*.volumes[].target", Honoured),
    ("services.*.volumes[].tmpfs", Honoured),
    ("services.*.volumes[].tmpfs.mode", Honoured),
    ("services.*.volumes[].tmpfs.size", Honoured),
    ("services.*.volumes[].type", Honoured),
    ("services.*.volumes[].volume", Honoured),
    ("services.*.volumes[].volume.labels", Honoured),
    ("services.*.volumes[].volume.nocopy", Honoured),
    ("services.*.volumes[].volume.subpath", Honoured),
    (
        "services.*.volumes_from",
        Refused("containers come and go on any node; share a named volume instead"),
    ),
    ("services.*.working_dir", Honoured),
    ("networks", Honoured),
    ("networks.*", Honoured),
    ("networks.*.attachable", Honoured),
    ("networks.*.driver", Honoured),
    (
        "networks.*.driver_opts",
        ByValue(
            "encrypted and com.docker.network.driver.mtu are honoured; others are passed on with driver: bridge, without \
             effect and warned about with overlay",
        ),
    ),
    (
        "networks.*.enable_ipv4",
        ByValue("true is what is, false refused: IPv6 addresses lie beside IPv4 ones"),
    ),
    ("networks.*.enable_ipv6", Honoured),
    ("networks.*.encrypted", Honoured),
    ("networks.*.external", Honoured),
    (
        "networks.*.external.name",
        Warned("is the old spelling; write name: beside external: true"),
    ),
    ("networks.*.internal", Honoured),
    ("networks.*.ipam", Honoured),
    ("networks.*.ipam.config", Honoured),
    (
        "networks.*.ipam.config[].aux_addresses",
        Warned("addresses are given out by the cluster"),
    ),
    ("networks.*.ipam.config[].gateway", Honoured),
    (
        "networks.*.ipam.config[].ip_range",
        Warned("addresses are taken from the whole subnet"),
    ),
    (
        "networks.*.ipam.config[].subnet",
        ByValue("an IPv4 one is honoured, an IPv6 one refused: those are from the cluster's own fd…/96"),
    ),
    (
        "networks.*.ipam.driver",
        ByValue("default is honoured, others refused"),
    ),
    (
        "networks.*.ipam.options",
        Refused("addresses are given out by the cluster; take it out"),
    ),
    ("networks.*.labels", Honoured),
    ("networks.*.name", Honoured),
    ("volumes", Honoured),
    ("volumes.*", Honoured),
    ("volumes.*.driver", Honoured),
    ("volumes.*.driver_opts", Honoured),
    ("volumes.*.external", Honoured),
    (
        "volumes.*.external.name",
        Warned("is the old spelling; write name: beside external: true"),
    ),
    ("volumes.*.labels", Honoured),
    ("volumes.*.name", Honoured),
    ("secrets", Honoured),
    ("secrets.*", Honoured),
    (
        "secrets.*.content",
        Refused("a secret's value does not belong into the file; use file: or environment:"),
    ),
    ("secrets.*.driver", Refused(PLUGIN)),
    ("secrets.*.driver_opts", Refused(PLUGIN)),
    ("secrets.*.environment", Honoured),
    ("secrets.*.external", Honoured),
    (
        "secrets.*.external.name",
        Warned("is the old spelling; write name: beside external: true"),
    ),
    ("secrets.*.file", Honoured),
    ("secrets.*.labels", Honoured),
    ("secrets.*.name", Honoured),
    ("secrets.*.template_driver", Refused(TEMPLATE)),
    ("configs", Honoured),
    ("configs.*", Honoured),
    ("configs.*.content", Honoured),
    ("configs.*.environment", Honoured),
    ("configs.*.external", Honoured),
    (
        "configs.*.external.name",
        Warned("is the old spelling; write name: beside external: true"),
    ),
    ("configs.*.file", Honoured),
    ("configs.*.labels", Honoured),
    ("configs.*.name", Honoured),
    ("configs.*.template_driver", Refused(TEMPLATE)),
];

/// The table as the operator's guide prints it.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "# Compose keys\n\n\
         Made from the table in the code, so it is what `shoal stack check` says. Any key that is not here is an error with\n\
         a suggestion, except those that begin with `x-`, which may stand anywhere. `*` stands for a name of yours, `[]` for\n\
         an item of a list. Several files are merged by the Compose Specification's rules, with `!reset` and `!override`;\n\
         variables are put in from the environment and from `.env` beside the first file.\n\n\
         | key | what happens |\n| --- | --- |\n",
    );
    for (pattern, verdict) in KEYS {
        let what = match verdict {
            Verdict::Honoured => "honoured".to_owned(),
            Verdict::NoEffect(why) => format!("accepted without effect: {why}"),
            Verdict::Warned(why) => format!("warned about: {why}"),
            Verdict::Refused(why) => format!("refused: {why}"),
            Verdict::ByValue(how) => format!("by value: {how}"),
        };
        out.push_str(&format!("| `{pattern}` | {what} |\n"));
    }
    out
}
