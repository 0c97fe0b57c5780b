//! A whole manager on a port of its own, for tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use shoal_core::state::{Group, Proposal};
use shoal_daemon::args::HostArgs;
use shoal_daemon::home::Home;
use shoal_daemon::kind::Kind;
use shoal_daemon::local::{LocalService, Orders};
use shoal_daemon::order::{DaemonState, FormerMembership, InitOrder, JoinOrder, Phase};
use shoal_daemon::socket::Socket;
use shoal_proto::cluster::{Cluster, ClusterSpec};
use shoal_proto::id::NodeId;
use shoal_proto::identity::{
    Applicant, Credentials, Expect, JoinError, JoinToken, LiveCredentials, PrivateKey, Role, dial, join,
};
use shoal_proto::node::Node;
use shoal_proto::object::Cause;
use shoal_proto::wire;
use shoal_proto::wire::ca_client::CaClient;
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::ca::{Authority, reusable_token};
use crate::clock::system_now;
use crate::identity::Founded;
use crate::manager::{Manager, ManagerConfig};

pub(crate) struct House {
    pub(crate) place: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) home: Home,
    pub(crate) manager: Manager,
    // Its other ends stay open while the manager runs.
    _state: watch::Sender<DaemonState>,
    _orders: Orders,
}

pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

pub(crate) fn home(place: &TempDir, name: &str) -> Home {
    let host = HostArgs {
        data_dir: place.path().to_owned(),
        machine_id_file: place.path().join("machine-id"),
        hostname: Some(name.to_owned()),
    };
    std::fs::write(&host.machine_id_file, name).unwrap();
    Home::new(Kind::Manager, &host)
}

impl House {
    pub(crate) async fn start(
        place: TempDir,
        home: Home,
        address: SocketAddr,
        credentials: Credentials,
    ) -> Self {
        let config = ManagerConfig {
            listen: address,
            state_dir: place.path().join("manager"),
            home: home.clone(),
            socket: Socket::bind(&place.path().join("manager.sock")).unwrap(),
        };
        let (state, watched) = watch::channel(DaemonState {
            phase: Phase::Running,
            ..DaemonState::default()
        });
        let (local, orders) = LocalService::new(Kind::Manager, watched);
        let manager = Manager::start(config, credentials, local).await.unwrap();
        Self {
            place,
            address,
            home,
            manager,
            _state: state,
            _orders: orders,
        }
    }

    /// A manager of a new cluster.
    pub(crate) async fn found() -> Self {
        let place = tempfile::tempdir().unwrap();
        let (home, address) = (home(&place, "first"), free_address());
        let order = InitOrder {
            peers: Vec::new(),
            labels: BTreeMap::new(),
            advertise: None,
            former: FormerMembership::Keep,
            spec: ClusterSpec::default(),
        };
        let founded = Founded::new(&home, &order).unwrap();
        let house = Self::start(place, home, address, founded.copy_credentials().unwrap()).await;
        house.manager.found(&founded, &address.to_string()).await.unwrap();
        house
            .home
            .keep(&founded.credentials, &[address.to_string()])
            .unwrap();
        house
    }

    /// Another manager of the same cluster, in the group.
    pub(crate) async fn joined(&self, name: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (home, address) = (home(&place, name), free_address());
        let order = JoinOrder {
            address: self.address.to_string(),
            token: self.token(Role::Manager),
            labels: BTreeMap::new(),
            advertise: None,
            former: FormerMembership::Keep,
        };
        let (member, _) = home.join(&order, address.to_string()).await.unwrap();
        let house = Self::start(place, home, address, member.credentials).await;
        house.enter(self).await;
        house
    }

    /// Asks another manager for a place in the group.
    pub(crate) async fn enter(&self, through: &Self) {
        let channel = self.dial(through).await;
        let request = wire::JoinRaftRequest {
            advertise: self.address.to_string(),
            raft_id: self.manager.raft.id(),
        };
        CaClient::new(channel).join_raft(request).await.unwrap();
    }

    /// The same host with its identity and without its log.
    pub(crate) async fn anew(self) -> Self {
        let credentials = copy(&self.manager.live.load());
        self.manager.stop().await;
        std::fs::remove_dir_all(self.place.path().join("manager")).unwrap();
        Self::start(self.place, self.home, self.address, credentials).await
    }

    pub(crate) async fn dial(&self, to: &Self) -> Channel {
        let expect = Expect::manager(to.manager.identity.cluster).node(to.manager.identity.node().unwrap());
        dial(&to.address.to_string(), expect, &self.manager.live)
            .await
            .unwrap()
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::clone(self.manager.machine.state().cluster().unwrap())
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::from_state(&self.cluster().ca).unwrap()
    }

    pub(crate) fn token(&self, role: Role) -> JoinToken {
        reusable_token(&self.authority(), &self.cluster(), role)
    }

    pub(crate) async fn write(&self, group: Group) {
        let proposal = Proposal::new(system_now(), Cause::default(), vec![group]);
        self.manager
            .raft
            .propose(proposal.to_bytes().unwrap())
            .await
            .unwrap();
    }

    pub(crate) async fn change_cluster(&self, change: impl FnOnce(&mut Cluster)) {
        let mut cluster = self.cluster();
        change(&mut cluster);
        let mut group = Group::new();
        group.put(cluster);
        self.write(group).await;
    }

    pub(crate) async fn edit_node(&self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let mut node = Node::clone(self.manager.machine.state().node(id).unwrap());
        change(&mut node);
        let mut group = Group::new();
        group.put(node);
        self.write(group).await;
    }

    /// As `node demote` asks for it; returns when the keeper has done it.
    pub(crate) async fn demote(&self, id: NodeId) {
        self.edit_node(id, |node| {
            node.plan.desired_role = shoal_proto::node::Role::Worker
        })
        .await;
        let machine = self.manager.machine.clone();
        let mut applied = machine.applied();
        let demoted = applied.wait_for(|_| machine.state().node(id).unwrap().plan.manager.is_none());
        tokio::time::timeout(Duration::from_secs(60), demoted)
            .await
            .unwrap()
            .unwrap();
    }

    /// As `node rm --force` leaves it: no node, and its id on the list of removed ones.
    pub(crate) async fn remove(&self, id: NodeId) {
        // The leader gives a new node its number meanwhile: then the group meets a conflict.
        while let Some(node) = self.manager.machine.state().node(id).cloned() {
            let mut cluster = self.cluster();
            cluster.removed_nodes.push((id, system_now()));
            let mut group = Group::new();
            group.delete(node);
            group.put(cluster);
            self.write(group).await;
        }
    }

    pub(crate) async fn join(&self, token: &JoinToken, role: Role) -> Result<Credentials, JoinError> {
        let applicant = Applicant {
            hostname: "worker".to_owned(),
            ..Applicant::default()
        };
        Ok(join(&self.address.to_string(), token, role, applicant, None)
            .await?
            .credentials)
    }

    pub(crate) async fn call(&self, credentials: &Credentials) -> CaClient<Channel> {
        let live = LiveCredentials::new(copy(credentials));
        let expect = Expect::manager(self.cluster().id);
        CaClient::new(dial(&self.address.to_string(), expect, &live).await.unwrap())
    }
}

pub(crate) fn copy(credentials: &Credentials) -> Credentials {
    let key = PrivateKey::from_der(&credentials.key().to_der()).unwrap();
    Credentials::new(credentials.root().clone(), credentials.certificate().clone(), key).unwrap()
}

pub(crate) fn words(error: JoinError) -> String {
    error.to_string()
}
