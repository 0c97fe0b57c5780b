//! What the cluster is told of this node's key, from the start of the agent to the end of the last encrypted network.

use std::sync::Arc;
use std::time::Duration;

use shoal_proto::time::Timestamp;
use tokio::sync::watch::Receiver;

use super::{Sealing, Told};
use crate::network::kernel::fake::FakeKernel;
use crate::network::testing::{network, view};
use crate::network::view::{Secrecy, View};
use crate::network::wireguard::Keyring;

const SOON: Duration = Duration::from_secs(10);

fn shown(secrecy: Secrecy) -> Arc<View> {
    let mut view = view(2, 1);
    view.networks.get_mut(&network(1)).expect("it is there").secrecy = secrecy;
    Arc::new(view)
}

async fn until(told: &mut Receiver<Told>, holds: impl FnMut(&Told) -> bool) -> Told {
    let waited = tokio::time::timeout(SOON, told.wait_for(holds)).await;
    waited.expect("in time").expect("it runs").clone()
}

#[tokio::test]
async fn an_agent_that_starts_again_tells_at_once_what_it_told_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let kernel = || Arc::new(FakeKernel::default());
    assert_eq!(Sealing::start(kernel(), path.clone()).told().borrow().key, None);
    let before = Keyring::open(path.clone(), Timestamp::from_ms(1))
        .unwrap()
        .newest();
    let sealing = Sealing::start(kernel(), path);
    assert_eq!(sealing.told().borrow().key, Some(before));
}

#[tokio::test]
async fn a_key_stays_told_while_nothing_can_be_sealed_and_goes_with_the_last_encrypted_network() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let kernel = Arc::new(FakeKernel::default());
    let sealing = Sealing::start(Arc::clone(&kernel) as _, path.clone());
    let mut told = sealing.told();
    sealing.show(&shown(Secrecy::Encrypted));
    let key = until(&mut told, |told| told.key.is_some() && told.means.is_some())
        .await
        .key;
    kernel.refuse(&["seal"]);
    let refused = until(&mut told, |told| told.problem.is_some()).await;
    assert_eq!((refused.key, refused.means), (key, None));
    kernel.refuse(&[]);
    until(&mut told, |told| told.problem.is_none() && told.key == key).await;
    sealing.show(&shown(Secrecy::Open));
    let ended = until(&mut told, |told| told.cleared).await;
    assert_eq!((ended.key, ended.means), (None, None));
    assert!(!path.exists(), "a key that nobody needs lies about");
}
