//! How one node reaches another.

use super::Invalid;
use super::checks::{id, message, optional};
use crate::reach::{Answers, Reach};
use crate::wire;

impl From<&Reach> for wire::Reach {
    fn from(reach: &Reach) -> Self {
        Self {
            node_id: reach.node.to_string(),
            host: Some((&reach.host).into()),
            overlay: Some((&reach.overlay).into()),
            overlay_full: Some((&reach.overlay_full).into()),
            sealed: Some((&reach.sealed).into()),
        }
    }
}

impl TryFrom<wire::Reach> for Reach {
    type Error = Invalid;
    fn try_from(reach: wire::Reach) -> Result<Self, Invalid> {
        Ok(Self {
            node: id(&reach.node_id, "node_id")?,
            host: message(reach.host, "host")?,
            overlay: message(reach.overlay, "overlay")?,
            overlay_full: message(reach.overlay_full, "overlay_full")?,
            // An agent of an earlier version asks nothing there.
            sealed: optional(reach.sealed, "sealed")?.unwrap_or_default(),
        })
    }
}

impl From<&Answers> for wire::ProbeAnswers {
    fn from(answers: &Answers) -> Self {
        Self {
            asked: answers.asked,
            answered: answers.answered,
            lost_in_a_row: answers.lost_in_a_row,
            median_us: answers.median_us,
        }
    }
}

impl TryFrom<wire::ProbeAnswers> for Answers {
    type Error = Invalid;
    fn try_from(answers: wire::ProbeAnswers) -> Result<Self, Invalid> {
        let wire::ProbeAnswers {
            asked,
            answered,
            lost_in_a_row,
            median_us,
        } = answers;
        if answered > asked || lost_in_a_row > asked - answered {
            let why = format!("{answered} answers and {lost_in_a_row} lost of {asked} asked do not add up");
            return Err(Invalid::new("answered", why));
        }
        Ok(Self {
            asked,
            answered,
            lost_in_a_row,
            median_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::id::NodeId;
    use crate::reach::{Answers, Reach};
    use crate::time::Timestamp;
    use crate::wire;

    #[test]
    fn a_reach_comes_back_as_it_was() {
        let overlay = Answers {
            asked: 20,
            answered: 17,
            lost_in_a_row: 2,
            median_us: Some(310),
        };
        let reach = Reach {
            overlay,
            ..Reach::unknown(NodeId::new(Timestamp::from_ms(5), 1))
        };
        assert_eq!(Reach::try_from(wire::Reach::from(&reach)), Ok(reach));
    }

    #[test]
    fn counts_that_do_not_add_up_are_refused() {
        let wrong = wire::ProbeAnswers {
            asked: 3,
            answered: 2,
            lost_in_a_row: 2,
            median_us: None,
        };
        let refused = Answers::try_from(wrong).unwrap_err();
        assert!(refused.to_string().contains("2 lost of 3"), "{refused}");
    }
}
