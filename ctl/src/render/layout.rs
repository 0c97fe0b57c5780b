//! The lines of a live display: all services at once, in as much detail as the terminal has room for. Pure.

use shoal_proto::task::TaskState;

use crate::progress::{Progress, SlotLine, Verdict};
use crate::render::table::cut;

/// Slots shown of one service, a line each.
const SLOTS_MAX: usize = 20;
/// Assumed where the terminal does not tell its size.
const USUAL: Screen = Screen {
    columns: 80,
    rows: 24,
};

/// The room there is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Screen {
    /// Characters of a line.
    pub(super) columns: usize,
    /// Lines.
    pub(super) rows: usize,
}

impl Screen {
    /// The room of the terminal behind standard error, asked anew each time: windows change.
    #[must_use]
    pub(super) fn of_terminal() -> Self {
        console::Term::stderr()
            .size_checked()
            .map_or(USUAL, |(rows, columns)| Self {
                columns: columns.into(),
                rows: rows.into(),
            })
    }
}

/// How much is shown; the first that fits is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// A line for each slot.
    Slots,
    /// A line for each slot that is not there yet.
    Unsettled,
    /// A line for each service.
    Services,
    /// A line for each service that is not there yet, and one for all others.
    Going,
}

/// The lines to show. They fit the screen, but for one line that stays free for the cursor.
#[must_use]
pub(super) fn lines(services: &[Progress], screen: Screen) -> Vec<String> {
    // The last column stays free, too: some terminals break a line that reaches it.
    let columns = screen.columns.saturating_sub(1).max(20);
    let rows = screen.rows.saturating_sub(1).max(3);
    let fit = |lines: Vec<String>| lines.iter().map(|line| cut(line, columns)).collect();
    for detail in [Detail::Slots, Detail::Unsettled, Detail::Services] {
        let lines = in_detail(services, detail);
        if lines.len() <= rows {
            return fit(lines);
        }
    }
    let mut lines = in_detail(services, Detail::Going);
    if lines.len() > rows {
        let more = lines.len() - rows + 1;
        lines.truncate(rows - 1);
        lines.push(format!("… and {more} more"));
    }
    fit(lines)
}

fn in_detail(services: &[Progress], detail: Detail) -> Vec<String> {
    let name = services.iter().map(|p| p.service.chars().count()).max();
    let count = services.iter().map(|p| p.count().chars().count()).max();
    let (name, count) = (name.unwrap_or(0), count.unwrap_or(0));
    let head = |p: &Progress| format!("{:<name$}  {:<count$}", p.service, p.count());
    let mut out = Vec::new();
    match detail {
        Detail::Slots | Detail::Unsettled => {
            for progress in services {
                out.push(head(progress).trim_end().to_owned());
                let slots: Vec<&SlotLine> = match detail {
                    Detail::Slots => progress.slots.iter().collect(),
                    _ => progress.unsettled().collect(),
                };
                let shown = slots.iter().take(SLOTS_MAX);
                out.extend(shown.map(|slot| format!("  {}: {}", slot.slot, slot.what())));
                if slots.len() > SLOTS_MAX {
                    out.push(format!("  … and {} more", slots.len() - SLOTS_MAX));
                }
            }
        }
        Detail::Services => out.extend(services.iter().map(|p| with_first(&head(p), p))),
        Detail::Going => {
            let (mut going, done): (Vec<&Progress>, Vec<&Progress>) =
                services.iter().partition(|p| p.verdict != Verdict::Converged);
            // What needs a look comes first.
            going.sort_by_key(|p| !is_trouble(p));
            out.push(format!("{} of {} services are done", done.len(), services.len()));
            out.extend(going.iter().map(|p| with_first(&head(p), p)));
        }
    }
    out
}

/// The service's line with what one of its slots is at: one that failed, if there is one.
fn with_first(head: &str, progress: &Progress) -> String {
    let failed = progress.unsettled().find(|slot| has_failed(slot));
    match failed.or_else(|| progress.unsettled().next()) {
        None => head.trim_end().to_owned(),
        Some(slot) => format!("{head}  {}: {}", slot.slot, slot.what()),
    }
}

fn is_trouble(progress: &Progress) -> bool {
    let ended = matches!(progress.verdict, Verdict::Paused(_) | Verdict::GivenUp(_));
    ended || progress.slots.iter().any(has_failed)
}

fn has_failed(slot: &SlotLine) -> bool {
    matches!(slot.state, TaskState::Failed | TaskState::Rejected)
}

#[cfg(test)]
mod tests {
    use shoal_proto::task::TaskState;

    use super::{Screen, lines};
    use crate::progress::{Progress, SlotLine, Verdict};

    fn service(number: usize, state: TaskState) -> Progress {
        let slot = |slot: u64| SlotLine {
            slot: format!("svc{number}.{slot}"),
            state,
            note: if state == TaskState::Failed {
                "exit code 3".to_owned()
            } else {
                String::new()
            },
            is_heard: false,
            task: String::new(),
        };
        let running = state == TaskState::Running;
        Progress {
            id: number.to_string(),
            service: format!("svc{number}"),
            done: if running { 2 } else { 0 },
            total: 2,
            word: "running",
            slots: vec![slot(1), slot(2)],
            verdict: if running {
                Verdict::Converged
            } else {
                Verdict::Going
            },
        }
    }

    const fn screen(columns: usize, rows: usize) -> Screen {
        Screen { columns, rows }
    }

    #[test]
    fn with_room_every_slot_has_a_line() {
        let services = [service(1, TaskState::Running), service(10, TaskState::Starting)];
        assert_eq!(
            lines(&services, screen(80, 24)),
            [
                "svc1   2/2 running",
                "  svc1.1: running",
                "  svc1.2: running",
                "svc10  0/2 running",
                "  svc10.1: starting",
                "  svc10.2: starting",
            ]
        );
    }

    #[test]
    fn with_less_room_only_slots_on_their_way_have_one() {
        let services = [service(1, TaskState::Running), service(2, TaskState::Failed)];
        assert_eq!(
            lines(&services, screen(80, 5)),
            [
                "svc1  2/2 running",
                "svc2  0/2 running",
                "  svc2.1: failed: exit code 3",
                "  svc2.2: failed: exit code 3",
            ]
        );
    }

    #[test]
    fn without_room_those_in_trouble_come_first_and_the_rest_is_counted() {
        let mut services: Vec<Progress> = (1..=20).map(|n| service(n, TaskState::Starting)).collect();
        services[0] = service(1, TaskState::Running);
        services[18] = service(19, TaskState::Failed);
        let shown = lines(&services, screen(40, 5));
        assert_eq!(shown[0], "1 of 20 services are done");
        assert_eq!(shown[1], "svc19  0/2 running  svc19.1: failed: e…");
        assert_eq!(shown.len(), 4);
        assert_eq!(shown[3], "… and 17 more");
    }

    #[test]
    fn no_line_reaches_the_end_of_the_screen() {
        let services: Vec<Progress> = (1..=50).map(|n| service(n, TaskState::Failed)).collect();
        for columns in [25, 40, 200] {
            for rows in [4, 10, 60, 300] {
                let shown = lines(&services, screen(columns, rows));
                assert!(shown.len() < rows, "{} lines of {rows}", shown.len());
                assert!(shown.iter().all(|line| line.chars().count() < columns));
            }
        }
    }
}
