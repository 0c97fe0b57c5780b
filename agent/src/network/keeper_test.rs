use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Keeper, Kept, Pace, Wish, ended};
use crate::network::desired::desired;
use crate::network::difference::difference;
use crate::network::kernel::fake::FakeKernel;
use crate::network::kernel::{Sight, Thing};
use crate::network::model::{Found, Lane};
use crate::network::testing::{address, local, put, task, view, virtual_ip};
use crate::network::view::{EndpointState, View, narrowed};

struct Story {
    kernel: Arc<FakeKernel>,
    keeper: Keeper,
    index: u64,
    _task: JoinHandle<()>,
}

impl Story {
    /// With a look at everything only when there is a reason.
    fn new() -> Self {
        Self::at_pace(3_600_000)
    }

    fn at_pace(look_ms: u64) -> Self {
        let pace = Pace {
            look_ms,
            pause_ms: 5,
            retry_ms: 5,
            retry_max_ms: 10,
        };
        let found = Found {
            local: local(&view(2, 2), 2),
            ..Found::default()
        };
        let kernel = Arc::new(FakeKernel::new(found));
        let (keeper, task) = Keeper::start(kernel.clone(), pace);
        Self {
            kernel,
            keeper,
            index: 0,
            _task: task,
        }
    }

    /// Wishes for a view and waits until it is in force.
    async fn settle(&mut self, view: &View) {
        self.wish(view);
        let index = self.index;
        self.until(|kept| kept.applied == index).await;
        self.assert_is(view);
    }

    fn wish(&mut self, view: &View) {
        self.index += 1;
        self.keeper.wish(Wish::Keep {
            view: Arc::new(view.clone()),
            index: self.index,
        });
    }

    async fn until(&self, holds: impl FnMut(&Kept) -> bool) -> Kept {
        let mut kept = self.keeper.kept();
        let waited = tokio::time::timeout(Duration::from_secs(60), kept.wait_for(holds)).await;
        waited.expect("in time").expect("the keeper lives").clone()
    }

    /// Waits until the kernel is as the view says.
    async fn mended(&self, view: &View) {
        let is = || {
            let found = self.kernel.found().clone();
            difference(&desired(view, &found.local), &found)
        };
        for _ in 0..10_000 {
            if is().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never: {:?}", is());
    }

    #[track_caller]
    fn assert_is(&self, view: &View) {
        let found = self.kernel.found().clone();
        assert_eq!(difference(&desired(view, &found.local), &found), Vec::new());
    }
}

fn with_tasks(tasks: u8) -> View {
    let mut with = view(2, 2);
    virtual_ip(&mut with, 1, 1);
    for t in 1..=tasks {
        put(&mut with, (t, 1, 1, 1 + t % 2), EndpointState::Ready);
    }
    with
}

#[tokio::test]
async fn a_new_view_is_carried_out_without_another_look() {
    let mut story = Story::new();
    story.settle(&with_tasks(1)).await;
    let looks = story.kernel.looks();
    story.settle(&with_tasks(4)).await;
    story.settle(&with_tasks(3)).await;
    assert_eq!(story.kernel.looks(), looks);
}

#[tokio::test]
async fn nothing_is_touched_before_anything_is_known() {
    let story = Story::at_pace(1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(story.kernel.found().open.device.is_none() && story.kernel.looks() == 0);
}

#[tokio::test]
async fn what_somebody_takes_away_is_back_when_it_is_told() {
    let mut story = Story::new();
    let with = with_tasks(4);
    story.settle(&with).await;
    let route = story.kernel.found().routes.pop_first().expect("routes");
    story.kernel.tell(Sight::Went(Thing::Route(route)));
    story.mended(&with).await;
    story.kernel.found().rulesets.clear();
    story.kernel.tell(Sight::Ruleset);
    story.mended(&with).await;
    let bare = story.kernel.found().clone().without_device(Lane::Open);
    *story.kernel.found() = bare;
    story.kernel.tell(Sight::Links);
    story.mended(&with).await;
}

#[tokio::test]
async fn what_nobody_tells_is_seen_in_time() {
    let mut story = Story::at_pace(50);
    let with = with_tasks(4);
    story.settle(&with).await;
    story.kernel.found().rules.clear();
    story.mended(&with).await;
}

#[tokio::test]
async fn its_own_doing_is_no_reason_to_look() {
    let mut story = Story::new();
    story.settle(&with_tasks(4)).await;
    let looks = story.kernel.looks();
    let route = *story.kernel.found().routes.first().expect("routes");
    story.kernel.tell(Sight::Came(Thing::Route(route)));
    story.settle(&with_tasks(4)).await;
    assert_eq!(story.kernel.looks(), looks);
}

#[tokio::test]
async fn a_set_counts_as_applied_when_the_kernel_holds_all_of_it() {
    let mut story = Story::new();
    story.settle(&with_tasks(1)).await;
    story.kernel.refuse(&["AddRoute"]);
    story.wish(&with_tasks(4));
    let kept = story.until(|kept| !kept.problems.is_empty()).await;
    assert_eq!(kept.applied, story.index - 1);
    story.kernel.refuse(&[]);
    let index = story.index;
    let kept = story.until(|kept| kept.applied == index).await;
    assert!(kept.problems.is_empty(), "{kept:?}");
}

#[tokio::test]
async fn a_task_counts_as_open_until_the_kernel_leads_nobody_to_it() {
    let mut story = Story::new();
    story.settle(&with_tasks(2)).await;
    assert!(
        story.until(|_| true).await.open.contains(&task(2)),
        "it is on this node"
    );
    story.kernel.refuse(&["Ruleset"]);
    story.wish(&narrowed(&with_tasks(2), |_| false));
    assert!(
        story
            .until(|kept| !kept.problems.is_empty())
            .await
            .open
            .contains(&task(2))
    );
    story.kernel.refuse(&[]);
    story.keeper.is_aside(task(2)).await;
    assert!(story.until(|_| true).await.open.is_empty());
}

#[tokio::test]
async fn a_node_that_leaves_keeps_nothing() {
    let mut story = Story::new();
    story.settle(&with_tasks(4)).await;
    story.keeper.wish(Wish::Clear);
    story.until(|kept| kept.cleared).await;
    let found = story.kernel.found();
    assert!(
        found.open.device.is_none()
            && found.sealed.device.is_none()
            && found.rulesets.is_empty()
            && found.rules.is_empty()
    );
}

#[test]
fn connections_end_with_their_task_and_datagrams_go_elsewhere_before() {
    let all = with_tasks(3);
    let mut later = all.clone();
    later.endpoints.remove(&task(1));
    put(&mut later, (2, 1, 1, 1), EndpointState::Aside);
    let ended = ended(Some(&all), Some(&later));
    assert!(ended.gone.iter().eq([&IpAddr::V4(address(1, 101))]), "{ended:?}");
    assert!(ended.aside.iter().eq([&IpAddr::V4(address(1, 102))]), "{ended:?}");
}
