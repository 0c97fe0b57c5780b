//! Calls about services and their tasks.

use futures::{Stream, StreamExt as _};
use shoal_proto::service::{Platform, Revision, ServiceSpec};
use shoal_proto::update::Steering;
use shoal_proto::wire;

use super::rows::{
    Created, ServiceDetail, ServiceRow, TaskRow, created, read, read_some, service_row, task_row,
};
use super::{Cluster, Credential, explain};
use crate::clock::request_id;
use crate::exit::{Ends, Exit};

/// In the metadata of the answer: nodes whose output is missing, and why.
const MISSING: &str = "shoal-missing";

/// How far back to go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rollback {
    /// Number of the revision; zero: the one before.
    pub to_revision: u64,
    /// The settings, too.
    pub settings: bool,
}

/// Which output of tasks to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    /// Go on as new lines come.
    pub follow: bool,
    /// So many of the newest lines per task.
    pub tail: Option<u64>,
    /// Nanoseconds since 1970; zero: from the first line.
    pub since_ns: u64,
}

/// One line a task wrote.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// By which task.
    pub task: String,
    /// On standard error.
    pub stderr: bool,
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Without the line's end.
    pub line: Vec<u8>,
}

impl Cluster {
    /// Services.
    ///
    /// # Errors
    /// For an unknown filter, or when no manager answers.
    pub async fn services(&mut self, filters: Vec<String>) -> anyhow::Result<Vec<ServiceRow>> {
        let request = wire::ListRequest {
            filters,
            stale: self.freshness.is_stale(),
        };
        let answer = self.call(request, async |c, r| c.list_services(r).await).await?;
        answer.services.into_iter().map(service_row).collect()
    }

