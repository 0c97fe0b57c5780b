//! The operator's guide is true: its command blocks run in their order on three fresh hosts, and every command of ours
//! that it names exists.

use std::path::Path;
use std::time::Duration;

use shoal_tests::bed::{Bed, BedError, Result, image, package};

/// The pages whose blocks are run, in reading order.
const PAGES: [&str; 4] = ["install.md", "first-stack.md", "networks.md", "day-two.md"];
const BLOCK_WITHIN: Duration = Duration::from_secs(400);

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/guide")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One block: the hosts it is for, and its commands.
struct Block {
    hosts: Vec<usize>,
    commands: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    for part in page.split("```sh\n").skip(1) {
        let (block, _) = part.split_once("```").expect("a block ends");
        let (first, commands) = block.split_once('\n').expect("a block has lines");
        let hosts = first.strip_prefix("# on ").expect("a block says where it runs");
        let number = |host: &str| host.trim_start_matches('h').parse().expect("h1, h2, h3");
        let hosts = hosts.split_whitespace().map(number).collect();
        found.push(Block {
            hosts,
            commands: commands.to_owned(),
        });
    }
    found
}

#[test]
fn the_blocks_of_the_guide_work_in_their_order() -> Result<()> {
    let bed = Bed::new(3)?;
    image::load(bed.hosts())?;
    let tarball = std::fs::read(package::tarball()?).expect("the package is there");
    for host in bed.hosts() {
        host.put("/root/shoal.tar.gz", &tarball)?;
    }
    let mut run = 0;
    for name in PAGES {
        for block in blocks(&page(name)) {
            for number in block.hosts {
                carry_tokens(&bed, number)?;
                let out = bed
                    .host(number)
                    .exec_within(BLOCK_WITHIN, &format!("set -e\n{}", block.commands))?;
                if !out.success() {
                    let logs = bed.host(number).log_tail("shoal-manager")
                        + &bed.host(number).log_tail("shoal-agent");
                    return Err(BedError::Refused(format!(
                        "{name}, on h{number}:\n{}\n-> {:?}\n{}{logs}",
                        block.commands,
                        out.code,
                        out.text()
                    )));
                }
                run += 1;
            }
        }
    }
    assert!(run > 10, "only {run} blocks were run");
    Ok(())
}

/// "Carry the token to the other hosts": as a person does between two blocks.
fn carry_tokens(bed: &Bed, to: usize) -> Result<()> {
    for name in ["manager.token", "worker.token"] {
        let path = format!("/root/{name}");
        if let (Ok(token), true) = (bed.host(1).get(&path), to != 1) {
            bed.host(to).put(&path, token)?;
        }
    }
    Ok(())
}

#[test]
fn every_command_beside_a_docker_command_exists() -> Result<()> {
    let bed = Bed::new(1)?;
    let host = bed.host(1);
    package::install(host, "--no-start")?.ok()?;
    let table = page("from-swarm.md");
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `docker"))
        .collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in rows {
        let ours = row.split('|').nth(2).expect("a second column");
        for command in ours.split('`').skip(1).step_by(2) {
            let name = |word: &&str| {
                word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
            };
            let words = command.split_whitespace();
            let mut verbs: Vec<&str> = words.clone().take_while(name).collect();
            // At most program, noun and verb; then come names.
            verbs.truncate(if verbs[0] == "shoal" { 3 } else { 2 });
            let help = host.sh(&format!("{} --help", verbs.join(" ")))?;
            for flag in words.filter(|word| word.starts_with('-')) {
                assert!(help.contains(flag), "`{command}`: no flag {flag}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_messages_of_the_troubleshooting_page_are_said_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut said = String::new();
    let mut folders: Vec<_> = ["proto", "manager", "agent", "ctl", "deploy"]
        .iter()
        .map(|f| root.join(f))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs" || end == "sh") {
                // A message that is broken over two lines of source is still one message.
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                said.push_str(
                    &text
                        .replace("\\\n", "")
                        .split_whitespace()
                        .collect::<Vec<_>>()
                        .join(" "),
                );
            }
        }
    }
    let table = page("troubleshooting.md");
    let messages: Vec<&str> = table
        .lines()
        .filter(|l| l.starts_with("| `"))
        .filter_map(|l| l.split('`').nth(1))
        .collect();
    assert!(messages.len() > 10);
    let missing: Vec<&&str> = messages
        .iter()
        .filter(|message| !said.contains(**message))
        .collect();
    assert!(missing.is_empty(), "nobody says: {missing:?}");
}
