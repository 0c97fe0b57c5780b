//! Progress of services: live lines on a terminal, one line per change elsewhere, nothing when quiet.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Progress;
use crate::render::layout::{Screen, lines};

/// Lines remembered of one service.
const LINES_MAX: usize = 1_000;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// Nothing.
    Quiet,
    /// A line per news, for pipes and logs.
    Lines,
    /// All services and slots at once, redrawn in place.
    Live,
}

impl Loudness {
    /// What fits standard error.
    #[must_use]
    pub fn of_terminal() -> Self {
        use std::io::IsTerminal as _;
        if std::io::stderr().is_terminal() {
            Self::Live
        } else {
            Self::Lines
        }
    }
}

/// Where progress is shown: on standard error, so that standard output stays data.
pub struct Display {
    loudness: Loudness,
    bar: ProgressBar,
    told: BTreeMap<String, Told>,
}

/// What was told of one service since its count last changed: an attempt that fails like the one before is no news.
#[derive(Debug, Default)]
struct Told {
    count: String,
    lines: BTreeSet<String>,
}

impl Told {
    fn is_news(&mut self, progress: &Progress, line: &str) -> bool {
        let count = progress.count();
        if count != self.count || self.lines.len() >= LINES_MAX {
            self.count = count;
            self.lines.clear();
        }
        self.lines.insert(line.to_owned())
    }
}

impl Display {
    /// A display that has shown nothing yet.
    #[must_use]
    pub fn new(loudness: Loudness) -> Self {
        let target = match loudness {
            Loudness::Live => ProgressDrawTarget::stderr(),
            Loudness::Lines | Loudness::Quiet => ProgressDrawTarget::hidden(),
        };
        // A terminal that cannot move its cursor (TERM is dumb, or not set) is told line by line.
        let loudness = match loudness {
            Loudness::Live if target.is_hidden() => Loudness::Lines,
            other => other,
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is constant"));
        Self {
            loudness,
            bar,
            told: BTreeMap::new(),
        }
    }

    /// Shows how far all services are.
    pub fn show(&mut self, services: &[Progress]) {
        match self.loudness {
            Loudness::Quiet => {}
            Loudness::Live => {
                self.bar
                    .set_message(lines(services, Screen::of_terminal()).join("\n"));
                self.bar.tick();
            }
            Loudness::Lines => self.show_lines(services),
        }
    }

    fn show_lines(&mut self, services: &[Progress]) {
        for progress in services {
            let line = progress.summary();
            let told = self.told.entry(progress.id.clone()).or_default();
            if told.is_news(progress, &line) {
                anstream::eprintln!("{line}");
            }
        }
    }

    /// Says what is waited for, once it takes long.
    pub fn tell_waiting(&self, services: &[Progress]) {
        if self.loudness == Loudness::Quiet {
            return;
        }
        for progress in services.iter().filter(|p| p.done < p.total) {
            let line = format!("still waiting for {}", progress.summary());
            self.bar.suspend(|| anstream::eprintln!("{line}"));
        }
    }

    /// Leaves the last lines standing.
    pub fn finish(&self) {
        self.bar.abandon();
    }

    /// Says that it is done, in one word.
    pub fn tell_done(&self, word: &str) {
        if self.loudness != Loudness::Quiet {
            anstream::eprintln!("{word}");
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::task::TaskState;

    use super::Told;
    use crate::progress::{Progress, SlotLine, Verdict};

    #[test]
    fn an_attempt_that_fails_like_the_one_before_is_told_once() {
        let at = |done: u64, state: TaskState| Progress {
            id: "1".to_owned(),
            service: "web".to_owned(),
            done,
            total: 2,
            word: "running",
            slots: vec![SlotLine {
                slot: "web.1".to_owned(),
                state,
                note: String::new(),
                is_heard: false,
                task: String::new(),
            }],
            verdict: Verdict::Going,
        };
        let mut told = Told::default();
        let mut tell = |progress: Progress| told.is_news(&progress, &progress.summary());
        assert!(tell(at(0, TaskState::Starting)) && tell(at(0, TaskState::Failed)));
        assert!(!tell(at(0, TaskState::Starting)) && !tell(at(0, TaskState::Failed)));
        assert!(tell(at(1, TaskState::Starting)), "a slot more is news");
        assert!(tell(at(0, TaskState::Starting)), "and so is one less");
    }
}
