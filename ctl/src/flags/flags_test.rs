//! The table against itself: every flag changes a spec with its own example, or refuses with a reason.

use clap::Command;
use shoal_proto::service::{ServiceSettings, ServiceSpec, TaskTemplate};

use super::{Effect, On, add_to, any_given, apply, table, taken};

fn empty() -> ServiceSpec {
    ServiceSpec {
        name: "web".to_owned(),
        settings: ServiceSettings::default(),
        template: TaskTemplate::default(),
    }
}

fn given(on: On, words: &[&str]) -> anyhow::Result<ServiceSpec> {
    let mut spec = empty();
    let matches = add_to(Command::new("service"), on).try_get_matches_from([&["service"], words].concat())?;
    apply(&mut spec, &matches, on)?;
    Ok(spec)
}

/// What must stand before a flag for its example to mean something.
fn before(name: &str) -> Vec<&'static str> {
    match name {
        "log-opt" => vec!["--log-driver", "json-file"],
        "max-concurrent" => vec!["--mode", "replicated-job"],
        _ => Vec::new(),
    }
}

fn word(name: &str, example: &str) -> Vec<String> {
    vec![format!("--{name}={example}")]
}

#[test]
fn every_flag_of_create_changes_the_spec_or_says_why_not() {
    for flag in table().filter(|f| taken(f, On::Create) && f.name != "env-file") {
        let own = word(flag.name, flag.example);
        let words: Vec<&str> = before(flag.name)
            .into_iter()
            .chain(own.iter().map(String::as_str))
            .collect();
        let base = given(On::Create, &before(flag.name)).unwrap();
        match (&flag.effect, given(On::Create, &words)) {
            (Effect::Refused(why), result) => assert!(
                format!("{:#}", result.unwrap_err()).contains(why),
                "{}",
                flag.name
            ),
            (_, result) => assert_ne!(
                result.unwrap(),
                base,
                "--{} {} changed nothing",
                flag.name,
                flag.example
            ),
        }
    }
}

#[test]
fn every_add_flag_of_update_is_undone_by_its_rm_flag() {
    for add in table().filter(|f| f.name.ends_with("-add") && f.on == On::Update) {
        if matches!(add.effect, Effect::Refused(_)) {
            continue;
        }
        let rm_name = add.name.replace("-add", "-rm");
        let rm = table()
            .find(|f| f.name == rm_name)
            .unwrap_or_else(|| panic!("--{} has no --{rm_name}", add.name));
        let mut spec = empty();
        super::apply_one(&mut spec, add, add.example).unwrap();
        assert_ne!(spec, empty(), "--{} changed nothing", add.name);
        super::apply_one(&mut spec, rm, rm.example).unwrap();
        assert_eq!(spec, empty(), "--{rm_name} left something");
    }
}

#[test]
fn removing_what_is_not_there_is_an_error_that_names_it() {
    for rm in table().filter(|f| f.name.ends_with("-rm") && !matches!(f.effect, Effect::Refused(_))) {
        let error = super::apply_one(&mut empty(), rm, rm.example).expect_err(rm.name);
        assert!(!error.to_string().is_empty(), "--{}", rm.name);
    }
}

#[test]
fn a_bad_value_names_the_flag_and_what_would_be_right() {
    for (words, expected) in [
        (["--limit-memory", "lots"], "--limit-memory lots"),
        (["--publish", "0"], "1 to 65535"),
        (["--mount", "type=bind,source=rel,target=/x"], "absolute"),
        (["--update-order", "both"], "stop-first or start-first"),
        (["--constraint", "node.role=worker"], "KEY==VALUE"),
        (["--secret", "source=a,colour=red"], "colour"),
    ] {
        let error = format!("{:#}", given(On::Create, &words).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_update_with_no_flag_that_changes_anything_is_noticed() {
    let matches = add_to(Command::new("service"), On::Update)
        .try_get_matches_from(["service"])
        .unwrap();
    assert!(!any_given(&matches, On::Update));
}

#[test]
fn a_published_range_makes_one_port_each() {
    let spec = given(On::Create, &["-p", "8000-8002:80-82"]).unwrap();
    let published: Vec<u16> = spec
        .settings
        .ingress_ports
        .iter()
        .map(|p| p.published_port)
        .collect();
    assert_eq!(published, [8000, 8001, 8002]);
}

#[test]
fn an_env_file_sets_its_lines_and_skips_comments() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# colours\nCOLOR=blue\n\nSIZE=big\n").unwrap();
    let spec = given(On::Create, &["--env-file", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(spec.template.container.env, ["COLOR=blue", "SIZE=big"]);
}
