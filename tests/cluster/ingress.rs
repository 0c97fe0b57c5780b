//! The node's port is the agent's: no connection fails while tasks are replaced, and a port that something else holds is
//! told with its holder and heals.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_tests::bed::{Host, Result, image, wait_for};
use shoal_tests::cluster::{Cluster, ids};

const SOON: Duration = Duration::from_secs(60);
/// Datagrams, one every 5 ms, that a dead task's client may lose once the Engine has told of the end.
const LOST_MAX: usize = 60;
/// Datagrams that an update of two tasks may lose: a client is moved twice at most, and with each move goes the answer that
/// was on its way, because the kernel has just forgotten whose it is.
const MOVED_MAX: usize = 2;
/// Clients that ask all the time.
const CLIENTS: usize = 3;

/// Asks until `/tmp/stop` is there: a line in `/tmp/answered` for each answer, in `/tmp/failed` for each other end.
fn client(address: &str) -> String {
    format!(
        "while [ ! -e /tmp/stop ]; do if curl -sf --max-time 10 http://{address}:8000/ >/dev/null 2>/tmp/words; then \
         echo ok >>/tmp/answered; else echo \"curl: $?\" >>/tmp/failed; fi; done"
    )
}

#[test]
fn no_connection_fails_and_datagrams_find_a_task_through_an_update() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let host = cluster.bed.host(1);
    cluster.ok("service create --name web --replicas 2 --no-resolve-image -p 8000:8000 shoal/web:1")?;
    cluster.wait_answer(1, 8000, SOON)?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| host.spawn(&client(host.address())))
        .collect::<Result<_>>()?;
    let answered = || host.sh("cat /tmp/answered 2>/dev/null | wc -l");
    let go_on = |what: &str| {
        let before: u64 = answered()?.trim().parse().expect("a number");
        wait_for(&format!("answers {what}"), SOON, || {
            let now = answered().map_err(|e| e.to_string())?;
            let now: u64 = now.trim().parse().expect("a number");
            if now > before + 20 {
                Ok(())
            } else {
                Err(format!("{now} answers"))
            }
        })
    };
    go_on("before the update")?;
    let first = ids(&cluster.wait_running("web", 2, SOON)?);
    cluster.ok(
        "service update --image shoal/web:2 --update-order stop-first --update-parallelism 1 --update-delay 0s \
         --update-monitor 0s --no-resolve-image web",
    )?;
    let second = ids(&cluster.wait_running("web", 2, SOON)?);
    assert!(first.is_disjoint(&second), "both tasks were replaced");
    go_on("after the update")?;
    cluster.ok("service scale web=1")?;
    go_on("with one task")?;
    for image in ["shoal/web:1", "shoal/web:2"] {
        cluster.ok(&format!(
            "service update --image {image} --update-order start-first --no-resolve-image web"
        ))?;
    }
    cluster.wait_running("web", 1, SOON)?;
    go_on("after the second update")?;
    cluster.ok("service scale web=3")?;
    go_on("with three tasks")?;
    host.sh("touch /tmp/stop")?;
    for mut client in clients {
        client.wait().expect("clients end");
    }
    assert_eq!(
        host.sh("cat /tmp/failed 2>/dev/null || true")?,
        "",
        "connections failed"
    );
    datagrams_find_a_task(&cluster)
}

