//! What a deployment takes of a file: only some services, and other numbers of replicas than the file says. Pure.

use std::collections::BTreeSet;

use clap::Args;
use shoal_proto::service::{Mode, NetworkTarget, ServiceSpec};
use shoal_proto::stack::StackSpec;

use crate::compose::Converted;
use crate::exit::{Ends, Exit};

/// Options of `stack deploy` and `stack diff` that go before the file.
#[derive(Debug, Clone, Default, Args)]
pub struct SelectArgs {
    /// Only this service of the file, and the networks, secrets and configs that it uses; the others stay as they are
    #[arg(long, value_name = "SERVICE")]
    only: Vec<String>,
    /// So many replicas of a service, as if the file said so
    #[arg(long, value_name = "SERVICE=N")]
    scale: Vec<String>,
}

impl SelectArgs {
    /// Whether services are left out on purpose.
    pub(super) fn is_partial(&self) -> bool {
        !self.only.is_empty()
    }

    /// Applies them to what the file became.
    ///
    /// # Errors
    /// When a service is not in the file, or has no number of replicas.
    pub(super) fn apply(&self, converted: &mut Converted) -> anyhow::Result<()> {
        for scale in &self.scale {
            set_replicas(&mut converted.spec, scale)?;
        }
        if self.is_partial() {
            keep_only(converted, &self.only)?;
        }
        Ok(())
    }
}

/// A service by its name in the file or its full name.
fn find(spec: &StackSpec, wanted: &str) -> anyhow::Result<usize> {
    let full = format!("{}_{wanted}", spec.name);
    let is = |service: &ServiceSpec| service.name == wanted || service.name == full;
    spec.services.iter().position(is).ok_or_else(|| {
        let names = spec.services.iter().map(|service| service.name.as_str());
        let names: Vec<&str> = names.collect();
        let message = format!("the file has no service {wanted:?}: it has {}", names.join(", "));
        Ends::with(Exit::Usage, message)
    })
}

fn set_replicas(spec: &mut StackSpec, text: &str) -> anyhow::Result<()> {
    let parsed = text
        .split_once('=')
        .and_then(|(service, number)| Some((service, number.parse::<u64>().ok()?)));
    let Some((service, replicas)) = parsed else {
        let message = format!("{text:?} is not a scale: write SERVICE=N, such as web=5");
        return Err(Ends::with(Exit::Usage, message));
    };
    let at = find(spec, service)?;
    let settings = &mut spec.services[at].settings;
    if !matches!(settings.mode, Mode::Replicated { .. }) {
        let message = format!("service {service} is not replicated and cannot be scaled");
        return Err(Ends::with(Exit::Usage, message));
    }
    settings.mode = Mode::Replicated { replicas };
    Ok(())
}

fn keep_only(converted: &mut Converted, only: &[String]) -> anyhow::Result<()> {
    let spec = &mut converted.spec;
    let kept = only
        .iter()
        .map(|wanted| find(spec, wanted))
        .collect::<anyhow::Result<BTreeSet<usize>>>()?;
    let mut at = 0..;
    spec.services
        .retain(|_| at.next().is_some_and(|at| kept.contains(&at)));
    let used = |names: fn(&ServiceSpec) -> Vec<String>| -> BTreeSet<String> {
        spec.services.iter().flat_map(names).collect()
    };
    let networks = used(|service| {
        let named = service
            .template
            .networks
            .iter()
            .filter_map(|used| match &used.network {
                NetworkTarget::Named(name) => Some(name.clone()),
                NetworkTarget::Cluster(_) | NetworkTarget::Host | NetworkTarget::None => None,
            });
        named.collect()
    });
    let secrets = used(|service| {
        let used = service.template.container.secrets.iter();
        used.map(|used| used.name.clone()).collect()
    });
    let configs = used(|service| {
        let used = service.template.container.configs.iter();
        used.map(|used| used.name.clone()).collect()
    });
    spec.networks.retain(|one| networks.contains(&one.name));
    spec.secrets.retain(|one| secrets.contains(&one.name));
    spec.configs.retain(|one| configs.contains(&one.name));
    let contents = spec.secrets.iter().chain(&spec.configs);
    let digests: Vec<_> = contents.map(|content| content.digest).collect();
    converted.blobs.retain(|blob| digests.contains(&blob.digest));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shoal_proto::service::Mode;

    use super::SelectArgs;
    use crate::compose::{self, Converted, Input, Options};

    const FILE: &str = "
services:
  web:
    image: nginx
    networks: [front]
    secrets: [key]
  db:
    image: postgres
    networks: [back]
    configs: [conf]
    deploy: { mode: global }
networks: { front: {}, back: {} }
secrets: { key: { environment: KEY } }
configs: { conf: { content: x } }
";

    fn converted() -> Converted {
        let options = Options {
            files: vec![Input::Text("compose.yaml".to_owned(), FILE.to_owned())],
            stack_name: Some("shop".to_owned()),
            env: BTreeMap::from([("KEY".to_owned(), "k".to_owned())]),
            ..Options::default()
        };
        let loaded = compose::load(&options).expect("the file can be deployed");
        compose::convert(&loaded.model, &loaded.stack)
    }

    fn select(only: &[&str], scale: &[&str]) -> Result<Converted, String> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let args = SelectArgs {
            only: texts(only),
            scale: texts(scale),
        };
        let mut converted = converted();
        match args.apply(&mut converted) {
            Ok(()) => Ok(converted),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn only_a_service_and_what_it_uses_is_taken() {
        let taken = select(&["web"], &[]).unwrap();
        let spec = &taken.spec;
        let names = (
            spec.services
                .iter()
                .map(|one| one.name.as_str())
                .collect::<Vec<_>>(),
            spec.networks
                .iter()
                .map(|one| one.name.as_str())
                .collect::<Vec<_>>(),
            spec.secrets
                .iter()
                .map(|one| one.name.as_str())
                .collect::<Vec<_>>(),
        );
        assert_eq!(names, (vec!["shop_web"], vec!["shop_front"], vec!["shop_key"]));
        assert!(spec.configs.is_empty());
        assert_eq!(taken.blobs.len(), 1);
        assert_eq!(select(&["shop_web", "db"], &[]).unwrap(), converted());
    }

    #[test]
    fn replicas_go_before_what_the_file_says() {
        let taken = select(&[], &["web=5"]).unwrap();
        let web = taken
            .spec
            .services
            .iter()
            .find(|one| one.name == "shop_web")
            .unwrap();
        assert_eq!(web.settings.mode, Mode::Replicated { replicas: 5 });
    }

    #[test]
    fn what_cannot_be_taken_is_refused_with_what_would_be_right() {
        for (only, scale, wanted) in [
            (
                &["wbe"][..],
                &[][..],
                "the file has no service \"wbe\": it has shop_db, shop_web",
            ),
            (
                &[],
                &["web"],
                "\"web\" is not a scale: write SERVICE=N, such as web=5",
            ),
            (
                &[],
                &["db=2"],
                "service db is not replicated and cannot be scaled",
            ),
        ] {
            assert_eq!(select(only, scale).unwrap_err(), wanted);
        }
    }
}