    /// One service by name, id or unique prefix.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn service(&mut self, wanted: &str) -> anyhow::Result<ServiceDetail> {
        let request = wire::GetRequest {
            r#ref: wanted.to_owned(),
            stale: self.freshness.is_stale(),
        };
        let answer = self.call(request, async |c, r| c.get_service(r).await).await?;
        Ok(ServiceDetail {
            row: service_row(answer.row.unwrap_or_default())?,
            revision: read_some(answer.revision, "revision")?,
            previous: answer.previous_revision.map(read).transpose()?,
            index: answer.index,
        })
    }

    /// The digest behind a tag, and the platforms of the image; or a warning why it is not known.
    ///
    /// # Errors
    /// When no manager answers.
    pub async fn resolve_image(
        &mut self,
        image: &str,
        credential: Option<Credential>,
    ) -> anyhow::Result<(Option<String>, Vec<Platform>, String)> {
        let request = wire::ResolveImageRequest {
            image: image.to_owned(),
            credential: credential.map(Into::into),
        };
        let answer = self.call(request, async |c, r| c.resolve_image(r).await).await?;
        let platforms = answer
            .platforms
            .into_iter()
            .map(read)
            .collect::<anyhow::Result<_>>()?;
        Ok((
            Some(answer.digest).filter(|d| !d.is_empty()),
            platforms,
            answer.warning,
        ))
    }

    /// Has the cluster look at a service that is to be made, or at the changed one of that id and version, and writes
    /// nothing.
    ///
    /// # Errors
    /// When the cluster would refuse it.
    pub async fn check_service(
        &mut self,
        spec: &ServiceSpec,
        existing: Option<(&str, u64)>,
    ) -> anyhow::Result<()> {
        let (request_id, spec, dry_run) = (request_id(), Some(spec.into()), true);
        let Some((id, version)) = existing else {
            let request = wire::CreateServiceRequest {
                request_id,
                spec,
                credential: None,
                dry_run,
            };
            return self
                .call(request, async |c, r| c.create_service(r).await)
                .await
                .map(drop);
        };
        let request = wire::UpdateServiceRequest {
            request_id,
            r#ref: id.to_owned(),
            version,
            spec,
            credential: None,
            dry_run,
        };
        self.call(request, async |c, r| c.update_service(r).await)
            .await
            .map(drop)
    }

    /// Makes a service.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn create_service(
        &mut self,
        spec: &ServiceSpec,
        credential: Option<Credential>,
    ) -> anyhow::Result<Created> {
        let request = wire::CreateServiceRequest {
            request_id: request_id(),
            spec: Some(spec.into()),
            credential: credential.map(Into::into),
            dry_run: false,
        };
        let answer = self.call(request, async |c, r| c.create_service(r).await).await?;
        Ok(created(answer.id, answer.index, answer.warnings))
    }

    /// Changes a service that still has the version the caller saw.
    ///
    /// # Errors
    /// When the cluster refuses, or somebody else was faster.
    pub async fn update_service(
        &mut self,
        id: &str,
        version: u64,
        spec: &ServiceSpec,
        credential: Option<Credential>,
    ) -> anyhow::Result<Created> {
        let request = wire::UpdateServiceRequest {
            request_id: request_id(),
            r#ref: id.to_owned(),
            version,
            spec: Some(spec.into()),
            credential: credential.map(Into::into),
            dry_run: false,
        };
        let answer = self.call(request, async |c, r| c.update_service(r).await).await?;
        Ok(created(answer.id, answer.index, answer.warnings))
    }

    /// Sets the replicas of several services: all or none.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn scale(&mut self, scales: &[(String, u64)]) -> anyhow::Result<Created> {
        let scale = |(service, replicas): &(String, u64)| wire::Scale {
            r#ref: service.clone(),
            replicas: *replicas,
        };
        let request = wire::ScaleServicesRequest {
            request_id: request_id(),
            scales: scales.iter().map(scale).collect(),
        };
        let done = self.call(request, async |c, r| c.scale_services(r).await).await?;
        Ok(created(String::new(), done.index, done.warnings))
    }

    /// Moves a service to an older revision's content.
    ///
    /// # Errors
    /// When there is none.
    pub async fn rollback_service(&mut self, service: &str, to: Rollback) -> anyhow::Result<Created> {
        let request = wire::RollbackServiceRequest {
            request_id: request_id(),
            r#ref: service.to_owned(),
            version: 0,
            to_revision: to.to_revision,
            settings: to.settings,
        };
        let answer = self
            .call(request, async |c, r| c.rollback_service(r).await)
            .await?;
        Ok(created(answer.id, answer.index, answer.warnings))
    }

    /// Says a word to the rollout of a service that is under way.
    ///
    /// # Errors
    /// When there is none to which that could be said.
    pub async fn steer_service(&mut self, service: &str, word: Steering) -> anyhow::Result<Created> {
        let request = wire::SteerServiceRequest {
            request_id: request_id(),
            r#ref: service.to_owned(),
            steering: wire::Steering::from(word).into(),
        };
        let answer = self.call(request, async |c, r| c.steer_service(r).await).await?;
        Ok(created(answer.id, answer.index, answer.warnings))
    }

    /// Removes a service.
    ///
    /// # Errors
    /// When there is none.
    pub async fn remove_service(&mut self, service: &str) -> anyhow::Result<Created> {
        let request = wire::RemoveRequest {
            request_id: request_id(),
            r#ref: service.to_owned(),
        };
        let done = self.call(request, async |c, r| c.remove_service(r).await).await?;
        Ok(created(service.to_owned(), done.index, done.warnings))
    }

    /// Revisions of a service that are kept, oldest first.
    ///
    /// # Errors
    /// When there is no such service.
    pub async fn revisions(&mut self, service: &str) -> anyhow::Result<Vec<Revision>> {
        let request = wire::GetRequest {
            r#ref: service.to_owned(),
            stale: self.freshness.is_stale(),
        };
        let answer = self.call(request, async |c, r| c.list_revisions(r).await).await?;
        answer.revisions.into_iter().map(read).collect()
    }

    /// Tasks.
    ///
    /// # Errors
    /// For an unknown filter, or when no manager answers.
    pub async fn tasks(&mut self, filters: Vec<String>) -> anyhow::Result<Vec<TaskRow>> {
        let request = wire::ListTasksRequest {
            filters,
            stale: self.freshness.is_stale(),
        };
        let answer = self.call(request, async |c, r| c.list_tasks(r).await).await?;
        answer.tasks.into_iter().map(task_row).collect()
    }

    /// What tasks of a service, or one task, wrote; first of all what cannot be had, and why: empty if all can.
    ///
    /// # Errors
    /// When there is no such service or task. A line's error with [`Exit::Refused`] says what is missing of the output;
    /// any other, that the manager is gone.
    pub async fn logs(
        &mut self,
        wanted: &str,
        options: LogOptions,
    ) -> anyhow::Result<(String, impl Stream<Item = anyhow::Result<LogLine>> + use<>)> {
        let request = wire::ReadServiceLogsRequest {
            r#ref: wanted.to_owned(),
            options: Some(wire::LogOptions {
                follow: options.follow,
                tail: options.tail,
                since_ns: options.since_ns,
                until_ns: 0,
            }),
        };
        let (missing, lines) = self
            .call(request, async |c, r| {
                let answer = c.read_service_logs(r).await?;
                let missing = answer.metadata().get(MISSING).and_then(|text| text.to_str().ok());
                let missing = missing.unwrap_or_default().to_owned();
                Ok(tonic::Response::new((missing, answer.into_inner())))
            })
            .await?;
        let lines = lines.map(|line| {
            let line = line.map_err(|status| ended(&status))?;
            Ok(LogLine {
                task: line.task_id,
                stderr: line.stderr,
                time_ns: line.time_ns,
                line: line.line,
            })
        });
        Ok((missing, lines))
    }
}

/// Why there are no more lines: the manager's own words, told last, or that it went away.
fn ended(status: &tonic::Status) -> anyhow::Error {
    if status.code() == tonic::Code::Unavailable && std::error::Error::source(status).is_none() {
        return Ends::with(Exit::Refused, status.message());
    }
    explain(status)
}
