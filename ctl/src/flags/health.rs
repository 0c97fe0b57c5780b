//! Flags of the health check and of the log driver.

use anyhow::{Context as _, bail};
use shoal_proto::container::{HealthCheck, LogDriver};
use shoal_proto::service::ServiceSpec;

use super::Effect::{Set, Switch as Toggle};
use super::On::Both;
use super::container::container;
use super::{Flag, Switch, pair};
use crate::values;

pub(super) static ROWS: &[&[Flag]] = &[HEALTH, LOG];

static HEALTH: &[Flag] = &[
    Flag::new(
        "health-cmd",
        Both,
        "wget -q localhost",
        "Command that tells whether the container is healthy",
        Set(|s, v| {
            health(s)?.test = vec!["CMD-SHELL".to_owned(), v.to_owned()];
            Ok(())
        }),
    ),
    Flag::new(
        "health-interval",
        Both,
        "10s",
        "Time between two checks",
        Set(|s, v| duration(&mut health(s)?.interval_ms, v)),
    ),
    Flag::new(
        "health-timeout",
        Both,
        "3s",
        "Time one check may take",
        Set(|s, v| duration(&mut health(s)?.timeout_ms, v)),
    ),
    Flag::new(
        "health-start-period",
        Both,
        "20s",
        "Time at the start in which failures do not count",
        Set(|s, v| duration(&mut health(s)?.start_period_ms, v)),
    ),
    Flag::new(
        "health-start-interval",
        Both,
        "1s",
        "Time between two checks in the start period",
        Set(|s, v| duration(&mut health(s)?.start_interval_ms, v)),
    ),
    Flag::new(
        "health-retries",
        Both,
        "3",
        "Failures in a row that make it unhealthy",
        Set(|s, v| {
            health(s)?.retries = v.parse().context("write a number")?;
            Ok(())
        }),
    ),
    Flag::new(
        "no-healthcheck",
        Both,
        "true",
        "Switch the image's health check off",
        Toggle(|s, v| {
            container(s).health = (v == Switch::On).then(|| HealthCheck {
                test: vec!["NONE".to_owned()],
                ..HealthCheck::default()
            });
        }),
    ),
];

static LOG: &[Flag] = &[
    Flag::new(
        "log-driver",
        Both,
        "json-file",
        "Where the output goes",
        Set(|s, v| {
            s.template.log_driver.get_or_insert_with(LogDriver::default).name = v.to_owned();
            Ok(())
        }),
    ),
    Flag::new(
        "log-opt",
        Both,
        "max-size=1m",
        "Option of the log driver",
        Set(|s, v| {
            let Some(driver) = s.template.log_driver.as_mut() else {
                bail!("an option needs its driver: add --log-driver");
            };
            let (key, value) = pair(v)?;
            driver.options.insert(key, value);
            Ok(())
        }),
    ),
];

fn duration(field: &mut u64, value: &str) -> anyhow::Result<()> {
    *field = values::duration_ms(value)?;
    Ok(())
}

fn health(spec: &mut ServiceSpec) -> anyhow::Result<&mut HealthCheck> {
    let health = container(spec).health.get_or_insert_with(HealthCheck::default);
    if health.test.first().is_some_and(|t| t == "NONE") {
        health.test.clear();
    }
    Ok(health)
}
