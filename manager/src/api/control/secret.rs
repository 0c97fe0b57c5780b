//! Secrets, where they are not like configs: nobody but a task is ever shown their bytes.

use shoal_proto::id::SecretId;
use shoal_proto::wire;
use tonic::Request;

use super::{Answer, content};
use crate::api::read::Freshness;
use crate::api::{Api, refs};

pub(super) async fn list(
    api: &Api,
    request: Request<wire::ListRequest>,
) -> Answer<wire::ListSecretsResponse> {
    let (view, secrets) = content::list::<SecretId, _>(api, request).await?;
    Ok(view.answer(wire::ListSecretsResponse {
        secrets,
        index: view.index(),
    }))
}

pub(super) async fn get(api: &Api, request: Request<wire::GetRequest>) -> Answer<wire::Secret> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let secret = refs::secret(&view.state, &asked.r#ref)?;
    Ok(view.answer(secret.as_ref().into()))
}
