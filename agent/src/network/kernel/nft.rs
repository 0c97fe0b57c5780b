//! Our table through the program `nft`: one process a transaction, read back as JSON. Nothing here decides.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::KernelError;
use super::tables::OwnRuns;
use crate::network::model::Memory;
use crate::network::ours::{BRIEF, TABLE};
use crate::network::side::Family;
use crate::network::table::{Change, FoundRuleset, kind_text, script};

/// Longest wait for one run of `nft`, in milliseconds.
const LIMIT_MS: u64 = 30_000;

/// Carries out the changes, all or none.
pub(super) async fn apply(family: Family, changes: &[Change], runs: &OwnRuns) -> Result<(), KernelError> {
    let out = run(&["-f", "-"], &script(family, changes), runs).await?;
    if out.status.success() {
        return Ok(());
    }
    Err(refused(&out))
}

/// Whether the kernel lets rules say how long a connection that is over is remembered. Nothing is changed.
pub(super) async fn memory(runs: &OwnRuns) -> Result<Memory, KernelError> {
    let probe = [Change::AddTable, Change::AddMemory(BRIEF.to_owned())];
    let probe = script(Family::V4, &probe);
    let out = run(&["--check", "-f", "-"], &probe, runs).await?;
    if out.status.success() {
        return Ok(Memory::Settable);
    }
    let words = String::from_utf8_lossy(&out.stderr);
    tracing::warn!(
        words = words.trim(),
        "this kernel remembers connections for as long as it likes: a client that uses a port again while a task is \
         stopped may lose a connection"
    );
    Ok(Memory::Fixed)
}

/// Our tables, those that are there.
pub(super) async fn look(runs: &OwnRuns) -> Result<BTreeMap<Family, FoundRuleset>, KernelError> {
    let out = run(&["-j", "list", "tables"], "", runs).await?;
    if !out.status.success() {
        return Err(refused(&out));
    }
    let tables = objects(&out.stdout)?;
    let mut found = BTreeMap::new();
    for family in Family::ALL {
        let ours = |object: &Value| {
            let table = &object["table"];
            table["name"] == TABLE && table["family"] == family.word()
        };
        if !tables.iter().any(ours) {
            continue;
        }
        let out = run(&["-j", "list", "table", family.word(), TABLE], "", runs).await?;
        if !out.status.success() {
            return Err(refused(&out));
        }
        found.insert(family, read(&objects(&out.stdout)?)?);
    }
    Ok(found)
}

async fn run(args: &[&str], input: &str, runs: &OwnRuns) -> Result<Output, KernelError> {
    let mut child = Command::new("nft")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(KernelError::NftMissing)?;
    child.id().into_iter().for_each(|process| runs.add(process));
    let mut stdin = child.stdin.take().expect("it is piped");
    let talk = async {
        // A program that ends early says why on its other end.
        let written = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let out = child.wait_with_output().await?;
        if out.status.success() {
            written?;
        }
        Ok(out)
    };
    match tokio::time::timeout(Duration::from_millis(LIMIT_MS), talk).await {
        Ok(out) => out.map_err(KernelError::NftMissing),
        Err(_) => Err(KernelError::NftSlow { limit_ms: LIMIT_MS }),
    }
}

fn refused(out: &Output) -> KernelError {
    KernelError::Nft {
        words: String::from_utf8_lossy(&out.stderr).trim().to_owned(),
    }
}

fn listing(what: impl ToString) -> KernelError {
    KernelError::NftListing {
        what: what.to_string(),
    }
}

fn objects(text: &[u8]) -> Result<Vec<Value>, KernelError> {
    let mut listed: Value = serde_json::from_slice(text).map_err(listing)?;
    match listed["nftables"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Err(listing("no list of objects")),
    }
}

/// A table from what `nft -j list table` says.
pub(super) fn read(objects: &[Value]) -> Result<FoundRuleset, KernelError> {
    let mut table = FoundRuleset::default();
    for object in objects {
        let Some((kind, body)) = object.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        match kind.as_str() {
            "chain" => {
                let chain = table.chains.entry(text(&body["name"])?).or_default();
                chain.base = base(body);
            }
            "rule" => {
                let chain = table.chains.entry(text(&body["chain"])?).or_default();
                chain
                    .seals
                    .push(body["comment"].as_str().unwrap_or_default().to_owned());
            }
            "ct timeout" => {
                table.memories.insert(text(&body["name"])?);
            }
            "set" | "map" => {
                let elements = body["elem"].as_array().map_or(&[][..], Vec::as_slice);
                let elements = elements.iter().map(element).collect::<Result<_, _>>()?;
                let name = text(&body["name"])?;
                table.sets.insert(name, (declared(body), elements));
            }
            _ => {}
        }
    }
    Ok(table)
}

fn text(value: &Value) -> Result<String, KernelError> {
    let text = value.as_str().map(ToOwned::to_owned);
    text.ok_or_else(|| listing(format!("{value} is no name")))
}

fn base(chain: &Value) -> Option<String> {
    let hook = chain["hook"].as_str()?;
    let kind = chain["type"].as_str()?;
    Some(format!("{kind} {hook} {}", chain["prio"]))
}

fn declared(set: &Value) -> String {
    let parts = |value: &Value| match value {
        Value::Array(parts) => {
            let parts: Vec<_> = parts.iter().filter_map(Value::as_str).collect();
            parts.join(" . ")
        }
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let value = (!set["map"].is_null()).then(|| parts(&set["map"]));
    let flags = set["flags"].as_array();
    let ranges = flags.is_some_and(|flags| flags.iter().any(|flag| flag == "interval"));
    kind_text(&parts(&set["type"]), value.as_deref(), ranges)
}

fn element(element: &Value) -> Result<(String, Option<String>), KernelError> {
    match element {
        Value::Array(pair) if pair.len() == 2 => Ok((part(&pair[0])?, Some(part(&pair[1])?))),
        single => Ok((part(single)?, None)),
    }
}

/// A key or value in the words in which we write it.
fn part(value: &Value) -> Result<String, KernelError> {
    let unknown = || listing(format!("{value} is no element of ours"));
    match value {
        Value::String(text) => return Ok(text.clone()),
        Value::Number(number) => return Ok(number.to_string()),
        _ => {}
    }
    let (kind, body) = value
        .as_object()
        .and_then(|object| object.iter().next())
        .ok_or_else(unknown)?;
    match kind.as_str() {
        "concat" => {
            let parts = body.as_array().ok_or_else(unknown)?;
            let parts: Vec<_> = parts.iter().map(part).collect::<Result<_, _>>()?;
            Ok(parts.join(" . "))
        }
        "prefix" => Ok(format!("{}/{}", part(&body["addr"])?, body["len"])),
        "elem" => part(&body["val"]),
        "goto" => Ok(format!("goto {}", part(&body["target"])?)),
        // Somebody else's doing: it differs from ours in any case.
        _ => Ok(value.to_string()),
    }
}
