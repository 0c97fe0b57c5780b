//! The names of what a cluster holds, each with a few words: what completion offers. Read straight from the answers, so
//! that a field which this program does not understand hides no name.

use shoal_proto::wire::{self, slot_key::Key};

use super::Cluster;

/// Where the part of an id begins that tables show.
const SHORT_ID_AT: usize = 13;

/// What names are wanted of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Services.
    Services,
    /// Services of a stack, without the stack's name before theirs.
    ServicesOf(String),
    /// Tasks that are to run.
    Tasks,
    /// Nodes.
    Nodes,
    /// Stacks.
    Stacks,
    /// Networks.
    Networks,
    /// Secrets.
    Secrets,
    /// Configs.
    Configs,
    /// Registries with credentials.
    Registries,
}

/// One thing's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// As commands take it.
    pub name: String,
    /// Its id as tables show it; empty for what has none.
    pub id: String,
    /// A few words about it; may be empty.
    pub about: String,
}

impl Name {
    fn new(name: impl Into<String>, id: &str, about: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            id: id.get(SHORT_ID_AT..).unwrap_or_default().to_owned(),
            about: about.into(),
        }
    }
}

impl Cluster {
    /// Names, in the order of the answer.
    ///
    /// # Errors
    /// When no manager answers.
    pub async fn names(&mut self, of: &Named) -> anyhow::Result<Vec<Name>> {
        match of {
            Named::Services => self.service_names(None).await,
            Named::ServicesOf(stack) => self.service_names(Some(stack)).await,
            Named::Tasks => self.task_names().await,
            Named::Nodes => self.node_names().await,
            Named::Stacks => self.stack_names().await,
            Named::Networks => self.network_names().await,
            Named::Secrets => self.secret_names().await,
            Named::Configs => self.config_names().await,
            Named::Registries => Ok(self
                .registries()
                .await?
                .into_iter()
                .map(|row| Name::new(row.host, "", format!("as {}", row.username)))
                .collect()),
        }
    }

    fn list(&self, filters: Vec<String>) -> wire::ListRequest {
        wire::ListRequest {
            filters,
            stale: self.freshness.is_stale(),
        }
    }

    async fn service_names(&mut self, stack: Option<&str>) -> anyhow::Result<Vec<Name>> {
        let filters = stack.map(|stack| format!("stack={stack}"));
        let request = self.list(filters.into_iter().collect());
        let answer = self.call(request, async |c, r| c.list_services(r).await).await?;
        let before = stack.map(|stack| format!("{stack}_")).unwrap_or_default();
        let name = |row: wire::ServiceRow| {
            let service = row.service?;
            let name = service.name.strip_prefix(&before).unwrap_or(&service.name);
            let about = format!("{}/{} {}", row.running_tasks, row.desired_tasks, row.image);
            let is_there = service.removed_at_ms.is_none();
            is_there.then(|| Name::new(name, &service.id, about))
        };
        Ok(answer.services.into_iter().filter_map(name).collect())
    }

    async fn task_names(&mut self) -> anyhow::Result<Vec<Name>> {
        let request = wire::ListTasksRequest {
            filters: vec!["desired-state=running".to_owned()],
            stale: self.freshness.is_stale(),
        };
        let answer = self.call(request, async |c, r| c.list_tasks(r).await).await?;
        let name = |row: wire::TaskRow| {
            let task = row.task?;
            // A task of a global service is taken by its node's id, and not by the name.
            let slot = match task.plan?.slot?.key? {
                Key::Number(number) => number.to_string(),
                Key::NodeId(node) => node,
            };
            let name = format!("{}.{slot}", row.service_name);
            let about = match row.node_name.as_str() {
                "" => "task without a node".to_owned(),
                node => format!("task on {node}"),
            };
            Some(Name::new(name, &task.id, about))
        };
        Ok(answer.tasks.into_iter().filter_map(name).collect())
    }

    async fn node_names(&mut self) -> anyhow::Result<Vec<Name>> {
        let request = self.list(Vec::new());
        let answer = self.call(request, async |c, r| c.list_nodes(r).await).await?;
        let name = |row: wire::NodeRow| {
            let node = row.node?;
            let hostname = node.status.and_then(|status| status.description);
            let hostname = hostname.map(|known| known.hostname).unwrap_or_default();
            let name = if hostname.is_empty() { &node.id } else { &hostname };
            let is_manager = row.manager.is_some_and(|manager| !manager.node_id.is_empty());
            let role = if is_manager { "manager" } else { "worker" };
            let about = format!("{role}, {} tasks running", row.tasks_running);
            Some(Name::new(name, &node.id, about))
        };
        Ok(answer.nodes.into_iter().filter_map(name).collect())
    }

    async fn stack_names(&mut self) -> anyhow::Result<Vec<Name>> {
        let request = self.list(Vec::new());
        let answer = self.call(request, async |c, r| c.list_stacks(r).await).await?;
        let name = |row: wire::StackRow| {
            let stack = row.stack?;
            let about = format!("{} services", row.services);
            Some(Name::new(&stack.name, &stack.id, about))
        };
        Ok(answer.stacks.into_iter().filter_map(name).collect())
    }

    async fn network_names(&mut self) -> anyhow::Result<Vec<Name>> {
        let request = self.list(Vec::new());
        let answer = self.call(request, async |c, r| c.list_networks(r).await).await?;
        let name = |network: wire::Network| Some(Name::new(network.spec?.name, &network.id, network.subnet));
        Ok(answer.networks.into_iter().filter_map(name).collect())
    }

    async fn secret_names(&mut self) -> anyhow::Result<Vec<Name>> {
        let request = self.list(Vec::new());
        let answer = self.call(request, async |c, r| c.list_secrets(r).await).await?;
        let name = |secret: wire::Secret| Name::new(secret.name, &secret.id, "");
        Ok(answer.secrets.into_iter().map(name).collect())
    }

    async fn config_names(&mut self) -> anyhow::Result<Vec<Name>> {
        let request = self.list(Vec::new());
        let answer = self.call(request, async |c, r| c.list_configs(r).await).await?;
        let name = |config: wire::Config| Name::new(config.name, &config.id, "");
        Ok(answer.configs.into_iter().map(name).collect())
    }
}