/// One client that asks all the time, through an update and through the end of the task that answers it.
fn datagrams_find_a_task(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(1);
    cluster.ok("service create --name echo --replicas 2 --no-resolve-image -p 9000:9000/udp -p 9001:9000 shoal/traffic:1")?;
    let (traffic, address) = (image::traffic()?, host.address());
    let traffic = traffic.display();
    both_tasks_answer(host, &format!("{traffic} ask --tcp {address}:9001"))?;
    let mut client = host.spawn(&format!(
        "exec {traffic} ask --udp {address}:9000 --pause 5 --wait 6000 --until /tmp/enough >/tmp/datagrams"
    ))?;
    // What was answered since a line of the client's, once there are enough answers.
    let answers = |since: usize, words: &str| {
        wait_for(&format!("datagrams answered with {words:?}"), SOON, || {
            let all = host.sh("cat /tmp/datagrams").map_err(|e| e.to_string())?;
            let new: Vec<String> = all.lines().skip(since).map(str::to_owned).collect();
            let fitting = new.iter().filter(|line| line.contains(words)).count();
            if fitting >= 20 {
                Ok(new)
            } else {
                Err(new.join("\n"))
            }
        })
    };
    let begun = answers(0, " version 1 ")?;
    let task = |line: &String| line.split(' ').next().map(str::to_owned);
    let who: BTreeSet<_> = begun.iter().map(task).collect();
    assert_eq!(who.len(), 1, "a client keeps its task: {begun:?}");
    cluster.ok(
        "service update --image shoal/traffic:2 --update-order stop-first --update-parallelism 1 --update-delay 0s \
         --update-monitor 0s --no-resolve-image echo",
    )?;
    let updated = answers(0, " version 2 ")?;
    let lost: Vec<_> = updated.iter().filter(|line| line.starts_with("lost")).collect();
    assert!(
        lost.len() <= MOVED_MAX,
        "datagrams were lost in an update: {lost:?}"
    );
    // The task that answers dies: the other one, and nobody else, goes on. The command ends when the Engine knows of the
    // end, which takes an Engine with much to do a while.
    let dies = updated.last().and_then(task).expect("a line names its task");
    let told = host.sh(&format!(
        "docker kill $(docker ps -q --filter label=com.docker.swarm.service.name=echo | xargs docker inspect \
         --format '{{{{.Config.Hostname}}}} {{{{.Id}}}}' | sed -n 's/^{dies} //p') >/dev/null && \
         wc -l </tmp/datagrams"
    ))?;
    let told: usize = told.trim().parse().expect("a number");
    let after = wait_for("another task to answer", SOON, || {
        let new = answers(told, " version 2 ").map_err(|e| e.to_string())?;
        let other = new
            .last()
            .and_then(task)
            .filter(|who| *who != dies && who != "lost");
        other.map(|_| new.clone()).ok_or_else(|| new.join("\n"))
    })?;
    let lost = after.iter().filter(|line| line.starts_with("lost")).count();
    assert!(
        lost <= LOST_MAX,
        "a dead task's client waited for long: {after:?}"
    );
    host.sh("touch /tmp/enough")?;
    client.wait().expect("the client ends");
    Ok(())
}

/// Waits until both do: a container runs before its program listens, and the node hears of it a moment later. All are of
/// the first image.
fn both_tasks_answer(host: &Host, ask: &str) -> Result<()> {
    let lines = wait_for("both tasks to answer", SOON, || {
        let lines = host.sh(&format!("{ask} --count 24 --fresh yes"));
        let lines = lines.map_err(|e| e.to_string())?;
        let tasks = lines.lines().filter_map(|line| line.split(' ').next());
        if tasks.collect::<BTreeSet<_>>().len() == 2 {
            Ok(lines)
        } else {
            Err(lines)
        }
    })?;
    assert!(lines.lines().all(|line| line.contains(" version 1 ")), "{lines}");
    Ok(())
}

#[test]
fn a_taken_port_is_told_with_its_holder_and_heals() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let host = cluster.bed.host(1);
    let mut holders =
        [8000, 8001].map(|port| host.spawn(&format!("exec busybox nc -l -p {port}")).expect("nc"));
    for port in [8000, 8001] {
        let taken = format!("ss -Hltn | grep -q ':{port} '");
        host.wait_sh("the port to be taken", SOON, &taken)?;
    }
    cluster.ok(
        "service create --detach --name ingress --restart-delay 500ms --no-resolve-image -p 8000:8000 shoal/web:1",
    )?;
    cluster.ok(
        "service create --detach --name host --restart-delay 500ms --no-resolve-image \
         --publish mode=host,published=8001,target=8000 shoal/web:1",
    )?;
    for (service, port) in [("ingress", 8000), ("host", 8001)] {
        wait_for("the holder's name", SOON, || {
            let tasks = cluster.ok(&format!("service ps --no-trunc {service}"));
            let tasks = tasks.map_err(|e| e.to_string())?;
            let words = format!("  port {port}/tcp of this node is taken by process busybox (pid ");
            if tasks.contains(&words) {
                Ok(())
            } else {
                Err(tasks)
            }
        })?;
    }
    for holder in &mut holders {
        holder.kill().expect("it runs");
        holder.wait().expect("it ends");
    }
    host.sh("pkill -x busybox || true")?;
    for port in [8000, 8001] {
        assert!(cluster.wait_answer(1, port, SOON)?.contains("version 1"));
    }
    Ok(())
}
