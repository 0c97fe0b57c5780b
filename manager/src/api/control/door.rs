//! The door itself: one line per method, from the wire to the handler of the thing that is asked about.

use shoal_proto::id::{ConfigId, SecretId};
use shoal_proto::wire;
use shoal_proto::wire::control_server::Control;
use tonic::{Request, Streaming};

use super::{
    Answer, Answers, ControlService, cluster, config, content, diagnosis, network, node, node_remove,
    registry, secret, service, simulate, stack, stack_detail, task, why,
};
use crate::api::{blob, logs, watch};

#[tonic::async_trait]
impl Control for ControlService {
    type ReadServiceLogsStream = Answers<wire::LogLine>;
    type WatchStream = Answers<wire::WatchEvent>;

    async fn get_cluster_status(
        &self,
        request: Request<wire::GetClusterStatusRequest>,
    ) -> Answer<wire::ClusterStatus> {
        cluster::status(&self.0, request).await
    }

    async fn update_cluster(&self, request: Request<wire::UpdateClusterRequest>) -> Answer<wire::Done> {
        cluster::update(&self.0, request).await
    }

    async fn get_join_token(&self, request: Request<wire::GetJoinTokenRequest>) -> Answer<wire::JoinToken> {
        cluster::join_token(&self.0, request).await
    }

    async fn list_nodes(&self, request: Request<wire::ListRequest>) -> Answer<wire::ListNodesResponse> {
        node::list(&self.0, request).await
    }

    async fn get_node(&self, request: Request<wire::GetRequest>) -> Answer<wire::Node> {
        node::get(&self.0, request).await
    }

    async fn diagnose_network(
        &self,
        request: Request<wire::DiagnoseNetworkRequest>,
    ) -> Answer<wire::NetworkDiagnosis> {
        diagnosis::diagnose(&self.0, request).await
    }

    async fn update_node(&self, request: Request<wire::UpdateNodeRequest>) -> Answer<wire::Done> {
        node::update(&self.0, request).await
    }

    async fn remove_node(&self, request: Request<wire::RemoveNodeRequest>) -> Answer<wire::Done> {
        node_remove::remove(&self.0, request).await
    }

    async fn list_services(&self, request: Request<wire::ListRequest>) -> Answer<wire::ListServicesResponse> {
        service::list(&self.0, request).await
    }

    async fn get_service(&self, request: Request<wire::GetRequest>) -> Answer<wire::ServiceDetail> {
        service::get(&self.0, request).await
    }

    async fn create_service(
        &self,
        request: Request<wire::CreateServiceRequest>,
    ) -> Answer<wire::ServiceWritten> {
        service::create(&self.0, request).await
    }

    async fn update_service(
        &self,
        request: Request<wire::UpdateServiceRequest>,
    ) -> Answer<wire::ServiceWritten> {
        service::update(&self.0, request).await
    }

    async fn scale_services(&self, request: Request<wire::ScaleServicesRequest>) -> Answer<wire::Done> {
        service::scale(&self.0, request).await
    }

    async fn rollback_service(
        &self,
        request: Request<wire::RollbackServiceRequest>,
    ) -> Answer<wire::ServiceWritten> {
        service::rollback(&self.0, request).await
    }

    async fn steer_service(
        &self,
        request: Request<wire::SteerServiceRequest>,
    ) -> Answer<wire::ServiceWritten> {
        service::steer(&self.0, request).await
    }

    async fn remove_service(&self, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
        service::remove(&self.0, request).await
    }

    async fn list_revisions(
        &self,
        request: Request<wire::GetRequest>,
    ) -> Answer<wire::ListRevisionsResponse> {
        service::revisions(&self.0, request).await
    }

    async fn list_tasks(&self, request: Request<wire::ListTasksRequest>) -> Answer<wire::ListTasksResponse> {
        task::list(&self.0, request).await
    }

    async fn get_task(&self, request: Request<wire::GetRequest>) -> Answer<wire::TaskDetail> {
        task::get(&self.0, request).await
    }

    async fn read_service_logs(
        &self,
        request: Request<wire::ReadServiceLogsRequest>,
    ) -> Answer<Self::ReadServiceLogsStream> {
        logs::read(&self.0, request).await
    }

