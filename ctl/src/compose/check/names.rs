//! Names: of the stack, of services together with the stack's, of secrets and configs, of images.

use crate::compose::finding::{Finding, Findings};
use crate::compose::model::{Model, Owner};
use crate::compose::source::Place;
use crate::image;

/// Longest full name of a service: it is a name in DNS.
const SERVICE_NAME_MAX: usize = 63;
/// Longest name of a secret or config, as Swarm has it.
const CONTENT_NAME_MAX: usize = 64;

/// Why a text cannot name a stack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name a stack: expected letters, digits, _ and -, beginning and ending with a letter or digit"
)]
pub struct InvalidName(String);

/// Whether a text can name a stack.
///
/// # Errors
/// It cannot, with what would be right.
pub fn check_stack_name(name: &str) -> Result<(), InvalidName> {
    if is_dns_name(name) && name.len() <= SERVICE_NAME_MAX {
        Ok(())
    } else {
        Err(InvalidName(name.to_owned()))
    }
}

/// `[A-Za-z0-9]([-_]*[A-Za-z0-9])*`
fn is_dns_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(name.chars().next())
        && edge(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

pub(super) fn check(model: &Model, stack: &str, findings: &mut Findings) {
    for (name, service) in &model.services {
        let full = format!("{stack}_{name}");
        let key = format!("services.{name}");
        if !is_dns_name(name) {
            let message = format!("{name:?} cannot name a service; expected letters, digits, _ and -");
            findings.push(Finding::error(&key, message).at(service.place));
        } else if full.len() > SERVICE_NAME_MAX {
            let message = format!(
                "{full} has {} characters, the limit is {SERVICE_NAME_MAX}",
                full.len()
            );
            findings.push(Finding::error(&key, message).at(service.place));
        }
        image_of(name, service, findings);
    }
    for (kind, contents) in [("secrets", &model.secrets), ("configs", &model.configs)] {
        for (name, content) in contents {
            let full = match (&content.name, content.owner) {
                (Some(name), _) => name.clone(),
                (None, Owner::External) => name.clone(),
                (None, Owner::Stack) => format!("{stack}_{name}"),
            };
            content_name(&full, &format!("{kind}.{name}"), content.place, findings);
        }
    }
}

fn content_name(full: &str, key: &str, place: Place, findings: &mut Findings) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if full.len() > CONTENT_NAME_MAX || full.is_empty() || !full.chars().all(allowed) {
        let message = format!(
            "{full:?} cannot be its name; expected up to {CONTENT_NAME_MAX} letters, digits, - _ and ."
        );
        findings.push(Finding::error(key, message).at(place));
    }
}

fn image_of(name: &str, service: &crate::compose::model::Service, findings: &mut Findings) {
    let key = format!("services.{name}.image");
    let Some(image) = &service.image else {
        let finding = match service.build {
            Some(place) => {
                let message = "images are not built by the cluster; build and push it, and name it in image:";
                Finding::error(format!("services.{name}.build"), message).at(place)
            }
            None => Finding::error(format!("services.{name}"), "image: is missing").at(service.place),
        };
        findings.push(finding);
        return;
    };
    if let Some(place) = service.build {
        let message = format!("build: is ignored, {} is used", image.value);
        findings.push(Finding::warning(format!("services.{name}.build"), message).at(place));
    }
    if let Err(message) = image::check(&image.value) {
        findings.push(Finding::error(key, message).at(image.place));
    }
}
