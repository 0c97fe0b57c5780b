//! The real job on real input: three managers, three workers, one stack with the keys that people write; deployed, scaled,
//! updated, rolled back by itself; a leader killed, a worker unplugged, brought back, drained, removed.

use std::time::Duration;

use shoal_tests::bed::{Result, wait_for};
use shoal_tests::cluster::{Cluster, Running};

/// Six hosts share one machine, and an update goes task by task: several times what it takes where nothing else runs.
const SOON: Duration = Duration::from_secs(180);

const STACK: &str = r#"
services:
  web:
    image: shoal/web:${WEB:-1}
    ports: ["8000:8000"]
    networks: [front, back]
    deploy:
      replicas: 3
      restart_policy: { condition: on-failure, delay: 5s, max_attempts: 3 }
      update_config: { parallelism: 1, delay: 1s, failure_action: rollback, monitor: 3s }
      placement: { constraints: ["node.role == worker"] }
      resources:
        limits: { cpus: "0.50", memory: 64M }
        reservations: { cpus: "0.10", memory: 32M }
  db:
    image: shoal/idle:1
    environment: { DB_PASSWORD_FILE: /run/secrets/db_password }
    secrets: [db_password]
    volumes: ["data:/data"]
    networks: [back]
    healthcheck: { test: ["CMD", "test", "-s", "/run/secrets/db_password"], interval: 1s, timeout: 20s, retries: 3 }
    deploy:
      replicas: 1
      update_config: { order: stop-first }
      placement: { constraints: ["node.hostname == h4"] }
      resources: { reservations: { memory: 64M } }
  nginx:
    image: shoal/idle:1
    configs: [{ source: nginx_conf, target: /etc/nginx/nginx.conf, mode: 0444 }]
    networks: [front]
    deploy: { mode: global }
networks:
  front: { driver: overlay, attachable: true }
  back: { driver: overlay, attachable: true }
volumes: { data: {} }
secrets: { db_password: { file: ./db_password.txt } }
configs: { nginx_conf: { file: ./nginx.conf } }
"#;

/// The command that deploys the stack with that image of `web`.
fn deploy(image: u32) -> String {
    format!("cd /root/job && WEB={image} shoal stack deploy --resolve-image never -c stack.yaml job")
}

fn versions(cluster: &Cluster, image: &str, count: usize) -> Result<()> {
    wait_for(&format!("{count} of {image}"), SOON, || {
        let running = cluster.running("job_web").map_err(|e| e.to_string())?;
        let right = running.len() == count && running.iter().all(|one| one.image.starts_with(image));
        if right {
            return Ok(());
        }
        // What the cluster itself says of it, for whoever reads the failure.
        let said = cluster
            .shoal("service ps --no-trunc job_web")
            .map_err(|e| e.to_string())?;
        Err(format!("{running:#?}\n{}", said.text()))
    })
}

#[test]
fn the_job_runs_through_its_days() -> Result<()> {
    let cluster = Cluster::new(6, 3)?;
    let db = it_is_deployed_as_written(&cluster)?;
    it_is_updated_while_the_leader_dies(&cluster, &db)?;
    a_bad_image_is_rolled_back_by_itself(&cluster)?;
    cluster.ok("service scale job_web=6")?;
    versions(&cluster, "shoal/web:2", 6)?;
    a_worker_is_lost_and_comes_back(&cluster)?;
    a_worker_is_drained(&cluster)?;
    cluster.ok("stack rm job")?;
    for service in ["job_web", "job_db", "job_nginx"] {
        cluster.wait_running(service, 0, SOON)?;
    }
    Ok(())
}

