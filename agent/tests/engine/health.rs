//! Health checks: the service's own, the image's, and none.

use shoal_proto::container::HealthCheck;

use shoal_agent::engine::{Engine as _, EngineError, Health, Networks, plan};

use crate::bed::{block, facts, shared, shell_with};
use crate::keys::strings;

#[test]
fn keys_an_older_engine_lacks_are_refused_by_name() {
    let api = block(shared().engine.info()).expect("info").api;
    let minor: u32 = api.split_once('.').expect("version").1.parse().expect("number");
    let check = HealthCheck {
        test: strings(&["CMD", "true"]),
        start_interval_ms: 500,
        ..HealthCheck::default()
    };
    let made = plan(
        &shell_with("true", |t| t.container.health = Some(check)),
        &Networks::new(),
        &facts(),
    );
    let created = block(shared().engine.create(&made.expect("plan")));
    if minor < 44 {
        let error = created.expect_err("this engine does not know it");
        assert!(
            matches!(&error, EngineError::TooOld { .. }) && error.to_string().contains("start_interval"),
            "{error}"
        );
    } else {
        created.expect("this engine knows it");
    }
}

#[test]
fn a_health_check_decides_and_its_last_output_is_told() {
    let check = |test: &str| HealthCheck {
        test: strings(&["CMD-SHELL", test]),
        interval_ms: 200,
        timeout_ms: 5_000,
        retries: 1,
        ..HealthCheck::default()
    };
    let bed = shared();
    for (test, healthy) in [("true", true), ("echo broken; exit 3", false)] {
        let assigned = shell_with("sleep 60", |t| t.container.health = Some(check(test)));
        let made = plan(&assigned, &Networks::new(), &facts()).expect("plan");
        block(async {
            let id = bed.engine.create(&made).await.expect("create");
            bed.engine.start(&id).await.expect("start");
            let decided = |health: &Option<Health>| !matches!(health, None | Some(Health::Starting));
            let seen = bed.until(&id, |seen| decided(&seen.health)).await;
            match seen.health {
                Some(Health::Healthy) => assert!(healthy),
                Some(Health::Unhealthy(words)) => assert!(!healthy && words.contains("3: broken"), "{words}"),
                other => panic!("{other:?}"),
            }
            let listed = bed.engine.list(facts().cluster).await.expect("list");
            let word = &listed.iter().find(|one| one.id == id).expect("listed").health;
            assert_eq!(word, if healthy { "healthy" } else { "unhealthy" });
            bed.engine.remove(&id).await.expect("remove");
        });
    }
}

/// The end of the wait: healthy, unhealthy, or no check at all.
fn decided(image: &str, script: &str, check: Option<HealthCheck>) -> Option<Health> {
    let bed = shared();
    let assigned = shell_with(script, |t| {
        image.clone_into(&mut t.container.image);
        t.container.health = check;
    });
    let made = plan(&assigned, &Networks::new(), &facts()).expect("plan");
    block(async {
        let id = bed.engine.create(&made).await.expect("create");
        bed.engine.start(&id).await.expect("start");
        let over = |health: &Option<Health>| *health != Some(Health::Starting);
        let seen = bed.until(&id, |seen| over(&seen.health)).await;
        bed.engine.remove(&id).await.expect("remove");
        seen.health
    })
}

#[test]
fn the_images_own_check_counts_unless_another_or_none_is_asked_for() {
    let bed = shared();
    let check = "HEALTHCHECK --interval=200ms --retries=1 CMD echo from the image; false";
    let image = "shoal-test/ill:1";
    let tar = bed.dir.join("rootfs.tar").to_string_lossy().into_owned();
    bed.docker(&["import", "-c", "ENV PATH=/bin", "-c", check, &tar, image]);
    let own = decided(image, "exec sleep 60", None);
    assert_eq!(
        own,
        Some(Health::Unhealthy("check ended with 1: from the image".to_owned()))
    );
    let none = HealthCheck {
        test: strings(&["NONE"]),
        ..HealthCheck::default()
    };
    assert_eq!(decided(image, "exec sleep 60", Some(none)), None);
    // What is not said is the image's.
    let other = HealthCheck {
        test: strings(&["CMD", "true"]),
        ..HealthCheck::default()
    };
    assert_eq!(
        decided(image, "exec sleep 60", Some(other)),
        Some(Health::Healthy)
    );
}

#[test]
fn failures_count_after_the_start_period_and_as_often_as_asked() {
    let slow = "sleep 2; touch /tmp/up; exec sleep 60";
    let check = |start_period_ms, retries| HealthCheck {
        test: strings(&["CMD-SHELL", "[ -e /tmp/up ]"]),
        interval_ms: 200,
        timeout_ms: 5_000,
        start_period_ms,
        start_interval_ms: 0,
        retries,
    };
    let image = crate::bed::IMAGE;
    assert_eq!(
        decided(image, slow, Some(check(60_000, 1))),
        Some(Health::Healthy)
    );
    assert_eq!(decided(image, slow, Some(check(0, 100))), Some(Health::Healthy));
    let soon = decided(image, slow, Some(check(0, 1)));
    assert!(matches!(soon, Some(Health::Unhealthy(_))), "{soon:?}");
}
