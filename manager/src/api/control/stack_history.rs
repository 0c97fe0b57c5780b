//! The numbered revisions of a stack: which one is meant, how one is added, and what goes with those that are forgotten.

use serde::Serialize;
use shoal_core::state::limit::ENTRY_BYTES_MAX;
use shoal_core::state::{Group, State};
use shoal_proto::stack::{STACK_HISTORY_BYTES_MAX, STACK_REVISIONS_MAX, Stack, StackRevision};
use tonic::Status;

/// The revision of this number; zero: the newest.
pub(super) fn find(stack: &Stack, number: u64) -> Result<&StackRevision, Status> {
    let revisions = &stack.revisions;
    let newest = revisions
        .last()
        .ok_or_else(|| Status::internal(format!("stack {} has no revision", stack.name)))?;
    if number == 0 {
        return Ok(newest);
    }
    let found = revisions.iter().find(|revision| revision.number == number);
    found.ok_or_else(|| {
        let kept = match revisions.as_slice() {
            [only] => format!("revision {} is the only one", only.number),
            [oldest, ..] => format!("revisions {} to {} are kept", oldest.number, newest.number),
            [] => String::new(),
        };
        Status::not_found(format!(
            "stack {} has no revision {number}: {kept}, `shoal stack history {}` lists them",
            stack.name, stack.name
        ))
    })
}

/// What a rollback goes to: the revision of this number; zero: the one before the newest.
pub(super) fn target(stack: &Stack, number: u64) -> Result<&StackRevision, Status> {
    if number != 0 {
        return find(stack, number);
    }
    let newest = find(stack, 0)?.number;
    let before = stack.revisions.iter().rev().nth(1);
    before.ok_or_else(|| {
        Status::failed_precondition(format!(
            "stack {} has no revision before revision {newest} to roll back to",
            stack.name
        ))
    })
}

/// The number that the next revision gets.
pub(super) fn next_number(stack: &Stack) -> u64 {
    stack.revisions.last().map_or(0, |last| last.number) + 1
}

/// Bytes of an entry that are neither history nor changes: its head, and what comes with a deployment.
const REST_BYTES: usize = 64 * 1024;

/// Puts the stack with one more revision into a group that holds everything else, and forgets the oldest ones that are too
/// many, too large, or have no room beside what changes.
pub(super) fn add(group: &mut Group, state: &State, mut stack: Stack, revision: StackRevision) {
    stack.revisions.push(revision);
    let surplus = stack.revisions.len().saturating_sub(STACK_REVISIONS_MAX);
    let mut dropped: Vec<StackRevision> = stack.revisions.drain(..surplus).collect();
    let room = (ENTRY_BYTES_MAX - REST_BYTES).saturating_sub(stored_bytes(group));
    let room = room.min(STACK_HISTORY_BYTES_MAX);
    while stack.revisions.len() > 1 && stored_bytes(&stack) > room {
        dropped.push(stack.revisions.remove(0));
    }
    for orphan in state.only_named_by(&dropped, &stack.revisions) {
        group.delete(orphan);
    }
    group.put(stack);
}

fn stored_bytes(what: &impl Serialize) -> usize {
    rmp_serde::to_vec_named(what)
        .expect("stacks and groups are made of plain data")
        .len()
}

#[cfg(test)]
#[path = "stack_history_test.rs"]
mod tests;
