//! Progress of services: live lines on a terminal, one line per change elsewhere, nothing when quiet.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Progress;
use crate::render::table::cut;

/// Slots shown of one service on a terminal.
const SLOTS_MAX: usize = 20;
/// Characters of a slot's line on a terminal.
const LINE_CHARACTERS_MAX: usize = 110;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// Nothing.
    Quiet,
    /// A line per change, for pipes and logs.
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
    shown: Vec<String>,
}

impl Display {
    /// A display that has shown nothing yet.
    #[must_use]
    pub fn new(loudness: Loudness) -> Self {
        let target = if loudness == Loudness::Live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is constant"));
        Self {
            loudness,
            bar,
            shown: Vec::new(),
        }
    }

    /// Shows how far all services are.
    pub fn show(&mut self, services: &[Progress]) {
        match self.loudness {
            Loudness::Quiet => {}
            Loudness::Live => {
                self.bar.set_message(live(services));
                self.bar.tick();
            }
            Loudness::Lines => self.show_lines(services),
        }
    }

    fn show_lines(&mut self, services: &[Progress]) {
        for progress in services {
            let line = progress.summary();
            if !self.shown.contains(&line) {
                anstream::eprintln!("{line}");
                self.shown
                    .retain(|l| !l.starts_with(&format!("{}: ", progress.service)));
                self.shown.push(line);
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

    /// Says that it is done.
    pub fn tell_done(&self, removed: bool) {
        if self.loudness != Loudness::Quiet {
            anstream::eprintln!("{}", if removed { "removed" } else { "converged" });
        }
    }
}

fn live(services: &[Progress]) -> String {
    let mut lines = Vec::new();
    for progress in services {
        lines.push(format!(
            "{}: {}/{} {}",
            progress.service, progress.done, progress.total, progress.word
        ));
        for slot in progress.slots.iter().take(SLOTS_MAX) {
            let line = format!("  {}: {}", slot.slot, slot.what());
            lines.push(cut(&line, LINE_CHARACTERS_MAX));
        }
    }
    lines.join("\n")
}
