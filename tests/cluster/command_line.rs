//! The command line as an operator meets it: what is refused and in which words, what is seen while it waits, and
//! credentials that go on working when nobody is logged in any more. Every message says what would be right.

use std::time::Duration;

use shoal_tests::bed::registry::{Access, PASSWORD, Registry, USER};
use shoal_tests::bed::{BedError, Result, wait_for};
use shoal_tests::cluster::{Cluster, PORT};

const SOON: Duration = Duration::from_secs(90);

/// Runs a shell command on host 1, which must end with `code` and say all of `says`.
fn told(cluster: &Cluster, command: &str, code: i32, says: &[&str]) -> Result<String> {
    let out = cluster.bed.host(1).exec(command)?;
    let text = out.text();
    if out.code == Some(code) && says.iter().all(|what| text.contains(what)) {
        return Ok(text);
    }
    Err(BedError::Refused(format!(
        "`{command}` -> {:?}, wanted {code} and {says:?}:\n{text}",
        out.code
    )))
}

#[test]
fn bad_input_is_refused_in_words_that_say_what_to_do() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    cluster.ok("service create --name web --no-resolve-image -p 8000:8000 shoal/web:1")?;
    cluster.ok("service create --name idle --no-resolve-image --detach shoal/idle:1")?;
    names_that_are_wrong(&cluster)?;
    tokens_and_managers(&cluster)?;
    specs_that_cannot_be(&cluster)?;
    files_that_are_malformed(&cluster)?;
    limits(&cluster)?;
    images_that_are_not_there(&cluster)?;
    ports_that_are_taken(&cluster)?;
    words_to_an_update(&cluster)?;
    every_exit_code(&cluster)
}

/// Scripts rely on the numbers. What 7 stands for comes with plans that are kept.
fn every_exit_code(cluster: &Cluster) -> Result<()> {
    let bad_image = |action: &str| {
        format!(
            "shoal service update --image shoal/web:3 --update-failure-action {action} --update-monitor 1s \
             --no-resolve-image web"
        )
    };
    let wait = interrupted_after(
        "shoal service create --name no --no-resolve-image --reserve-cpu 1000 shoal/idle:1",
        "no suitable node",
    );
    let differs = "printf 'services: {one: {image: shoal/idle:1}}' > /root/diff.yaml && \
                   shoal stack diff --exit-code --resolve-image never -c /root/diff.yaml diff";
    let goes_on = [
        "no progress for 2s, it goes on in the cluster",
        "`shoal node ps h1` shows it",
    ];
    for (command, code, says) in [
        ("shoal service ls", 0, &["web"][..]),
        ("shoal service ps nosuch", 1, &["no service \"nosuch\" is known"]),
        ("shoal service ps", 2, &["Usage: shoal service ps"]),
        (&bad_image("rollback"), 3, &["web was rolled back: "]),
        (
            "shoal node update --availability drain --timeout 2s h1",
            4,
            &goes_on,
        ),
        ("shoal node update --availability active h1", 0, &["h1"]),
        (&bad_image("pause"), 5, &["web is paused: "]),
        ("shoal --host unix:///nope node ls", 6, &["no manager answers"]),
        (
            differs,
            8,
            &["+ service diff_one: created", "image: shoal/idle:1"],
        ),
        (&wait, 130, &["interrupted, it goes on in the cluster"]),
    ] {
        told(cluster, command, code, says)?;
    }
    Ok(())
}

/// An update that tasks of its own paused, and one that its operator did.
fn words_to_an_update(cluster: &Cluster) -> Result<()> {
    let update = "shoal service update";
    let bad = "--update-failure-action pause --update-monitor 1s --no-resolve-image --image shoal/web:3 web";
    let begin = format!("{update} --detach --force --update-delay 2s --no-resolve-image web");
    let image = "shoal service inspect web | grep -o 'shoal/web:[0-9]' | head -n 1";
    let before = cluster.bed.host(1).sh(image)?;
    for (words, code, says) in [
        (bad, 5, &["web is paused: "][..]),
        ("--resume web", 1, &["was paused because ", "--continue goes on"]),
        ("--pause web", 1, &["is paused already: "]),
        ("--pause --abort web", 2, &["cannot be used with"]),
        ("--abort --replicas 3 web", 2, &["give them alone"]),
        ("--continue --detach web", 0, &["web"]),
        ("--abort web", 0, &["web"]),
        ("--abort web", 1, &["has no update under way to abort"]),
    ] {
        told(cluster, &format!("{update} {words}"), code, says)?;
    }
    assert_eq!(
        cluster.bed.host(1).sh(image)?,
        before,
        "an aborted update leaves its image"
    );
    told(cluster, &format!("{begin} && {update} --pause web"), 0, &["web"])?;
    let shown = "shoal service inspect web";
    told(cluster, shown, 0, &["\"paused\"", "paused by "])?;
    told(cluster, &format!("{update} --resume web"), 0, &["web"])?;
    told(cluster, shown, 0, &["\"completed\""])?;
    Ok(())
}

