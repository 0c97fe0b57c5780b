//! What the Engines alone need for the same containers, asked over their sockets without any scheduler: nothing that uses
//! them can be faster.

use std::thread;

use anyhow::Result;
use shoal_tests::bed::{Bed, Host};

use crate::containers::{Of, now_s, until_count, until_started};

const OF: Of = Of::Service("floor");
/// Containers that one host makes at the same time.
const AT_ONCE: usize = 4;

/// Seconds to start so many containers, spread over the hosts.
pub(crate) fn create(bed: &Bed, count: usize) -> Result<f64> {
    let since = now_s();
    on_all(bed, (count, 0), |host, share| {
        host.sh(&format!(
            "seq {share} | xargs -P {AT_ONCE} -I @ sh -c '{}'",
            start_one()
        ))
    })?;
    let took = until_started(bed, OF, (since, count))?;
    clean(bed)?;
    Ok(took)
}

/// Seconds to replace twenty containers in fives, each stopped before the next is started.
pub(crate) fn update(bed: &Bed) -> Result<f64> {
    const ALL: usize = 20;
    const BATCH: usize = 5;
    on_all(bed, (ALL, 0), |host, share| {
        host.sh(&format!(
            "seq {share} | xargs -P {AT_ONCE} -I @ sh -c '{}'",
            start_one()
        ))
    })?;
    let since = now_s();
    for batch in 0..ALL / BATCH {
        on_all(bed, (BATCH, batch), |host, share| {
            let old = format!("docker ps -q --filter label={} | tail -n {share}", OF.label());
            let replace = format!(
                "{0} -X POST http://d/containers/@/stop && {0} -X DELETE http://d/containers/@ && {1}",
                curl(),
                start_one()
            );
            host.sh(&format!("{old} | xargs -P {share} -I @ sh -c '{replace}'"))
        })?;
    }
    let took = until_started(bed, OF, (since, ALL))?;
    clean(bed)?;
    Ok(took)
}

fn curl() -> &'static str {
    "curl -sf -o /dev/null --unix-socket /var/run/docker.sock"
}

/// A shell line without single quotes that makes and starts one container.
fn start_one() -> String {
    let label = OF.label();
    let (key, value) = label.split_once('=').expect("a label has a value");
    let body = format!(r#"{{\"Image\":\"shoal/idle:1\",\"Labels\":{{\"{key}\":\"{value}\"}}}}"#);
    format!(
        "id=$(curl -sf --unix-socket /var/run/docker.sock -H Content-Type:application/json -d \"{body}\" \
         http://d/containers/create | cut -c 8-71) && {} -X POST http://d/containers/$id/start",
        curl()
    )
}

fn clean(bed: &Bed) -> Result<()> {
    for host in bed.hosts() {
        host.sh(&format!(
            "c=$(docker ps -aq --filter label={}); [ -z \"$c\" ] || docker rm -f $c >/dev/null",
            OF.label()
        ))?;
    }
    until_count(bed, OF, 0)
}

/// Runs on every host with its share of the count, all hosts at once; who gets the larger shares moves on by `turn`.
fn on_all<T: Send>(
    bed: &Bed,
    (count, turn): (usize, usize),
    run: impl Fn(&Host, usize) -> shoal_tests::bed::Result<T> + Sync,
) -> Result<()> {
    let hosts = bed.hosts();
    let share = |at: usize| {
        let at = (at + hosts.len() - turn % hosts.len()) % hosts.len();
        count / hosts.len() + usize::from(at < count % hosts.len())
    };
    thread::scope(|scope| {
        let run = &run;
        let started: Vec<_> = hosts
            .iter()
            .enumerate()
            .filter(|(at, _)| share(*at) > 0)
            .map(|(at, host)| scope.spawn(move || run(host, share(at)).map(drop)))
            .collect();
        started
            .into_iter()
            .try_for_each(|one| one.join().expect("asking an Engine does not panic"))
    })?;
    Ok(())
}
