//! The table against itself: every flag changes a spec with its own example, or refuses with a reason.

use std::net::{Ipv4Addr, Ipv6Addr};

use clap::Command;
use shoal_proto::service::{Prefer, Protocol, ServiceSettings, ServiceSpec, TaskTemplate};

use super::network::publish_rm;
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
fn a_published_range_is_taken_back_whole_and_a_port_that_is_not_there_is_named() {
    let mut spec = given(On::Create, &["-p", "8000-8002:80-82", "-p", "53:53/udp"]).unwrap();
    publish_rm(&mut spec, "80-81").unwrap();
    let left: Vec<u16> = spec
        .settings
        .ingress_ports
        .iter()
        .map(|p| p.container_port)
        .collect();
    assert_eq!(left, [82, 53]);
    let error = publish_rm(&mut spec, "82-83").unwrap_err().to_string();
    assert!(error.contains("83/tcp"), "{error}");
}

#[test]
fn a_port_may_be_published_on_an_address_and_prefer_what_is_near() {
    let short = [
        "-p",
        "127.0.0.1:8080:80",
        "-p",
        "0.0.0.0:8081:81/udp",
        "-p",
        "[::]:8082:82",
        "-p",
        "8083:83",
    ];
    let ports = given(On::Create, &short).unwrap().settings.ingress_ports;
    assert_eq!(ports[0].host_ip, Some([127, 0, 0, 1].into()));
    // All addresses of a kind are not all of both.
    assert_eq!(ports[1].host_ip, Some(Ipv4Addr::UNSPECIFIED.into()));
    assert_eq!(ports[1].protocol, Protocol::Udp);
    assert_eq!(ports[2].host_ip, Some(Ipv6Addr::UNSPECIFIED.into()));
    assert_eq!(ports[3].host_ip, None);
    let long = [
        "--publish",
        "published=8080,target=80,host_ip=10.0.0.1,prefer=local",
    ];
    let ports = given(On::Create, &long).unwrap().settings.ingress_ports;
    assert_eq!(ports[0].host_ip, Some([10, 0, 0, 1].into()));
    assert_eq!(ports[0].prefer, Some(Prefer::Local));
    for (wrong, expected) in [
        ("host.example:80:80", "not an IP address"),
        ("target=80,prefer=far", "prefer=far"),
        ("target=80,prefer=local,mode=host", "mode=ingress"),
        ("8000-8002:80-81", "different lengths"),
    ] {
        let error = format!("{:#}", given(On::Create, &["--publish", wrong]).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_env_file_sets_its_lines_and_skips_comments() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# colours\nCOLOR=blue\n\nSIZE=big\n").unwrap();
    let spec = given(On::Create, &["--env-file", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(spec.template.container.env, ["COLOR=blue", "SIZE=big"]);
}