    async fn upload_blob(&self, request: Request<Streaming<wire::BlobChunk>>) -> Answer<wire::BlobUploaded> {
        blob::upload(&self.0, request).await
    }

    async fn list_secrets(&self, request: Request<wire::ListRequest>) -> Answer<wire::ListSecretsResponse> {
        secret::list(&self.0, request).await
    }

    async fn get_secret(&self, request: Request<wire::GetRequest>) -> Answer<wire::Secret> {
        secret::get(&self.0, request).await
    }

    async fn create_secret(&self, request: Request<wire::CreateContentRequest>) -> Answer<wire::Created> {
        content::create::<SecretId>(&self.0, request).await
    }

    async fn remove_secret(&self, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
        content::remove::<SecretId>(&self.0, request).await
    }

    async fn list_configs(&self, request: Request<wire::ListRequest>) -> Answer<wire::ListConfigsResponse> {
        config::list(&self.0, request).await
    }

    async fn get_config(&self, request: Request<wire::GetRequest>) -> Answer<wire::ConfigDetail> {
        config::get(&self.0, request).await
    }

    async fn create_config(&self, request: Request<wire::CreateContentRequest>) -> Answer<wire::Created> {
        content::create::<ConfigId>(&self.0, request).await
    }

    async fn remove_config(&self, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
        content::remove::<ConfigId>(&self.0, request).await
    }

    async fn list_networks(&self, request: Request<wire::ListRequest>) -> Answer<wire::ListNetworksResponse> {
        network::list(&self.0, request).await
    }

    async fn get_network(&self, request: Request<wire::GetRequest>) -> Answer<wire::Network> {
        network::get(&self.0, request).await
    }

    async fn create_network(&self, request: Request<wire::CreateNetworkRequest>) -> Answer<wire::Created> {
        network::create(&self.0, request).await
    }

    async fn remove_network(&self, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
        network::remove(&self.0, request).await
    }

    async fn list_registries(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Answer<wire::ListRegistriesResponse> {
        registry::list(&self.0, request).await
    }

    async fn login_registry(&self, request: Request<wire::LoginRegistryRequest>) -> Answer<wire::Done> {
        registry::login(&self.0, request).await
    }

    async fn logout_registry(&self, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
        registry::logout(&self.0, request).await
    }

    async fn deploy_stack(&self, request: Request<wire::DeployStackRequest>) -> Answer<wire::StackDeployed> {
        stack::deploy(&self.0, request).await
    }

    async fn list_stacks(&self, request: Request<wire::ListRequest>) -> Answer<wire::ListStacksResponse> {
        stack::list(&self.0, request).await
    }

    async fn get_stack(&self, request: Request<wire::GetRequest>) -> Answer<wire::Stack> {
        stack::get(&self.0, request).await
    }

    async fn get_stack_revision(
        &self,
        request: Request<wire::GetStackRevisionRequest>,
    ) -> Answer<wire::StackRevisionDetail> {
        stack_detail::get(&self.0, request).await
    }

    async fn rollback_stack(
        &self,
        request: Request<wire::RollbackStackRequest>,
    ) -> Answer<wire::StackDeployed> {
        stack::rollback(&self.0, request).await
    }

    async fn restart_stack(
        &self,
        request: Request<wire::RestartStackRequest>,
    ) -> Answer<wire::StackDeployed> {
        stack::restart(&self.0, request).await
    }

    async fn remove_stack(&self, request: Request<wire::RemoveRequest>) -> Answer<wire::Done> {
        stack::remove(&self.0, request).await
    }

    async fn resolve_image(
        &self,
        request: Request<wire::ResolveImageRequest>,
    ) -> Answer<wire::ResolvedImage> {
        registry::resolve_image(&self.0, request).await
    }

    async fn get_explanation(
        &self,
        request: Request<wire::GetExplanationRequest>,
    ) -> Answer<wire::Explanation> {
        why::explain(&self.0, request).await
    }

    async fn simulate(&self, request: Request<wire::SimulateRequest>) -> Answer<wire::Simulation> {
        simulate::simulate(&self.0, request).await
    }

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Answer<Self::WatchStream> {
        watch::watch(&self.0, request).await
    }
}
