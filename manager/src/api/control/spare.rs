//! Whether any one node may be lost, as `cluster status` tells it: asked of the core, on a thread of its own.

use std::sync::Arc;

use shoal_core::simulate::spare::{Spare, spare};
use shoal_proto::wire;
use tonic::Status;

use crate::api::Api;
use crate::api::read::View;

pub(super) async fn ask(api: &Api, view: &View) -> Result<wire::Spare, Status> {
    let (state, now) = (Arc::clone(&view.state), api.inner.leader.now());
    let found = tokio::task::spawn_blocking(move || spare(&state, now)).await;
    let found = found.map_err(|error| Status::internal(error.to_string()))?;
    Ok(message(view, found))
}

fn message(view: &View, found: Spare) -> wire::Spare {
    let mut message = wire::Spare {
        nodes: found.nodes as u64,
        checked: found.checked as u64,
        ..wire::Spare::default()
    };
    if let Some(loss) = found.loss {
        let service = view.state.service(loss.service);
        message.service_name = service.map(|service| service.name.clone()).unwrap_or_default();
        message.service_id = loss.service.to_string();
        message.node_id = loss.node.to_string();
        message.hostname = loss.node_name;
        message.task_name = loss.task_name;
        message.reason = loss.reason;
        message.bound = loss.is_bound;
    }
    message
}