fn names_that_are_wrong(cluster: &Cluster) -> Result<()> {
    let known = |kind: &str| format!("no {kind} \"nosuch\" is known: `shoal {kind} ls` lists them");
    for (command, kind) in [
        ("node inspect nosuch", "node"),
        ("node update --availability drain nosuch", "node"),
        ("node ps nosuch", "node"),
        ("service ps nosuch", "service"),
        ("service rm nosuch", "service"),
        ("stack ps nosuch", "stack"),
        ("stack rm nosuch", "stack"),
        ("secret rm nosuch", "secret"),
        ("config inspect nosuch", "config"),
        ("network rm nosuch", "network"),
    ] {
        told(cluster, &format!("shoal {command}"), 1, &[&known(kind)])?;
    }
    // Ids made in one second begin alike; the end of an id, as tables show it, is enough.
    let ambiguous = [
        "is ambiguous: it may mean",
        "(web)",
        "(idle)",
        "use more of the id",
    ];
    told(cluster, "shoal service inspect 0", 1, &ambiguous)?;
    let shown = "id=$(shoal service ls -f name=web | tail -n 1 | cut -d ' ' -f 1); shoal service ps $id";
    told(cluster, shown, 0, &["web.1"])?;
    let unknown = ["unknown filter \"colour\": known here are id, name"];
    told(cluster, "shoal service ls -f colour=red", 1, &unknown)?;
    told(
        cluster,
        "shoal node ls -f role=king",
        1,
        &["expected manager, worker"],
    )?;
    told(
        cluster,
        "shoal service ls --format yaml",
        2,
        &["invalid value 'yaml'"],
    )?;
    told(cluster, "shoal service crate", 2, &["'create'"])?;
    told(
        cluster,
        "shoal service create --name web --no-resolve-image shoal/web:1",
        1,
        &["a service named \"web\" exists already: update it, or choose another name"],
    )?;
    let twice = "printf x | shoal secret create key - && printf x | shoal secret create key -";
    let used = [
        "name \"key\" is used already by secret",
        "choose another, or remove that first",
    ];
    told(cluster, twice, 1, &used)?;
    let rm = "shoal network create back && shoal service create --name user --network back -q --no-resolve-image \
              shoal/idle:1 && shoal network rm back";
    let in_use = [
        "network back (",
        "is in use by service user (",
        "remove or change that first",
    ];
    told(cluster, rm, 1, &in_use).map(drop)
}

fn tokens_and_managers(cluster: &Cluster) -> Result<()> {
    let address = cluster.bed.host(1).address();
    let create = |token: &str, manager: &str| {
        format!("shoal context create ws --manager {manager} --token \"{token}\"")
    };
    let here = format!("{address}:{PORT}");
    told(
        cluster,
        &create("secret", &here),
        1,
        &["`shoal cluster join-token` prints it"],
    )?;
    let worker = create("$(shoal cluster join-token worker -q)", &here);
    told(
        cluster,
        &worker,
        1,
        &["`shoal cluster join-token operator` prints it"],
    )?;
    let rotated = format!(
        "old=$(shoal cluster join-token operator -q); shoal cluster join-token operator --rotate -q; {}",
        create("$old", &here)
    );
    told(cluster, &rotated, 1, &["is not valid: it was rotated"])?;
    let nobody = create("$(shoal cluster join-token operator -q)", &format!("{address}:1"));
    told(cluster, &nobody, 6, &[":1 is not reached: Connection refused"])?;
    told(
        cluster,
        "shoal --host unix:///nope node ls",
        6,
        &["no manager answers on /nope", "are you root?"],
    )?;
    let elsewhere = ["`shoal context create NAME --manager"];
    told(cluster, "shoal --host 10.9.9.9:1 node ls", 1, &elsewhere)?;
    told(
        cluster,
        "shoal --context nosuch node ls",
        1,
        &["`shoal context ls` lists them"],
    )
    .map(drop)
}

