//! A state to try orders about stacks on, and a stack to begin with. Test only.

use shoal_core::dispatcher::seen::Seen;
use shoal_core::ids::IdSource;
use shoal_core::leader::Leader;
use shoal_core::service::revise::{self, RollbackScope};
use shoal_core::state::blob::{Bytes, Chunk};
use shoal_core::state::{Change, Group, Proposal, State};
use shoal_proto::container::{ConfigUse, FileTarget, SecretUse};
use shoal_proto::digest::Digest;
use shoal_proto::network::NetworkSpec;
use shoal_proto::object::Cause;
use shoal_proto::service::{
    IngressPort, Mode, NetworkTarget, NetworkUse, Protocol, ServiceSettings, ServiceSpec, TaskTemplate,
};
use shoal_proto::stack::{ContentSpec, Stack, StackSpec};
use shoal_proto::time::Timestamp;
use shoal_proto::wire;
use tonic::Status;

use super::stack_draft::{Asker, StackPlan, Telling};
use super::stack_plan::{Prune, StackOrder, deploy};
use super::stack_rollback::{self, RollbackOrder};
use crate::api::write::Plan;

/// A state with what was deployed so far.
pub(super) struct House {
    pub(super) state: State,
    ids: IdSource,
    /// How many leaders there were: each has ids of its own.
    leaders: u64,
}

impl House {
    pub(super) fn new() -> Self {
        Self {
            state: State::default(),
            ids: IdSource::from_seed(1),
            leaders: 1,
        }
    }

    pub(super) fn apply(&mut self, group: Group) {
        let proposal = Proposal::new(Timestamp::from_ms(1_000), Cause::default(), vec![group]);
        for result in self.state.apply(self.state.index() + 1, &proposal).results {
            result.unwrap();
        }
    }

    pub(super) fn upload(&mut self, bytes: &[u8]) -> Digest {
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
    pub(super) fn deploy(&mut self, spec: &StackSpec, prune: Prune) -> Result<Vec<String>, Status> {
        let planned = self.order(spec, prune, Telling::Outcome)?;
        Ok(self.carry_out(planned))
    }

    pub(super) fn order(
        &mut self,
        spec: &StackSpec,
        prune: Prune,
        telling: Telling,
    ) -> Result<StackPlan, Status> {
        self.planned(telling, |plan, asker| {
            deploy(plan, &StackOrder { spec, prune, asker })
        })
    }

    /// Plans against the state as it is.
    pub(super) fn planned(
        &mut self,
        telling: Telling,
        make: impl FnOnce(&mut Plan<'_>, Asker<'_>) -> Result<StackPlan, Status>,
    ) -> Result<StackPlan, Status> {
        let state = self.state.clone();
        let mut plan = Plan {
            state: &state,
            ids: &mut self.ids,
            now: Timestamp::from_ms(1_000),
        };
        let cause = Cause::default();
        let asker = Asker {
            writer: "me",
            cause: &cause,
            telling,
        };
        make(&mut plan, asker)
    }

    pub(super) fn carry_out(&mut self, planned: StackPlan) -> Vec<String> {
        if !planned.group.is_empty() {
            self.apply(planned.group);
        }
        planned.answer.changes.iter().map(told).collect()
    }
}

pub(super) fn told(change: &wire::StackChange) -> String {
    format!("{} {} {}", change.what, change.kind, change.name)
}

pub(super) fn service(name: &str, image: &str) -> ServiceSpec {
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
pub(super) fn shop(secret: Digest, config: Digest) -> StackSpec {
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

pub(super) fn house_with_shop() -> (House, StackSpec) {
    let mut house = House::new();
    let (secret, config) = (house.upload(b"secret"), house.upload(b"config"));
    let spec = shop(secret, config);
    house.deploy(&spec, Prune::Nothing).unwrap();
    (house, spec)
}

pub(super) fn replicas(house: &House, name: &str) -> Mode {
    house.state.service_named(name).unwrap().settings.mode.clone()
}

pub(super) fn image(house: &House, name: &str) -> String {
    let service = house.state.service_named(name).unwrap();
    let revision = house.state.revision(service.revision).unwrap();
    revision.template.container.image.clone()
}

impl House {
    pub(super) fn stack(&self) -> &Stack {
        self.state.stack_named("shop").unwrap()
    }

    /// What somebody else does to a service, beside the stack.
    pub(super) fn edit(&mut self, name: &str, edit: impl FnOnce(&mut ServiceSpec)) {
        let service = self.state.service_named(name).unwrap();
        let revision = self.state.revision(service.revision).unwrap();
        let (id, mut spec) = (
            service.id,
            ServiceSpec {
                name: service.name.clone(),
                settings: service.settings.clone(),
                template: TaskTemplate::clone(&revision.template),
            },
        );
        edit(&mut spec);
        let state = self.state.clone();
        let mut request = revise::Request {
            state: &state,
            ids: &mut self.ids,
            now: Timestamp::from_ms(1_000),
            writer: "ann",
        };
        let planned = revise::update(&mut request, id, spec).unwrap();
        self.apply(planned.group);
    }

    pub(super) fn scale(&mut self, name: &str, replicas: u64) {
        self.edit(name, |spec| spec.settings.mode = Mode::Replicated { replicas });
    }

    /// Lets a leader work until it has nothing more to do.
    pub(super) fn settle(&mut self) {
        self.leaders += 1;
        let now = Timestamp::from_ms(1_000);
        let (mut leader, seen) = (Leader::new(IdSource::from_seed(self.leaders)), Seen::new(now));
        for _ in 0..100 {
            let step = leader.step(&self.state, &seen, now);
            if step.groups.is_empty() {
                return;
            }
            step.groups.into_iter().for_each(|group| self.apply(group));
        }
        panic!("the leader finds no end");
    }

    pub(super) fn plan_rollback(&mut self, to: u64, scope: RollbackScope) -> Result<StackPlan, Status> {
        self.planned(Telling::Plan, |plan, asker| {
            let order = RollbackOrder {
                stack: "shop",
                to,
                scope,
                asker,
            };
            stack_rollback::rollback(plan, &order)
        })
    }

    /// For real; answers what happened to each thing.
    pub(super) fn rollback(&mut self, to: u64, scope: RollbackScope) -> Result<Vec<String>, Status> {
        let planned = self.plan_rollback(to, scope)?;
        Ok(self.carry_out(planned))
    }

    pub(super) fn restart(&mut self, services: &[&str]) -> Result<Vec<String>, Status> {
        let services: Vec<String> = services.iter().map(|one| (*one).to_owned()).collect();
        let planned = self.planned(Telling::Outcome, |plan, asker| {
            stack_rollback::restart(plan, ("shop", &services), asker)
        })?;
        Ok(self.carry_out(planned))
    }
}
