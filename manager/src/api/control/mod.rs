//! `shoal.v1.Control`: what operators ask. The door has one line per method; each thing's handlers are in its own file.

mod cluster;
mod config;
mod content;
mod content_id;
mod diagnosis;
mod door;
mod finding;
mod network;
mod node;
mod node_remove;
mod node_role;
mod registry;
mod secret;
mod service;
mod simulate;
mod spare;
mod stack;
mod stack_detail;
mod stack_draft;
mod stack_history;
#[cfg(test)]
mod stack_house;
mod stack_plan;
mod stack_rollback;
mod task;
mod versions;
mod why;

use std::pin::Pin;

use futures::Stream;
use tonic::{Response, Status};

use super::Api;
pub(crate) use simulate::SIMULATIONS_MAX;
pub(crate) use task::{Progress, by_name as task_by_name, progress, row as task_row};

/// Serves operators.
#[derive(Clone)]
pub struct ControlService(pub(crate) Api);

pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
pub(crate) type Answer<T> = Result<Response<T>, Status>;