fn specs_that_cannot_be(cluster: &Cluster) -> Result<()> {
    let create = |arguments: &str| format!("shoal service create --name no --no-resolve-image {arguments}");
    for (arguments, code, says) in [
        (
            "--constraint node.colour==red shoal/idle:1",
            1,
            "unknown key \"node.colour\"; valid are node.id",
        ),
        (
            "--constraint node.role=worker shoal/idle:1",
            2,
            "write KEY==VALUE or KEY!=VALUE",
        ),
        ("--limit-memory 1k shoal/idle:1", 1, "is too small: at least"),
        (
            "--reserve-cpu 2 --limit-cpu 1 shoal/idle:1",
            1,
            "a reservation is at most the limit",
        ),
        (
            "--secret nosuch shoal/idle:1",
            1,
            "secret \"nosuch\" does not exist: create it first",
        ),
        (
            "--network nosuch shoal/idle:1",
            1,
            "network \"nosuch\" does not exist: create it first",
        ),
        (
            "--mode global --replicas 2 shoal/idle:1",
            2,
            "replicas go with replicated services",
        ),
        (
            "--health-interval 5 shoal/idle:1",
            2,
            "write numbers with units, such as 90s",
        ),
        ("Shoal/Idle:1", 2, "names of images are lowercase"),
        ("--nmae x shoal/idle:1", 2, "'--name'"),
    ] {
        told(cluster, &create(arguments), code, &[says])?;
    }
    // It is refused before a registry is asked.
    let elsewhere = "shoal service create --name no --constraint node.colour==red 127.0.0.1:1/x:1";
    let out = cluster.bed.host(1).exec(elsewhere)?;
    assert_eq!(out.code, Some(1), "{}", out.text());
    assert!(
        out.stderr.contains("unknown key") && !out.stderr.contains("digest"),
        "{}",
        out.text()
    );
    // What no node can give is accepted, for a node may come; the wait says what is missing, and a signal ends it.
    let impossible = interrupted_after(&create("--reserve-cpu 1000 shoal/idle:1"), "no suitable node");
    let says = [
        "CPUs missing on 1 node",
        "interrupted, it goes on in the cluster",
        "`shoal service ps no`",
    ];
    told(cluster, &impossible, 130, &says)?;
    told(
        cluster,
        "shoal service ps no",
        0,
        &["pending", "no suitable node"],
    )?;
    cluster.ok("service rm no").map(drop)
}

/// The command, sent the signal of Ctrl-C once it has said `what`; ends with its code.
fn interrupted_after(command: &str, what: &str) -> String {
    // A shell's background command ignores the signal, unless it is started anew by something that does not.
    format!(
        "rm -f /root/said; env --default-signal=INT {command} > /root/said 2>&1 & pid=$!; \
         for _ in $(seq 300); do grep -q '{what}' /root/said && break; sleep 0.1; done; \
         kill -INT $pid; wait $pid; code=$?; cat /root/said; exit $code"
    )
}

fn files_that_are_malformed(cluster: &Cluster) -> Result<()> {
    let host = cluster.bed.host(1);
    host.put(
        "/root/bad.yaml",
        "services:\n  web:\n    image: shoal/web:1\n    prots: [80]\n    deploy:\n      replicas: many\n",
    )?;
    let deploy = "shoal stack deploy -c /root/bad.yaml bad";
    let findings = [
        "unknown key prots; did you mean ports?",
        "/root/bad.yaml:4:5",
        "\"many\" is not a whole number",
        "/root/bad.yaml:6:17",
        "nothing has changed",
    ];
    told(cluster, deploy, 2, &findings)?;
    host.put("/root/bad.yaml", "services:\n  web:\n\timage: shoal/web:1\n")?;
    told(
        cluster,
        deploy,
        2,
        &["tab used for indentation", "/root/bad.yaml:3:1"],
    )?;
    told(
        cluster,
        "shoal stack deploy -c /root/nosuch.yaml bad",
        2,
        &["cannot read /root/nosuch.yaml"],
    )?;
    told(cluster, "shoal stack ls -q | wc -l", 0, &["0"]).map(drop)
}

