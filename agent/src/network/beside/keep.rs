//! Keeps our rules in the host's firewalls: looks every few seconds, mends, tells. Firewalls are reloaded by people and
//! programs that know nothing of us, and do not say so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::openings::Openings;
use crate::network::kernel::Kernel;
use crate::network::view::View;

/// Between two looks.
const LOOK_MS: u64 = 5_000;

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Where rules of ours are kept, and what they let through.
    pub kept: Vec<String>,
    /// What is in the way and cannot be mended from here.
    pub problems: Vec<String>,
    /// Nothing of ours is left.
    pub cleared: bool,
}

/// What the host's firewalls are to let through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Wish {
    /// Nothing is known yet: all stays as it is.
    #[default]
    Unknown,
    /// This.
    Keep(Openings),
    /// Nothing of ours.
    Clear,
}

/// Sees to the host's firewalls until it is dropped. Rules stay when it ends: the cluster's containers go on.
#[derive(Debug)]
pub struct Beside {
    wishes: watch::Sender<Wish>,
    state: watch::Receiver<State>,
    job: JoinHandle<()>,
}

impl Beside {
    /// Begins with nothing known. Needs a tokio runtime.
    #[must_use]
    pub fn start(kernel: Arc<dyn Kernel>) -> Self {
        let (wishes, wished) = watch::channel(Wish::default());
        let (told, state) = watch::channel(State::default());
        let job = tokio::spawn(keep(kernel, wished, told));
        Self { wishes, state, job }
    }

    /// From now on lets through what a node with this view needs.
    pub fn show(&self, view: &Arc<View>) {
        self.wish(Wish::Keep(Openings::of(view)));
    }

    /// From now on keeps nothing, and takes away what is there.
    pub fn clear(&self) {
        self.wish(Wish::Clear);
    }

    fn wish(&self, wish: Wish) {
        self.wishes.send_if_modified(|is| {
            let differs = *is != wish;
            *is = wish;
            differs
        });
    }

    /// How far it is, and the changes of that.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.job.abort();
    }
}

async fn keep(kernel: Arc<dyn Kernel>, mut wishes: watch::Receiver<Wish>, told: watch::Sender<State>) {
    loop {
        let wish = wishes.borrow_and_update().clone();
        let openings = match &wish {
            Wish::Unknown => None,
            Wish::Keep(openings) => Some(Some(openings)),
            Wish::Clear => Some(None),
        };
        if let Some(openings) = openings {
            tell(&told, kernel.beside(openings).await);
        }
        let wait = Duration::from_millis(LOOK_MS);
        if let Ok(Err(_)) = tokio::time::timeout(wait, wishes.changed()).await {
            return;
        }
    }
}

/// Each trouble once.
fn tell(told: &watch::Sender<State>, state: State) {
    told.send_if_modified(|is| {
        for problem in state.problems.iter().filter(|new| !is.problems.contains(new)) {
            tracing::warn!("{problem}");
        }
        for kept in state.kept.iter().filter(|new| !is.kept.contains(new)) {
            tracing::info!("rules of ours in the host's firewall: {kept}");
        }
        let differs = *is != state;
        *is = state;
        differs
    });
}
