//! The table `filter` of `iptables` or `ip6tables`, in either of their kinds: what `iptables-save` says, and the text for
//! `iptables-restore --noflush` that leads to what should be. Pure.

use std::collections::BTreeMap;

use super::openings::{Hook, MARK, Openings, Rule, told};
use crate::network::side::Family;

/// Where Docker leaves room for others, before its own rules.
const DOCKER_USER: &str = "DOCKER-USER";

/// A table as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Chains with their policy, `-` for chains that others jump to.
    policies: BTreeMap<String, String>,
    /// Rules of each chain, without `-A CHAIN `.
    rules: BTreeMap<String, Vec<String>>,
}

/// What is to be done, and what then is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// For `iptables-restore --noflush`; none when nothing is to be done.
    pub(super) script: Option<String>,
    /// Our rules, for people.
    pub(super) kept: Vec<String>,
}

/// The chain of a hook, ours, and that from which ours is entered.
fn own(hook: Hook) -> &'static str {
    match hook {
        Hook::Input => "SHOAL-INPUT",
        Hook::Forward => "SHOAL-FORWARD",
    }
}

fn base(hook: Hook) -> &'static str {
    match hook {
        Hook::Input => "INPUT",
        Hook::Forward => "FORWARD",
    }
}

fn jump(hook: Hook) -> String {
    format!("-m comment --comment {MARK} -j {}", own(hook))
}

impl Table {
    /// From what `iptables-save -t filter` says.
    pub(super) fn read(text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines() {
            if let Some(chain) = line.strip_prefix(':') {
                let mut words = chain.split_whitespace().map(str::to_owned);
                let (name, policy) = (words.next(), words.next());
                table.policies.extend(name.zip(policy));
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let (chain, rule) = rule.split_once(' ').unwrap_or((rule, ""));
                let rules = table.rules.entry(chain.to_owned()).or_default();
                rules.push(rule.to_owned());
            }
        }
        table
    }

    fn rules(&self, chain: &str) -> &[String] {
        self.rules.get(chain).map_or(&[], Vec::as_slice)
    }

    /// Whether anything could be dropped at a hook by others.
    fn restricts(&self, hook: Hook) -> bool {
        let ours = format!("-j {}", own(hook));
        let policy = self.policies.get(base(hook));
        let theirs = self.rules(base(hook)).iter();
        policy.is_some_and(|policy| policy != "ACCEPT")
            || theirs.into_iter().any(|rule| !rule.ends_with(&ours))
    }

    /// From which chain ours is to be entered.
    fn place(&self, hook: Hook) -> &'static str {
        let docker = self.rules(base(hook)).iter();
        let mut docker = docker.filter(|rule| rule.ends_with(&format!("-j {DOCKER_USER}")));
        if hook == Hook::Forward && docker.next().is_some() {
            return DOCKER_USER;
        }
        base(hook)
    }

    /// What leads to a table that lets the openings through; with none, to one without a trace of us. `kind` is what
    /// people call it.
    pub(super) fn steps(&self, openings: Option<&Openings>, (kind, family): (&str, Family)) -> Steps {
        let mut steps = Steps::default();
        let mut lines = Vec::new();
        let openings = openings.filter(|openings| openings.concern(family));
        for hook in Hook::ALL {
            let wanted = openings.filter(|_| self.restricts(hook));
            lines.extend(match wanted {
                Some(openings) => self.open(hook, &openings.for_iptables(hook, family)),
                None => self.close(hook),
            });
            if let Some(openings) = wanted {
                let about = told(&openings.for_iptables(hook, family));
                let place = self.place(hook);
                steps
                    .kept
                    .push(format!("{kind} {place} → {}: {about}", own(hook)));
            }
        }
        if !lines.is_empty() {
            steps.script = Some(format!("*filter\n{}\nCOMMIT\n", lines.join("\n")));
        }
        steps
    }

    fn open(&self, hook: Hook, rules: &[Rule]) -> Vec<String> {
        let mut lines = Vec::new();
        let (own, place) = (own(hook), self.place(hook));
        let wanted = rules.iter().map(Rule::comment);
        let is = self.rules(own).iter().filter_map(|rule| comment(rule));
        if !self.policies.contains_key(own) || !wanted.eq(is) {
            // Naming a chain that is there empties it.
            lines.push(format!(":{own} - [0:0]"));
            lines.extend(rules.iter().map(|rule| {
                let (matches, comment) = (&rule.matches, rule.comment());
                format!("-A {own} {matches} -m comment --comment \"{comment}\" -j ACCEPT")
            }));
        }
        let entered = self.rules(place).first();
        if entered.is_none_or(|first| *first != jump(hook)) {
            lines.extend(self.leave(hook));
            lines.push(format!("-I {place} 1 {}", jump(hook)));
        }
        lines
    }

    /// Ways into our chain, from wherever they are.
    fn leave(&self, hook: Hook) -> Vec<String> {
        let ending = format!("-j {}", own(hook));
        let all = self.rules.iter();
        let all = all.flat_map(|(chain, rules)| rules.iter().map(move |rule| (chain, rule)));
        let ours = all.filter(|(_, rule)| rule.ends_with(&ending));
        ours.map(|(chain, rule)| format!("-D {chain} {rule}")).collect()
    }

    fn close(&self, hook: Hook) -> Vec<String> {
        let own = own(hook);
        let mut lines = self.leave(hook);
        if self.policies.contains_key(own) {
            lines.extend([format!("-F {own}"), format!("-X {own}")]);
        }
        lines
    }
}

/// The comment of a rule, if it has one of more than a word.
fn comment(rule: &str) -> Option<String> {
    let (_, rest) = rule.split_once("--comment \"")?;
    let (comment, _) = rest.split_once('"')?;
    Some(comment.to_owned())
}

#[cfg(test)]
#[path = "iptables_test.rs"]
mod tests;