fn limits(cluster: &Cluster) -> Result<()> {
    let secret = "head -c 600000 /dev/zero | shoal secret create big -";
    told(cluster, secret, 1, &["larger than the 500 KiB"])?;
    let config = "head -c 1100000 /dev/zero | shoal config create big -";
    told(cluster, config, 1, &["larger than the 1000 KiB"])?;
    let many = "shoal service scale web=100001";
    told(cluster, many, 1, &["100001: at most 100000"])?;
    let empty = "shoal secret create none - < /dev/null";
    told(cluster, empty, 1, &["needs at least one byte"]).map(drop)
}

fn images_that_are_not_there(cluster: &Cluster) -> Result<()> {
    let open = Registry::start(&cluster.bed, 5000, Access::Open)?;
    let closed = Registry::start(&cluster.bed, 5001, Access::Password)?;
    let own = closed.push(cluster.bed.host(1), "shoal/idle:1")?;
    let create = |image: &str| {
        format!("shoal service create --name no --restart-max-attempts 1 --restart-delay 100ms {image}")
    };
    for (image, says) in [
        (format!("{}/nosuch:1", open.address()), "manifest unknown"),
        (own, "no basic auth credentials"),
        (
            format!("{}:1/nosuch:1", cluster.bed.host(1).address()),
            "connection refused",
        ),
    ] {
        // Said at the lookup of the digest and, if somebody only looks at the end, there.
        let text = told(
            cluster,
            &create(&image),
            5,
            &[says, "error: no: no.1 rejected", "1 of 1 attempts made"],
        )?;
        let at_the_end = text.lines().last().unwrap_or_default();
        assert!(
            at_the_end.contains(says),
            "the last line does not say why: {text}"
        );
        cluster.ok("service rm no")?;
    }
    Ok(())
}

fn ports_that_are_taken(cluster: &Cluster) -> Result<()> {
    let create =
        "shoal service create --name no --no-resolve-image --restart-max-attempts 1 --restart-delay 100ms";
    told(
        cluster,
        &format!("{create} -p 8000:8000 shoal/web:1"),
        1,
        &[
            "port 8000/tcp is published already by service web (",
            "choose another",
        ],
    )?;
    let host = cluster.bed.host(1);
    let mut listener = host.spawn("exec busybox nc -l -p 7777")?;
    host.wait_sh("somebody to listen", SOON, "ss -Hltn sport = :7777 | grep -q .")?;
    let taken = told(
        cluster,
        &format!("{create} -p mode=host,published=7777,target=8000 shoal/web:1"),
        5,
        &["7777", "busybox"],
    );
    listener.kill().and_then(|()| listener.wait().map(drop)).ok();
    taken?;
    cluster.ok("service rm no").map(drop)
}

#[test]
fn waiting_is_seen_live_on_a_terminal_and_line_by_line_elsewhere() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let mut file = "services:\n".to_owned();
    for number in 1..=8 {
        file += &format!("  svc{number}:\n    image: shoal/idle:1\n    deploy: {{replicas: 2}}\n");
    }
    cluster.bed.host(1).put("/root/many.yaml", &file)?;
    // A small window still shows all services, a line each.
    let deploy = "stty cols 50 rows 10; shoal stack deploy --resolve-image never -c /root/many.yaml many";
    let on = |term: &str| format!("TERM={term} script -qec '{deploy}' /dev/null");
    let seen = told(&cluster, &on("xterm"), 0, &["converged"])?;
    for number in 1..=8 {
        assert!(
            seen.contains(&format!("many_svc{number}  2/2 running")),
            "svc{number}: {seen}"
        );
    }
    // A terminal that cannot move its cursor is told line by line.
    told(&cluster, &on("dumb"), 0, &["many_svc8: 2/2 running", "converged"])?;
    // Elsewhere: news only, one line each, on standard error; ids on standard output.
    let out = cluster.shoal("service create --name lone --no-resolve-image shoal/idle:1")?;
    assert_eq!(out.stdout.lines().count(), 1, "{}", out.text());
    assert!(out.stderr.contains("lone: 1/1 running\n") && out.stderr.trim().ends_with("converged"));
    assert!(!out.stderr.contains('\u{1b}'), "no terminal, no escapes");
    assert_eq!(cluster.shoal("service scale -q lone=2")?.stderr, "");
    assert_eq!(cluster.shoal("service scale -d lone=1")?.stderr, "");
    // A removal has ended when the containers have.
    cluster.ok("stack rm many")?;
    assert!(cluster.running("many_svc1")?.is_empty());
    a_failure_shows_its_reason_and_last_words(&cluster)?;
    logs_are_followed_and_had_of_one_task(&cluster)?;
    an_interrupted_update_goes_on(&cluster)
}

