//! What a deployment becomes, tried on a state.

use shoal_core::ids::IdSource;
use shoal_core::state::blob::{Bytes, Chunk};
use shoal_core::state::{Change, Group, Proposal, State};
use shoal_proto::container::{ConfigUse, FileTarget, SecretUse};
use shoal_proto::digest::Digest;
use shoal_proto::network::NetworkSpec;
use shoal_proto::object::Cause;
use shoal_proto::service::{
    IngressPort, Mode, NetworkTarget, NetworkUse, Protocol, ServiceSettings, ServiceSpec, TaskTemplate,
};
use shoal_proto::stack::{ContentSpec, StackSpec};
use shoal_proto::time::Timestamp;
use tonic::Code;

use super::{Prune, StackOrder, deploy};
use crate::api::write::Plan;

/// A state with what was deployed so far.
struct House {
    state: State,
    ids: IdSource,
}

impl House {
    fn new() -> Self {
        Self {
            state: State::default(),
            ids: IdSource::from_seed(1),
        }
    }

    fn apply(&mut self, group: Group) {
        let proposal = Proposal::new(Timestamp::from_ms(1_000), Cause::default(), vec![group]);
        for result in self.state.apply(self.state.index() + 1, &proposal).results {
            result.unwrap();
        }
    }

    fn upload(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let mut group = Group::new();
        group.change(Change::BlobChunk(Chunk {
            digest,
            total_bytes: bytes.len() as u64,
            offset: 0,
            bytes: Bytes::from(bytes.to_vec()),
        }));
        self.apply(group);
        digest
    }

    /// Deploys for real; answers what happened to each thing.
    fn deploy(&mut self, spec: &StackSpec, prune: Prune) -> Result<Vec<String>, tonic::Status> {
        let order = StackOrder {
            spec,
            prune,
            writer: "me",
            cause: &Cause::default(),
        };
        let state = self.state.clone();
        let mut plan = Plan {
            state: &state,
            ids: &mut self.ids,
            now: Timestamp::from_ms(1_000),
        };
        let planned = deploy(&mut plan, &order)?;
        if !planned.group.is_empty() {
            self.apply(planned.group);
        }
        Ok(planned
            .changes
            .into_iter()
            .map(|change| format!("{} {} {}", change.what, change.kind, change.name))
            .collect())
    }
}

