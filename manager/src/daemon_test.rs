use std::path::PathBuf;
use std::time::Duration;

use shoal_daemon::args::HostArgs;
use shoal_daemon::data_dir::DataDirError;
use shoal_daemon::program::{Exit, Fatal as _};
use shoal_proto::identity::{Role, dial_local};
use shoal_proto::wire;
use shoal_proto::wire::control_client::ControlClient;
use shoal_proto::wire::local_client::LocalClient;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{DaemonError, run};
use crate::config::{RuleArgs, RunArgs, SocketArgs};
use crate::testing::{House, free_address};

const PATIENCE: Duration = Duration::from_secs(60);

/// A whole daemon in this process.
struct Running {
    args: RunArgs,
    stop: CancellationToken,
    ended: JoinHandle<Result<Exit, DaemonError>>,
}

fn args(place: &TempDir) -> RunArgs {
    let machine_id_file = place.path().join("machine-id");
    std::fs::write(&machine_id_file, place.path().display().to_string()).unwrap();
    RunArgs {
        listen: free_address(),
        advertise: None,
        host: HostArgs {
            data_dir: place.path().join("data"),
            machine_id_file,
            hostname: Some("host".to_owned()),
        },
        socket: SocketArgs {
            socket: place.path().join("run/manager.sock"),
        },
        health: free_address(),
    }
}

impl Running {
    fn start(args: &RunArgs) -> Self {
        let stop = CancellationToken::new();
        let ended = tokio::spawn(run(args.clone(), stop.clone()));
        Self {
            args: args.clone(),
            stop,
            ended,
        }
    }

    async fn client(&self) -> LocalClient<Channel> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match dial_local(&self.args.socket.socket).await {
                Ok(channel) => return LocalClient::new(channel),
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "no daemon: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn init(&self) -> Result<wire::InitResponse, Status> {
        self.init_with(wire::InitRequest::default()).await
    }

    async fn init_with(&self, request: wire::InitRequest) -> Result<wire::InitResponse, Status> {
        Ok(self.client().await.init(request).await?.into_inner())
    }

    async fn join(&self, house: &House, role: Role, reset: bool) -> Result<wire::JoinResponse, Status> {
        let request = wire::JoinRequest {
            address: house.address.to_string(),
            token: house.token(role).reveal().to_string(),
            reset,
            ..Default::default()
        };
        Ok(self.client().await.join(request).await?.into_inner())
    }

    async fn leave(&self, force: bool) -> Result<(), Status> {
        self.client().await.leave(wire::LeaveRequest { force }).await?;
        Ok(())
    }

    /// Waits until the daemon says that it is in this state.
    async fn until(&self, state: &str) -> wire::LocalStatusResponse {
        self.until_with(state, |_| true).await
    }