fn a_failure_shows_its_reason_and_last_words(cluster: &Cluster) -> Result<()> {
    // With a health check it is not taken to run before it has passed.
    let create = "shoal service create --name bad --restart-max-attempts 1 --restart-delay 100ms --no-resolve-image \
                  --health-cmd true --health-interval 5s shoal/idle:1 sh -c 'echo out of cheese; exit 3'";
    let text = told(
        cluster,
        create,
        5,
        &["bad.1 | out of cheese", "1 of 1 attempts made"],
    )?;
    let failed = text
        .lines()
        .filter(|line| line.starts_with("bad: 0/1 running; bad.1 failed"))
        .count();
    assert!(failed <= 1, "the same failure is told again and again: {text}");
    cluster.ok("service rm bad").map(drop)
}

fn logs_are_followed_and_had_of_one_task(cluster: &Cluster) -> Result<()> {
    let create = "service create --name talk --stop-grace-period 1s --restart-delay 100ms --no-resolve-image shoal/idle:1 \
                  sh -c 'while :; do echo hello; sleep 0.2; done'";
    cluster.ok(create)?;
    let first = &cluster.wait_running("talk", 1, SOON)?[0];
    let follow = interrupted_after("shoal service logs -f talk", "hello");
    told(cluster, &follow, 130, &["talk.1@h1 | hello"])?;
    told(
        cluster,
        "shoal service logs -n 1 talk.1",
        0,
        &["talk.1@h1 | hello"],
    )?;
    told(cluster, "shoal service logs -f talk | head -n 1", 0, &["hello"])?;
    let chosen = "test $(shoal service logs --grep ^hel --since 1970-01-01 talk | grep -c 'talk.1@h1 | hello') -gt 0 && \
                  test -z \"$(shoal service logs --grep Hello talk; shoal service logs --until 1970-01-02 talk)\"";
    told(cluster, chosen, 0, &[])?;
    // Following ends by itself where an end is told.
    told(cluster, "shoal service logs -f --until 0 talk", 0, &["hello"])?;
    let refused = "shoal service logs --since yesterday talk";
    told(cluster, refused, 2, &["is no time: write how long ago"])?;
    // Output that is gone with its container is named, and hides nothing of the rest.
    cluster
        .bed
        .host(1)
        .sh(&format!("docker rm -f {}", first.container))?;
    let again = "until shoal service logs -n 1 talk | grep hello; do sleep 0.2; done";
    told(
        cluster,
        again,
        0,
        &["talk.1@h1 | hello", "has no container on this node any more"],
    )?;
    cluster.ok("service rm talk").map(drop)
}

fn an_interrupted_update_goes_on(cluster: &Cluster) -> Result<()> {
    cluster
        .ok("service create --name web --replicas 3 --no-resolve-image --update-monitor 1s shoal/web:1")?;
    let update = "shoal service update --no-resolve-image --image shoal/web:2 web";
    let says = ["interrupted, it goes on in the cluster; `shoal service ps web` shows it"];
    told(
        cluster,
        &interrupted_after(update, "web: 0/3 updated"),
        130,
        &says,
    )?;
    wait_for("the update to go on without its caller", SOON, || {
        let running = cluster.running("web").map_err(|e| e.to_string())?;
        let new = running.iter().filter(|one| one.image.contains("web:2")).count();
        if new == 3 {
            Ok(())
        } else {
            Err(format!("{running:?}"))
        }
    })
}

