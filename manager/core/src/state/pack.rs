//! From many groups to entries of the log, each within the limits and in order.

use shoal_proto::object::Cause;
use shoal_proto::time::Timestamp;

use super::change::{Group, Proposal};
use super::encode::{EncodeError, encode};
use super::limit::{ENTRY_BYTES_MAX, PROPOSAL_GROUPS_MAX, TRANSACTION_OBJECTS_MAX, within};

/// Bytes of an entry that groups may fill: the rest is for what goes around them.
const GROUPS_BYTES_MAX: usize = ENTRY_BYTES_MAX - 64 * 1024;

impl Proposal {
    /// As many proposals as the limits ask for, with the groups in their order: how a leader's step is written.
    ///
    /// # Errors
    /// When one group alone is over a limit.
    pub fn pack(now: Timestamp, cause: &Cause, groups: Vec<Group>) -> Result<Vec<Self>, EncodeError> {
        let mut proposals = Vec::new();
        let (mut batch, mut objects, mut bytes) = (Vec::new(), 0, 0);
        for group in groups {
            let size = encode("group", 0, &group)?.len();
            within("bytes of a group", size, GROUPS_BYTES_MAX)?;
            let full = objects + group.changes.len() > TRANSACTION_OBJECTS_MAX
                || bytes + size > GROUPS_BYTES_MAX
                || batch.len() == PROPOSAL_GROUPS_MAX;
            if full && !batch.is_empty() {
                proposals.push(Self::new(now, cause.clone(), std::mem::take(&mut batch)));
                (objects, bytes) = (0, 0);
            }
            objects += group.changes.len();
            bytes += size;
            batch.push(group);
        }
        if !batch.is_empty() {
            proposals.push(Self::new(now, cause.clone(), batch));
        }
        for proposal in &proposals {
            proposal.check_limits()?;
        }
        Ok(proposals)
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::object::Cause;
    use shoal_proto::registry::Registry;
    use shoal_proto::time::Timestamp;

    use crate::state::{Group, Proposal};

    fn group(host: String) -> Group {
        let (username, password) = (String::new(), String::new());
        let mut group = Group::new();
        group.put(Registry {
            meta: Default::default(),
            host,
            username,
            password,
        });
        group
    }

    fn pack(groups: Vec<Group>) -> Vec<Proposal> {
        Proposal::pack(Timestamp::ZERO, &Cause::default(), groups).unwrap()
    }

    #[test]
    fn groups_keep_their_order_over_as_many_entries_as_they_need() {
        let groups: Vec<_> = (0..2_500).map(|number| group(format!("{number:05}"))).collect();
        let proposals = pack(groups.clone());
        assert_eq!(proposals.len(), 3);
        assert!(proposals.iter().all(|proposal| proposal.to_bytes().is_ok()));
        let again: Vec<_> = proposals
            .into_iter()
            .flat_map(|proposal| proposal.groups)
            .collect();
        assert_eq!(again, groups);
        assert!(pack(Vec::new()).is_empty());
    }

    #[test]
    fn large_groups_go_into_entries_of_their_own_and_one_too_large_is_refused() {
        let large = || group("x".repeat(300_000));
        assert_eq!(pack(vec![large(), large(), large()]).len(), 3);
        let huge = vec![group("x".repeat(1 << 20))];
        let error = Proposal::pack(Timestamp::ZERO, &Cause::default(), huge).unwrap_err();
        assert!(error.to_string().starts_with("bytes of a group"), "{error}");
    }
}