fn service(name: &str, image: &str) -> ServiceSpec {
    let mut template = TaskTemplate::default();
    template.container.image = image.to_owned();
    ServiceSpec {
        name: name.to_owned(),
        settings: ServiceSettings::default(),
        template,
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

/// Two services, both with an automatic port, on a network and with a secret and a config that are made with them.
fn shop(secret: Digest, config: Digest) -> StackSpec {
    let mut web = service("shop_web", "nginx:1");
    let content = |name: &str, digest| ContentSpec {
        name: name.to_owned(),
        labels: Default::default(),
        digest,
    };
    let port = IngressPort {
        name: String::new(),
        protocol: Protocol::Tcp,
        container_port: 80,
        published_port: 0,
        host_ip: None,
        prefer: None,
    };
    web.settings.ingress_ports = vec![port.clone()];
    let network = NetworkTarget::Named("shop_net".to_owned());
    web.template.networks = vec![NetworkUse {
        network,
        aliases: vec!["web".to_owned()],
    }];
    let used = |name: &str| SecretUse {
        name: name.to_owned(),
        secret: None,
        version: None,
        file: file("x"),
    };
    web.template.container.secrets = vec![used("shop_key")];
    let config_use = ConfigUse {
        name: "shop_conf".to_owned(),
        config: None,
        version: None,
        file: file("/y"),
    };
    web.template.container.configs = vec![config_use];
    let mut api = web.clone();
    api.name = "shop_api".to_owned();
    StackSpec {
        name: "shop".to_owned(),
        services: vec![web, api],
        networks: vec![NetworkSpec {
            name: "shop_net".to_owned(),
            ..NetworkSpec::default()
        }],
        secrets: vec![content("shop_key", secret)],
        configs: vec![content("shop_conf", config)],
    }
}

fn house_with_shop() -> (House, StackSpec) {
    let mut house = House::new();
    let (secret, config) = (house.upload(b"secret"), house.upload(b"config"));
    let spec = shop(secret, config);
    house.deploy(&spec, Prune::Nothing).unwrap();
    (house, spec)
}

fn replicas(house: &House, name: &str) -> Mode {
    house.state.service_named(name).unwrap().settings.mode.clone()
}

#[test]
fn everything_of_a_new_stack_is_made_in_one_transaction_and_refers_to_itself() {
    let (house, _) = house_with_shop();
    let web = house.state.service_named("shop_web").unwrap();
    let api = house.state.service_named("shop_api").unwrap();
    let template = &house.state.revision(web.revision).unwrap().template;
    let network = house.state.network_named("shop_net").unwrap();
    assert_eq!(template.networks[0].network, NetworkTarget::Cluster(network.id));
    let secret = house.state.secret_named("shop_key").unwrap();
    assert_eq!(template.container.secrets[0].version, Some(secret.versions[0].id));
    let ports = [web, api].map(|service| service.settings.ingress_ports[0].published_port);
    assert!(ports[0] >= 30_000 && ports[0] != ports[1], "{ports:?}");
    let stack = house.state.stack_named("shop").unwrap();
    assert!(web.stack == Some(stack.id) && stack.revisions.len() == 1);
}

#[test]
fn an_unchanged_file_changes_nothing() {
    let (mut house, spec) = house_with_shop();
    let index = house.state.index();
    let changes = house.deploy(&spec, Prune::Services).unwrap();
    assert!(
        changes.iter().all(|change| change.starts_with("unchanged")),
        "{changes:?}"
    );
    assert_eq!(house.state.index(), index);
}

#[test]
fn a_changed_secret_is_a_new_version_and_a_new_revision_of_those_who_use_it() {
    let (mut house, mut spec) = house_with_shop();
    spec.secrets[0].digest = house.upload(b"another secret");
    let changes = house.deploy(&spec, Prune::Nothing).unwrap();
    assert!(
        changes.contains(&"updated secret shop_key".to_owned()),
        "{changes:?}"
    );
    assert!(
        changes.contains(&"updated service shop_web".to_owned()),
        "{changes:?}"
    );
    assert_eq!(house.state.secret_named("shop_key").unwrap().versions.len(), 2);
    assert_eq!(
        house
            .state
            .service_named("shop_web")
            .unwrap()
            .last_revision_number,
        2
    );
}

#[test]
fn a_scale_survives_a_deployment_whose_file_did_not_change_the_number() {
    let (mut house, mut spec) = house_with_shop();
    let mut scaled = shoal_proto::service::Service::clone(house.state.service_named("shop_web").unwrap());
    scaled.settings.mode = Mode::Replicated { replicas: 7 };
    let mut group = Group::new();
    group.put(scaled);
    house.apply(group);
    spec.services[0].template.container.image = "nginx:2".to_owned();
    house.deploy(&spec, Prune::Nothing).unwrap();
    assert_eq!(replicas(&house, "shop_web"), Mode::Replicated { replicas: 7 });
    spec.services[0].settings.mode = Mode::Replicated { replicas: 2 };
    house.deploy(&spec, Prune::Nothing).unwrap();
    assert_eq!(replicas(&house, "shop_web"), Mode::Replicated { replicas: 2 });
}

#[test]
fn a_service_that_the_file_no_longer_names_goes_only_with_prune() {
    let (mut house, mut spec) = house_with_shop();
    spec.services.pop();
    house.deploy(&spec, Prune::Nothing).unwrap();
    assert!(house.state.service_named("shop_api").is_some());
    let changes = house.deploy(&spec, Prune::Services).unwrap();
    assert!(
        changes.contains(&"removed service shop_api".to_owned()),
        "{changes:?}"
    );
    assert!(house.state.service_named("shop_api").is_none());
}

#[test]
fn a_refused_part_refuses_the_whole_and_says_which() {
    let (mut house, mut spec) = house_with_shop();
    spec.services[1].template.placement.constraints = vec!["node.colour == red".to_owned()];
    let error = house.deploy(&spec, Prune::Nothing).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("service shop_api: "), "{error}");

    let mut other = spec.clone();
    other.name = "other".to_owned();
    let error = house.deploy(&other, Prune::Nothing).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(
        error
            .message()
            .contains("network shop_net exists already and belongs to stack shop"),
        "{error}"
    );
}

#[test]
fn a_secret_whose_bytes_were_not_uploaded_is_refused() {
    let mut house = House::new();
    let config = house.upload(b"config");
    let error = house
        .deploy(&shop(Digest::of(b"never sent"), config), Prune::Nothing)
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("upload it first"), "{error}");
}

#[test]
fn services_have_virtual_ips_on_a_network_that_is_made_with_them() {
    let (house, _) = house_with_shop();
    let network = house.state.network_named("shop_net").unwrap();
    let subnet = network.subnet.unwrap();
    assert_eq!(subnet.to_string(), "10.128.0.0/20");
    let ips = ["shop_web", "shop_api"].map(|name| {
        let addresses = &house.state.service_named(name).unwrap().addresses;
        assert_eq!(addresses.len(), 1, "{name}");
        assert_eq!(addresses[0].0, network.id);
        addresses[0].1
    });
    assert!(
        ips[0] != ips[1] && ips.iter().all(|ip| subnet.contains(*ip)),
        "{ips:?}"
    );
}

#[test]
fn a_network_that_would_get_ipv6_is_refused_with_what_is_different() {
    let (mut house, mut spec) = house_with_shop();
    spec.networks[0].ipv6 = true;
    let error = house.deploy(&spec, Prune::Nothing).unwrap_err();
    let wanted = "network shop_net exists with other settings (enable_ipv6), and a network never changes";
    assert!(error.message().contains(wanted), "{error}");
}

#[test]
fn a_subnet_of_another_stack_is_refused_with_its_network() {
    let (mut house, mut spec) = house_with_shop();
    spec.name = "other".to_owned();
    spec.services.clear();
    (spec.secrets, spec.configs) = (Vec::new(), Vec::new());
    spec.networks[0].name = "other_net".to_owned();
    spec.networks[0].subnet = "10.128.4.0/24".to_owned();
    let error = house.deploy(&spec, Prune::Nothing).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(
        error
            .message()
            .contains("overlaps 10.128.0.0/20 of network shop_net"),
        "{error}"
    );
}
