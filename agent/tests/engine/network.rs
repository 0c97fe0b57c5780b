//! Networks of the cluster as bridges of the node: names, separation, ownership.

use std::sync::Arc;

use shoal_agent::engine::{Engine as _, EngineError, Networks, plan};
use shoal_proto::id::NetworkId;
use shoal_proto::network::NetworkSpec;
use shoal_proto::service::{NetworkTarget, NetworkUse};
use shoal_proto::time::Timestamp;

use crate::bed::{block, facts, shared, shell};

fn network(n: u64, name: &str) -> (NetworkId, NetworkSpec) {
    let spec = NetworkSpec {
        name: name.to_owned(),
        driver: "overlay".to_owned(),
        ..NetworkSpec::default()
    };
    (NetworkId::new(Timestamp::from_ms(n), 0), spec)
}

#[test]
fn a_service_is_found_by_its_names_on_each_of_its_networks() {
    let bed = shared();
    let (front, back) = (network(1, "front"), network(2, "back"));
    let networks: Networks = [front.clone(), back.clone()].into();
    let on = |service: &str, script: &str, used: &[NetworkId]| {
        let mut assigned = shell(script);
        assigned.stack = Some("shop".to_owned());
        assigned.service_name = format!("shop_{service}");
        let uses = used.iter().map(|id| NetworkUse {
            network: NetworkTarget::Cluster(*id),
            aliases: vec![format!("{service}-extra")],
        });
        Arc::make_mut(&mut assigned.template).networks = uses.collect();
        plan(&assigned, &networks, &facts()).expect("plan")
    };
    let listening = on(
        "web",
        "echo hello > /tmp/index.html; httpd -f -h /tmp -p 80",
        &[front.0, back.0],
    );
    let id = block(async {
        for network in &listening.networks {
            bed.engine.ensure_network(network).await.expect("network");
            bed.engine
                .ensure_network(network)
                .await
                .expect("a second time is fine");
        }
        let id = bed.engine.create(&listening).await.expect("create");
        bed.engine.start(&id).await.expect("start");
        id
    });
    let ask = "for name in shop_web web web-extra shop_web.3 tasks.shop_web; do \
               until wget -q -O - http://$name/; do sleep 0.1; done; done";
    for used in [[front.0], [back.0]] {
        let (seen, output) = bed.run_plan(&on("ask", ask, &used));
        assert_eq!(output.matches("hello").count(), 5, "{output} {seen:?}");
    }
    let addresses = block(bed.engine.inspect(&id))
        .expect("inspect")
        .expect("there")
        .addresses;
    assert_eq!(
        addresses.keys().map(String::as_str).collect::<Vec<_>>(),
        ["back", "front"]
    );
    let seen = block(bed.engine.networks(facts().cluster)).expect("networks");
    assert!(
        seen.iter()
            .any(|seen| seen.name == "front" && seen.network == front.0.to_string())
    );
    let busy = block(bed.engine.remove_network("front")).expect_err("in use");
    assert!(busy.to_string().contains("active endpoints"), "{busy}");
    block(bed.engine.remove(&id)).expect("remove");
    for name in ["front", "back", "front"] {
        block(bed.engine.remove_network(name)).expect("removed, also when it is gone");
    }
}

#[test]
fn a_strangers_network_is_not_taken() {
    let bed = shared();
    bed.docker(&["network", "create", "theirs"]);
    let (id, spec) = network(3, "theirs");
    let mut assigned = shell("true");
    let used = NetworkUse {
        network: NetworkTarget::Cluster(id),
        aliases: Vec::new(),
    };
    Arc::make_mut(&mut assigned.template).networks = vec![used];
    let made = plan(&assigned, &[(id, spec)].into(), &facts()).expect("plan");
    let error = block(bed.engine.ensure_network(&made.networks[0])).expect_err("not ours");
    assert!(matches!(error, EngineError::Conflict(_)), "{error}");
    bed.docker(&["network", "rm", "theirs"]);
}
