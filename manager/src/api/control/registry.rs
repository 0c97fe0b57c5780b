//! Credentials for registries, sealed in the cluster; and the digest behind a tag, asked through a node's Engine.

use shoal_core::dispatcher::assignment::registry_of;
use shoal_core::state::{Group, Object, State};
use shoal_proto::object::Meta;
use shoal_proto::registry::Registry;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Response, Status};

use super::Answer;
use crate::api::Api;
use crate::api::dispatcher::{BulkAnswer, Question, ask};
use crate::api::filters::Filters;
use crate::api::read::Freshness;
use crate::api::write::{Intent, open};

/// A registry is asked for at most this long, over at most this many nodes.
const RESOLVE_WAIT: std::time::Duration = std::time::Duration::from_secs(20);
const RESOLVE_NODES_MAX: usize = 3;
/// Longest password or token, bytes.
const PASSWORD_BYTES_MAX: usize = 16 * 1024;

pub(super) async fn list(
    api: &Api,
    request: Request<wire::ListRequest>,
) -> Answer<wire::ListRegistriesResponse> {
    let asked = request.into_inner();
    let filters = Filters::parse(&asked.filters, &["host"])?;
    let view = api.view(Freshness::of(asked.stale)).await?;
    let known = view
        .state
        .registries()
        .filter(|registry| filters.holds("host", |host| host == registry.host));
    let registries = known.map(|registry| wire::RegistryRow {
        host: registry.host.clone(),
        username: registry.username.clone(),
        updated_at_ms: registry.meta.updated_at.as_ms(),
    });
    let registries = registries.collect();
    Ok(view.answer(wire::ListRegistriesResponse { registries }))
}

pub(super) async fn login(api: &Api, request: Request<wire::LoginRegistryRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let credential = asked
        .credential
        .ok_or_else(|| Invalid::new("credential", "is missing"))?;
    let wanted = read(credential).map_err(|error| error.within("credential"))?;
    let intent = Intent::new(
        &caller,
        &asked.request_id,
        format!("registry login {}", wanted.host),
    )?;
    let outcome = api
        .write(&intent, |plan| {
            let mut group = Group::new();
            put(&mut group, plan.state, wanted.clone());
            Ok(group)
        })
        .await?;
    Ok(Response::new(outcome.done()))
}

pub(super) async fn logout(api: &Api, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let host = canonical(&asked.r#ref).to_owned();
    let intent = Intent::new(&caller, &asked.request_id, format!("registry logout {host}"))?;
    let outcome = api
        .write(&intent, |plan| {
            let stored = plan.state.registry(&host);
            let stored = stored
                .ok_or_else(|| Status::not_found(format!("no credentials for registry {host:?} are kept")))?;
            let mut group = Group::new();
            group.delete(stored.clone());
            Ok(group)
        })
        .await?;
    Ok(Response::new(outcome.done()))
}

/// The name under which a registry's credentials are kept.
fn canonical(host: &str) -> &str {
    let bare = host.trim_start_matches("https://").trim_start_matches("http://");
    let bare = bare.split('/').next().unwrap_or(bare);
    match bare {
        "" | "index.docker.io" | "registry-1.docker.io" | "hub.docker.com" => "docker.io",
        other => other,
    }
}

fn read(credential: wire::RegistryCredential) -> Result<Registry, Invalid> {
    if credential.password.len() > PASSWORD_BYTES_MAX {
        return Err(Invalid::new(
            "password",
            format!("is longer than {PASSWORD_BYTES_MAX} bytes"),
        ));
    }
    if credential.username.is_empty() || credential.password.is_empty() {
        return Err(Invalid::new("", "username and password are both needed"));
    }
    Ok(Registry {
        meta: Meta::default(),
        host: canonical(&credential.host).to_owned(),
        username: credential.username,
        password: credential.password,
    })
}

fn put(group: &mut Group, state: &State, wanted: Registry) {
    match state.registry(&wanted.host) {
        Some(stored) if stored.username == wanted.username && stored.password == wanted.password => {}
        stored => {
            let meta = stored.map(|stored| stored.meta.clone()).unwrap_or_default();
            group.put(Object::from(Registry { meta, ..wanted }));
        }
    }
}

/// Keeps a credential that came with another call; an absent or empty one is none.
pub(super) fn keep(
    group: &mut Group,
    state: &State,
    credential: Option<&wire::RegistryCredential>,
) -> Result<(), Status> {
    let Some(credential) = credential.filter(|credential| !credential.host.is_empty()) else {
        return Ok(());
    };
    let wanted = read(credential.clone()).map_err(|error| error.within("credential"))?;
    put(group, state, wanted);
    Ok(())
}

pub(super) async fn resolve_image(
    api: &Api,
    request: Request<wire::ResolveImageRequest>,
) -> Answer<wire::ResolvedImage> {
    let asked = request.into_inner();
    if asked.image.is_empty() {
        return Err(Invalid::new("image", "is empty: expected a name such as nginx:1.27").into());
    }
    let state = api.inner.machine.state();
    let kept = || {
        state
            .registry(registry_of(&asked.image))
            .map(|registry| wire::RegistryCredential {
                host: registry.host.clone(),
                username: registry.username.clone(),
                password: registry.password.clone(),
            })
    };
    let credential = asked
        .credential
        .filter(|credential| !credential.host.is_empty())
        .or_else(kept);
    let question = wire::ResolveImageOnNode {
        image: asked.image.clone(),
        credential,
    };
    let nodes = state
        .nodes()
        .map(|node| node.id)
        .filter(|node| api.inner.sessions.is_open(*node));
    let mut warning = "no node with an agent is there to ask the registry".to_owned();
    for node in nodes.take(RESOLVE_NODES_MAX) {
        let answered = tokio::time::timeout(RESOLVE_WAIT, ask_one(api, node, question.clone())).await;
        match answered {
            Ok(Ok(image)) => return Ok(Response::new(image)),
            Ok(Err(words)) => warning = words,
            Err(_) => warning = format!("node {node} did not answer within {RESOLVE_WAIT:?}"),
        }
    }
    Ok(Response::new(wire::ResolvedImage {
        digest: String::new(),
        platforms: Vec::new(),
        warning,
    }))
}

/// Asks through one node. The registry's own words when it says no.
async fn ask_one(
    api: &Api,
    node: shoal_proto::id::NodeId,
    question: wire::ResolveImageOnNode,
) -> Result<wire::ResolvedImage, String> {
    let asked = ask(api, node, Question::Resolve(question)).await;
    let mut answers = asked.map_err(|status| status.message().to_owned())?;
    let mut found = None;
    while let Some(answer) = answers.recv().await {
        match answer {
            BulkAnswer::Image(image) => found = Some(image),
            BulkAnswer::End(error) if error.is_empty() => break,
            BulkAnswer::End(error) => return Err(error),
            BulkAnswer::Line(_) | BulkAnswer::Network(_) => {}
        }
    }
    let found = found.filter(|image| !image.digest.is_empty());
    let found = found.ok_or_else(|| format!("node {node} could not ask the registry"))?;
    Ok(wire::ResolvedImage {
        digest: found.digest,
        platforms: found.platforms,
        warning: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn docker_hub_has_one_name() {
        for name in [
            "",
            "docker.io",
            "https://index.docker.io/v1/",
            "registry-1.docker.io",
        ] {
            assert_eq!(canonical(name), "docker.io");
        }
        assert_eq!(
            canonical("https://registry.example:5000/v2/"),
            "registry.example:5000"
        );
    }
}
