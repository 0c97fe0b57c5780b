//! Configs, where they are not like secrets: one is shown with its newest bytes.

use shoal_proto::id::ConfigId;
use shoal_proto::wire;
use tonic::Request;

use super::versions::newest_bytes;
use super::{Answer, content};
use crate::api::read::Freshness;
use crate::api::{Api, refs};

pub(super) async fn list(
    api: &Api,
    request: Request<wire::ListRequest>,
) -> Answer<wire::ListConfigsResponse> {
    let (view, configs) = content::list::<ConfigId, _>(api, request).await?;
    Ok(view.answer(wire::ListConfigsResponse {
        configs,
        index: view.index(),
    }))
}

pub(super) async fn get(api: &Api, request: Request<wire::GetRequest>) -> Answer<wire::ConfigDetail> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let config = refs::config(&view.state, &asked.r#ref)?;
    let data = newest_bytes(&view.state, &config.versions)?;
    Ok(view.answer(wire::ConfigDetail {
        config: Some(config.as_ref().into()),
        data,
    }))
}
