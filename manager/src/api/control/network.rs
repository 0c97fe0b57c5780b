//! Networks: they are made with their subnet, listed and removed; what was asked for never changes.

use shoal_core::allocator::subnet::{self, SubnetError};
use shoal_core::allocator::{address, overlay};
use shoal_core::state::{Group, Guard, ObjectKey, State, fold_name};
use shoal_proto::id::{NetworkId, StackId};
use shoal_proto::network::{INGRESS_NAME, Network, NetworkSpec, ingress_network};
use shoal_proto::object::Kind;
use shoal_proto::wire::{self, Invalid};
use tonic::{Request, Status};

use super::Answer;
use crate::api::filters::Filters;
use crate::api::read::Freshness;
use crate::api::write::{Intent, open};
use crate::api::{Api, refs};

pub(super) async fn list(
    api: &Api,
    request: Request<wire::ListRequest>,
) -> Answer<wire::ListNetworksResponse> {
    let asked = request.into_inner();
    let filters = Filters::parse(&asked.filters, &["id", "name", "label", "driver", "stack"])?;
    let view = api.view(Freshness::of(asked.stale)).await?;
    let fits = |network: &&std::sync::Arc<Network>| {
        filters.holds_id(network.id.as_str())
            && filters.holds_name("name", &network.spec.name)
            && filters.holds_labels("label", &network.spec.labels)
            && filters.holds("driver", |driver| driver == network.spec.driver)
            && filters.holds("stack", |stack| {
                stack == refs::stack_name(&view.state, network.stack)
            })
    };
    let networks = view
        .state
        .networks()
        .filter(fits)
        .map(|network| told(&view.state, network))
        .collect();
    Ok(view.answer(wire::ListNetworksResponse {
        networks,
        index: view.index(),
    }))
}

pub(super) async fn get(api: &Api, request: Request<wire::GetRequest>) -> Answer<wire::Network> {
    let asked = request.into_inner();
    let view = api.view(Freshness::of(asked.stale)).await?;
    let network = refs::network(&view.state, &asked.r#ref)?;
    Ok(view.answer(told(&view.state, &network)))
}

fn told(state: &State, network: &Network) -> wire::Network {
    let usage = address::usage(state, network).map(|usage| wire::AddressUsage {
        used: usage.used,
        size: usage.size,
    });
    let prefix = state.prefix_of(network).map(|prefix| prefix.to_string());
    wire::Network {
        usage,
        prefix: prefix.unwrap_or_default(),
        ..network.into()
    }
}

pub(super) async fn create(api: &Api, request: Request<wire::CreateNetworkRequest>) -> Answer<wire::Created> {
    let (caller, asked) = open(request)?;
    let spec = asked.spec.ok_or_else(|| Invalid::new("spec", "is missing"))?;
    let spec = NetworkSpec::try_from(spec).map_err(|error| error.within("spec"))?;
    let intent = Intent::new(
        &caller,
        &asked.request_id,
        format!("network create {}", spec.name),
    )?;
    let outcome = api
        .write(&intent, |plan| {
            let mut group = Group::new();
            let id = plan.ids.network(plan.now);
            group.put(made(plan.state, id, None, spec.clone())?);
            Ok(group)
        })
        .await?;
    outcome.created(Kind::Network).map(tonic::Response::new)
}

/// A new network with its subnet.
pub(super) fn made(
    state: &State,
    id: NetworkId,
    stack: Option<StackId>,
    spec: NetworkSpec,
) -> Result<Network, Status> {
    if fold_name(&spec.name) == INGRESS_NAME {
        return Err(Status::invalid_argument(format!(
            "network name {INGRESS_NAME} is the cluster's own: choose another"
        )));
    }
    if let (true, Some(cluster)) = (spec.is_encrypted(), state.cluster()) {
        overlay::check_sealed(cluster.spec.overlay_subnet, &spec.name)
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
    }
    let subnet = subnet::choose(state, &spec).map_err(|error| refused(&error))?;
    Ok(Network {
        subnet: Some(subnet),
        ..Network::new(id, stack, spec)
    })
}

/// What is different, in the words of a Compose file.
pub(super) fn differences(one: &NetworkSpec, other: &NetworkSpec) -> Vec<&'static str> {
    let all = [
        ("name", one.name != other.name),
        ("labels", one.labels != other.labels),
        ("driver", one.driver != other.driver),
        ("driver_opts", one.driver_options != other.driver_options),
        ("internal", one.internal != other.internal),
        ("attachable", one.attachable != other.attachable),
        ("subnet", one.subnet != other.subnet),
        ("gateway", one.gateway != other.gateway),
        ("enable_ipv6", one.ipv6 != other.ipv6),
    ];
    let different = all.into_iter().filter(|(_, different)| *different);
    different.map(|(name, _)| name).collect()
}

fn refused(error: &SubnetError) -> Status {
    let text = error.to_string();
    match error {
        SubnetError::Taken { .. } => Status::already_exists(text),
        SubnetError::Exhausted { .. } => Status::resource_exhausted(text),
        SubnetError::Invalid { .. }
        | SubnetError::Six { .. }
        | SubnetError::Size { .. }
        | SubnetError::Gateway { .. }
        | SubnetError::GatewayAlone { .. } => Status::invalid_argument(text),
    }
}

pub(super) async fn remove(api: &Api, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
    let (caller, asked) = open(request)?;
    let intent = Intent::new(&caller, &asked.request_id, format!("network rm {}", asked.r#ref))?;
    let outcome = api
        .write(&intent, |plan| {
            let network = refs::network(plan.state, &asked.r#ref)?;
            if network.id == ingress_network() {
                return Err(Status::failed_precondition(format!(
                    "network {INGRESS_NAME} is the cluster's own and stays as long as the cluster does"
                )));
            }
            let mut group = Group::new();
            group
                .guard(Guard::Unreferenced(ObjectKey::Network(network.id)))
                .delete(network);
            Ok(group)
        })
        .await?;
    Ok(tonic::Response::new(outcome.done()))
}
