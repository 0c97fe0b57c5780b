//! What goes out over the wire comes in as it was, whatever it was.

use std::fmt::Debug;

use proptest::prelude::{any, proptest};
use prost::Message;

use super::Invalid;
use super::arbitrary::{config, network, node, reasons, revision, secret, service, stack, task, volume};
use super::arbitrary_spec::{Gen, cluster_spec, service_spec, stack_spec};
use super::arbitrary_view::view_change;
use crate::wire;

/// Domain → wire → bytes → wire → domain.
fn stays_itself<D, W>(value: &D)
where
    D: TryFrom<W, Error = Invalid> + PartialEq + Debug,
    W: for<'a> From<&'a D> + Message + Default,
{
    let bytes = W::from(value).encode_to_vec();
    let came_in = W::decode(bytes.as_slice()).unwrap();
    assert_eq!(&D::try_from(came_in).unwrap(), value);
}

proptest! {
    #[test]
    fn specs_cross_the_wire_unchanged(seed in any::<u64>()) {
        let g = &mut Gen(seed);
        stays_itself::<_, wire::ServiceSpec>(&service_spec(g));
        stays_itself::<_, wire::StackSpec>(&stack_spec(g));
        stays_itself::<_, wire::ClusterSpec>(&cluster_spec(g));
    }

    #[test]
    fn objects_cross_the_wire_unchanged(seed in any::<u64>()) {
        let g = &mut Gen(seed);
        stays_itself::<_, wire::Node>(&node(g));
        stays_itself::<_, wire::Service>(&service(g));
        stays_itself::<_, wire::Revision>(&revision(g));
        stays_itself::<_, wire::Task>(&task(g));
        stays_itself::<_, wire::Network>(&network(g));
        stays_itself::<_, wire::Secret>(&secret(g));
        stays_itself::<_, wire::Config>(&config(g));
        stays_itself::<_, wire::Volume>(&volume(g));
        stays_itself::<_, wire::Stack>(&stack(g));
    }

    #[test]
    fn views_of_networks_cross_the_wire_unchanged(seed in any::<u64>()) {
        stays_itself::<_, wire::NetworkView>(&view_change(&mut Gen(seed)));
    }

    #[test]
    fn every_reason_crosses_the_wire_unchanged(seed in any::<u64>()) {
        for reason in reasons(&mut Gen(seed)) {
            stays_itself::<_, wire::Reason>(&reason);
        }
    }
}
