//! Lines of several services as one stream. Each comes in its own order by time already.

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};

use crate::client::LogLine;

/// What the tasks of one service wrote; an error says what is missing, or that the manager is gone.
pub(super) type Lines = BoxStream<'static, anyhow::Result<LogLine>>;

/// In which order lines of different services come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By the time they were written: waits until every service has said its next line, or its last.
    Time,
    /// As they come: nobody waits for a service that is silent.
    Arrival,
}

/// One service's lines, and the one that is next.
struct Source {
    service: String,
    lines: Lines,
    next: Option<LogLine>,
    is_over: bool,
}

/// All lines, each with the service that it is of.
pub(super) fn merge(
    sources: Vec<(String, Lines)>,
    order: Order,
) -> BoxStream<'static, (String, anyhow::Result<LogLine>)> {
    match order {
        Order::Arrival => {
            let named = sources
                .into_iter()
                .map(|(service, lines)| lines.map(move |line| (service.clone(), line)).boxed());
            stream::select_all(named).boxed()
        }
        Order::Time => by_time(sources).boxed(),
    }
}

fn by_time(sources: Vec<(String, Lines)>) -> impl Stream<Item = (String, anyhow::Result<LogLine>)> {
    let sources: Vec<Source> = sources
        .into_iter()
        .map(|(service, lines)| Source {
            service,
            lines,
            next: None,
            is_over: false,
        })
        .collect();
    stream::unfold(sources, async |mut sources| {
        for source in sources.iter_mut().filter(|source| source.next.is_none()) {
            match source.fill().await {
                Ok(()) => {}
                Err(error) => {
                    let service = source.service.clone();
                    return Some(((service, Err(error)), sources));
                }
            }
        }
        let with_line = sources.iter_mut().filter(|source| source.next.is_some());
        let earliest = with_line.min_by_key(|source| source.next.as_ref().map(|line| line.time_ns))?;
        let line = earliest.next.take()?;
        Some(((earliest.service.clone(), Ok(line)), sources))
    })
}

impl Source {
    /// Waits for its next line, if it has one.
    async fn fill(&mut self) -> anyhow::Result<()> {
        if self.is_over {
            return Ok(());
        }
        match self.lines.next().await {
            Some(line) => self.next = Some(line?),
            None => self.is_over = true,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _, stream};

    use super::{Lines, Order, merge};
    use crate::client::LogLine;
    use crate::exit::{Ends, Exit};

    fn line(time_ns: u64, text: &str) -> anyhow::Result<LogLine> {
        Ok(LogLine {
            task: "t".to_owned(),
            stderr: false,
            time_ns,
            line: text.as_bytes().to_vec(),
        })
    }

    fn lost() -> anyhow::Result<LogLine> {
        Err(Ends::with(Exit::Refused, "the output of a task is missing"))
    }

    async fn told(sources: Vec<(String, Lines)>, order: Order) -> Vec<String> {
        let lines = merge(sources, order).map(|(service, line)| match line {
            Ok(line) => format!("{service} {}", String::from_utf8_lossy(&line.line)),
            Err(error) => format!("{service} {error}"),
        });
        lines.collect().await
    }

    #[tokio::test]
    async fn lines_of_all_services_come_in_the_order_they_were_written() {
        let web = stream::iter([line(1, "a"), line(4, "d")]).boxed();
        let api = stream::iter([line(2, "b"), lost(), line(3, "c")]).boxed();
        let sources = vec![("web".to_owned(), web), ("api".to_owned(), api)];
        let wanted = [
            "web a",
            "api b",
            "api the output of a task is missing",
            "api c",
            "web d",
        ];
        assert_eq!(told(sources, Order::Time).await, wanted);
    }

    #[test]
    fn while_following_nobody_waits_for_a_silent_service() {
        let silent: Lines = stream::pending().boxed();
        let web = stream::iter([line(5, "a")]).boxed();
        let sources = vec![("idle".to_owned(), silent), ("web".to_owned(), web)];
        let mut lines = merge(sources, Order::Arrival);
        let first = lines.next().now_or_never().flatten();
        assert_eq!(first.map(|(service, _)| service).as_deref(), Some("web"));
        assert!(lines.next().now_or_never().is_none());
    }
}