    async fn until_with(
        &self,
        state: &str,
        holds: impl Fn(&wire::LocalStatusResponse) -> bool,
    ) -> wire::LocalStatusResponse {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let now = self.client().await.status(wire::LocalStatusRequest {}).await;
            match now.map(tonic::Response::into_inner) {
                Ok(now) if now.state == state && holds(&now) => return now,
                other => assert!(tokio::time::Instant::now() < deadline, "never {state}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(self) -> Exit {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.ended)
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_waits_founds_a_cluster_once_and_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let args = args(&place);
    let daemon = Running::start(&args);
    assert!(
        daemon
            .until("waiting")
            .await
            .message
            .contains("shoal-manager init")
    );
    let first = daemon.init().await.unwrap();
    let again = daemon.init().await.unwrap();
    assert!(!first.already && again.already);
    assert_eq!(
        (&first.cluster_id, &first.node_id),
        (&again.cluster_id, &again.node_id)
    );
    assert_eq!(daemon.stop().await, Exit::Stopped);
    let daemon = Running::start(&args);
    let back = daemon.until("running").await;
    assert_eq!(back.cluster_id, first.cluster_id);
    assert_eq!(daemon.stop().await, Exit::Stopped);
    assert!(!args.socket.socket.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_ever_belonged_founds_nothing_without_reset() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Running::start(&args(&place));
    let first = daemon.init().await.unwrap();
    let refused = daemon.leave(false).await.unwrap_err();
    assert!(
        refused.message().contains("only manager") && refused.message().contains("--force"),
        "{refused}"
    );
    daemon.leave(true).await.unwrap();
    daemon.until("waiting").await;
    let refused = daemon.init().await.unwrap_err();
    assert!(
        refused.message().contains(&first.cluster_id) && refused.message().contains("--reset"),
        "{refused}"
    );
    let reset = wire::InitRequest {
        reset: true,
        ..Default::default()
    };
    assert_ne!(
        daemon.init_with(reset).await.unwrap().cluster_id,
        first.cluster_id
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_founded_where_a_given_peer_answers() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Running::start(&args(&place));
    let peer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = peer
        .local_addr()
        .map(|address| (address.to_string(), peer))
        .unwrap();
    let request = wire::InitRequest {
        peers: vec![peer.0.clone()],
        ..Default::default()
    };
    let refused = daemon.init_with(request).await.unwrap_err();
    assert!(
        refused.message().contains(&peer.0) && refused.message().contains("join"),
        "{refused}"
    );
    daemon.until("waiting").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_founded_with_its_own_address_pools_if_they_have_room() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Running::start(&args(&place));
    let with = |pool: &str| {
        let spec = RuleArgs {
            address_pool: vec![pool.parse().unwrap()],
            overlay_subnet: Some("172.24.0.0/16".parse().unwrap()),
            ..RuleArgs::default()
        };
        wire::InitRequest {
            spec: Some((&spec.spec()).into()),
            ..Default::default()
        }
    };
    let refused = daemon.init_with(with("172.24.128.0/17")).await.unwrap_err();
    assert!(refused.message().contains("172.24.128.0/17"), "{refused}");
    daemon.until("waiting").await;
    daemon.init_with(with("172.24.0.0/15")).await.unwrap();
    let channel = dial_local(&daemon.args.socket.socket).await.unwrap();
    let mut control = ControlClient::new(channel);
    let networks = control
        .list_networks(wire::ListRequest::default())
        .await
        .unwrap()
        .into_inner();
    let subnets: Vec<_> = networks
        .networks
        .iter()
        .map(|network| network.subnet.as_str())
        .collect();
    assert_eq!(subnets, ["172.25.0.0/16"], "past the overlay");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_joins_agrees_with_itself_and_leaves() {
    let house = House::found().await;
    let place = tempfile::tempdir().unwrap();
    let daemon = Running::start(&args(&place));
    let joined = daemon.join(&house, Role::Manager, false).await.unwrap();
    assert_eq!(joined.cluster_id, house.cluster().id.to_string());
    assert_eq!(house.manager.raft.members().voters.len(), 2);
    assert!(daemon.join(&house, Role::Manager, false).await.unwrap().already);
    daemon.until_with("running", |now| now.managers.len() == 2).await;
    daemon.leave(false).await.unwrap();
    daemon.until("waiting").await;
    assert_eq!(house.manager.raft.members().voters.len(), 1);
    assert!(!place.path().join("data/identity/manager.key").exists());
    daemon.stop().await;
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_of_one_cluster_joins_another_only_with_reset_and_both_are_named() {
    let house = House::found().await;
    let place = tempfile::tempdir().unwrap();
    let daemon = Running::start(&args(&place));
    let own = daemon.init().await.unwrap();
    let refused = daemon.join(&house, Role::Manager, false).await.unwrap_err();
    let other = house.cluster().id.to_string();
    assert!(
        refused.message().contains(&own.cluster_id) && refused.message().contains(&other),
        "{refused}"
    );
    let joined = daemon.join(&house, Role::Manager, true).await.unwrap();
    assert_eq!(joined.cluster_id, other);
    assert_eq!(daemon.until("running").await.cluster_id, other);
    daemon.stop().await;
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_is_refused_leaves_the_daemon_waiting() {
    let house = House::found().await;
    let place = tempfile::tempdir().unwrap();
    let daemon = Running::start(&args(&place));
    let worker = daemon.join(&house, Role::Worker, false).await.unwrap_err();
    assert!(worker.message().contains("worker token"), "{worker}");
    let nobody = wire::JoinRequest {
        address: free_address().to_string(),
        token: house.token(Role::Manager).reveal().to_string(),
        ..Default::default()
    };
    let unreachable = daemon.client().await.join(nobody).await.unwrap_err();
    assert!(unreachable.message().contains("not reached"), "{unreachable}");
    let torn = wire::JoinRequest {
        address: "x".to_owned(),
        token: "SHOAL-1-x".to_owned(),
        ..Default::default()
    };
    let torn = daemon.client().await.join(torn).await.unwrap_err();
    assert_eq!(torn.code(), Code::InvalidArgument);
    daemon.until("waiting").await;
    daemon.stop().await;
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_was_removed_says_so_and_exits() {
    let house = House::found().await;
    let place = tempfile::tempdir().unwrap();
    let daemon = Running::start(&args(&place));
    let joined = daemon.join(&house, Role::Manager, false).await.unwrap();
    let node = joined.node_id.parse().unwrap();
    let raft_id = house
        .manager
        .raft
        .members()
        .voters
        .iter()
        .find(|m| m.node == joined.node_id)
        .unwrap()
        .raft_id;
    house.manager.raft.remove_manager(raft_id).await.unwrap();
    house.remove(node).await;
    let ended = tokio::time::timeout(PATIENCE, daemon.ended)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(ended, Exit::Removed);
    house.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_copied_to_another_machine_needs_a_person() {
    let place = tempfile::tempdir().unwrap();
    let args = args(&place);
    let daemon = Running::start(&args);
    daemon.init().await.unwrap();
    daemon.stop().await;
    std::fs::write(&args.host.machine_id_file, "another machine").unwrap();
    let refused = Running::start(&args).ended.await.unwrap().unwrap_err();
    assert!(
        refused.needs_a_person() && refused.to_string().contains("another machine"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_on_the_same_folder_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let args = args(&place);
    let daemon = Running::start(&args);
    daemon.until("waiting").await;
    let second = RunArgs {
        socket: SocketArgs {
            socket: PathBuf::from(place.path()).join("other.sock"),
        },
        health: free_address(),
        ..args
    };
    let refused = run(second, CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(refused, DaemonError::Folder(DataDirError::InUse { .. })),
        "{refused}"
    );
    daemon.until("waiting").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_demoted_a_moment_ago_joins_again_before_it_has_noticed() {
    let house = House::found().await;
    let place = tempfile::tempdir().unwrap();
    let daemon = Running::start(&args(&place));
    let joined = daemon.join(&house, Role::Manager, false).await.unwrap();
    let node = joined.node_id.parse().unwrap();
    house.demote(node).await;
    let again = daemon.join(&house, Role::Manager, false).await.unwrap();
    assert!(!again.already);
    assert_eq!(house.manager.raft.members().voters.len(), 2);
    daemon.stop().await;
    house.manager.stop().await;
}