#[test]
fn credentials_kept_in_the_cluster_serve_a_later_reschedule() -> Result<()> {
    let cluster = Cluster::new(2, 1)?;
    let registry = Registry::start(&cluster.bed, 5000, Access::Password)?;
    let address = registry.address().to_owned();
    let one = registry.push(cluster.bed.host(1), "shoal/web:1")?;
    let login = format!("echo {PASSWORD} | shoal registry login -u {USER} --password-stdin {address}");
    told(&cluster, &login, 0, &[&address])?;
    told(&cluster, "shoal registry ls", 0, &[&address, USER])?;
    let create = format!("service create --name web --constraint node.hostname==h1 {one}");
    cluster.ok(&create)?;
    // The tag became a digest once; every task of the revision has it.
    told(&cluster, "shoal service inspect web", 0, &["web:1@sha256:"])?;
    cluster.ok("service update --constraint-rm node.hostname==h1 --constraint-add node.hostname==h2 web")?;
    let moved = cluster.wait_running("web", 1, SOON)?;
    assert_eq!(
        moved[0].host, 2,
        "pulled with the cluster's credentials where nobody logged in"
    );
    a_digest_is_looked_up_when_asked(&cluster, &registry)?;
    told(
        &cluster,
        &format!("shoal registry logout {address}"),
        0,
        &[&address],
    )?;
    assert_eq!(cluster.ok("registry ls -q")?, "");
    cluster.ok("service rm web")?;
    for host in cluster.bed.hosts() {
        host.sh("docker image prune -af")?;
    }
    credentials_of_the_workstation(&cluster, &address)
}

/// `stack deploy --resolve-image always|changed|never`, after the image behind the tag has changed.
fn a_digest_is_looked_up_when_asked(cluster: &Cluster, registry: &Registry) -> Result<()> {
    let host = cluster.bed.host(1);
    host.sh("docker tag shoal/web:1 shoal/moving:1")?;
    let image = registry.push(host, "shoal/moving:1")?;
    host.put(
        "/root/moving.yaml",
        format!("services:\n  it:\n    image: {image}\n"),
    )?;
    let deploy = |when: &str| {
        cluster.ok(&format!(
            "stack deploy --resolve-image {when} -c /root/moving.yaml moving"
        ))
    };
    let runs = || {
        cluster.ok("service inspect moving_it").map(|text| {
            // The last one: that of the revision before stands above it.
            let mut images = text.lines().filter(|line| line.contains("@sha256:"));
            images.next_back().map(str::to_owned)
        })
    };
    deploy("always")?;
    let first = runs()?;
    assert!(first.is_some());
    host.sh("docker tag shoal/web:2 shoal/moving:1")?;
    registry.push(host, "shoal/moving:1")?;
    for when in ["never", "changed"] {
        let text = deploy(when)?;
        assert!(text.contains("unchanged service moving_it"), "{text}");
        assert_eq!(runs()?, first, "{when} keeps what runs");
    }
    deploy("always")?;
    assert_ne!(runs()?, first, "always asks again");
    cluster.ok("stack rm moving").map(drop)
}

/// `--with-registry-auth`: Docker's configuration and a credential helper of this workstation.
fn credentials_of_the_workstation(cluster: &Cluster, address: &str) -> Result<()> {
    let host = cluster.bed.host(1);
    let create =
        |name: &str| format!("service create --with-registry-auth --name {name} {address}/shoal/web:1");
    let none = format!("no credentials for {address}");
    told(
        cluster,
        &format!("shoal {}", create("none")),
        1,
        &[&none, "docker login"],
    )?;
    let helper = format!(
        "#!/bin/sh\nread -r key; [ \"$1 $key\" = 'get {address}' ] || exit 1\n\
         echo '{{\"ServerURL\":\"{address}\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n"
    );
    host.put("/usr/local/bin/docker-credential-bed", helper)?;
    host.put(
        "/root/.docker/config.json",
        format!("{{\"credHelpers\": {{\"{address}\": \"bed\"}}}}"),
    )?;
    host.sh("chmod 755 /usr/local/bin/docker-credential-bed")?;
    cluster.ok(&create("helped"))?;
    cluster.ok("service rm helped")?;
    cluster.ok(&format!("registry logout {address}"))?;
    host.sh(&format!(
        "rm /root/.docker/config.json; docker login -u {USER} -p {PASSWORD} {address}"
    ))?;
    cluster.ok(&create("logged"))?;
    assert!(
        cluster.ok("registry ls -q")?.contains(address),
        "the cluster keeps them for the next pull"
    );
    Ok(())
}