fn it_is_deployed_as_written(cluster: &Cluster) -> Result<Running> {
    let first = cluster.bed.host(1);
    first.put("/root/job/stack.yaml", STACK)?;
    first.put("/root/job/db_password.txt", "correct-horse-battery")?;
    first.put("/root/job/nginx.conf", "events {}\n")?;
    first.exec_within(SOON, &deploy(1))?.ok()?;
    let web = cluster.wait_running("job_web", 3, SOON)?;
    assert_eq!(
        web.iter().map(|one| one.host).collect::<Vec<_>>(),
        [4, 5, 6],
        "workers only, spread"
    );
    let db = cluster.wait_running("job_db", 1, SOON)?.remove(0);
    let inside = |command: &str| {
        cluster
            .bed
            .host(4)
            .sh(&format!("docker exec {} {command}", db.container))
    };
    assert_eq!(inside("cat /run/secrets/db_password")?, "correct-horse-battery");
    inside("touch /data/kept")?;
    cluster.wait_running("job_nginx", 6, SOON)?;
    assert!(cluster.wait_answer(5, 8000, SOON)?.contains("version 1"));
    Ok(db)
}

/// To the second image, in batches; the leader dies in the middle and the update goes on.
fn it_is_updated_while_the_leader_dies(cluster: &Cluster, db: &Running) -> Result<()> {
    cluster
        .bed
        .host(1)
        .exec_within(SOON, &(deploy(2) + " --detach"))?
        .ok()?;
    let leader = cluster.leader()?;
    cluster.bed.host(leader).kill("shoal-manager", "KILL")?;
    versions(cluster, "shoal/web:2", 3)?;
    // Only what was watched for its monitor time is a way back.
    wait_for("the update to be completed", SOON, || {
        let inspect = "service inspect job_web";
        let said = cluster.ok(inspect).map_err(|e| e.to_string())?;
        let found: serde_json::Value = serde_json::from_str(&said).map_err(|e| e.to_string())?;
        let update = &found[0]["UpdateStatus"];
        if update["State"] == "completed" {
            Ok(())
        } else {
            Err(update.to_string())
        }
    })?;
    let after = cluster.wait_running("job_db", 1, SOON)?;
    assert_eq!(&after[0], db, "db did not change and was replaced");
    Ok(())
}

/// The third image fails its health check: back to the second, exit code 3.
fn a_bad_image_is_rolled_back_by_itself(cluster: &Cluster) -> Result<()> {
    let out = cluster.bed.host(1).exec_within(SOON, &deploy(3))?;
    assert_eq!(out.code, Some(3), "{}", out.text());
    versions(cluster, "shoal/web:2", 3)
}

/// `web` is replaced on the others; `db` waits for its volume and finds it again.
fn a_worker_is_lost_and_comes_back(cluster: &Cluster) -> Result<()> {
    cluster.bed.host(4).unplug()?;
    wait_for("web to be replaced on two workers", SOON, || {
        let running = cluster.running("job_web").map_err(|e| e.to_string())?;
        let elsewhere = running.iter().filter(|one| one.host != 4).count();
        if elsewhere == 6 {
            Ok(())
        } else {
            Err(format!("{running:#?}"))
        }
    })?;
    assert!(
        cluster.running("job_db")?.iter().all(|one| one.host == 4),
        "db left its volume"
    );
    cluster.bed.host(4).plug()?;
    cluster.wait_ready(6)?;
    versions(cluster, "shoal/web:2", 6)?;
    // What ran while the node was away is ended: a container that is listed may be gone a moment later.
    wait_for("db to find its volume again", SOON, || {
        let back = cluster.running("job_db").map_err(|e| e.to_string())?;
        let [db] = &back[..] else {
            return Err(format!("{back:#?}"));
        };
        let look = format!("docker exec {} test -e /data/kept", db.container);
        let found = cluster.bed.host(4).sh(&look);
        found.map(drop).map_err(|e| e.to_string())
    })
}

fn a_worker_is_drained(cluster: &Cluster) -> Result<()> {
    cluster.ok("node update --availability drain h5")?;
    // The command ends when the host is free of tasks, not before.
    let left = "docker ps -q --filter label=io.shoal.cluster | wc -l";
    assert_eq!(
        cluster.bed.host(5).sh(left)?,
        "0",
        "tasks are left on a drained host"
    );
    wait_for("h5 to be empty", SOON, || {
        let running = cluster.running("job_web").map_err(|e| e.to_string())?;
        let left = running.len() == 6 && running.iter().all(|one| one.host != 5);
        if left {
            Ok(())
        } else {
            Err(format!("{running:#?}"))
        }
    })
}
