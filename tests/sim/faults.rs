//! What breaks: managers, leaders, agents, hosts, links, Engines and containers. Each is mended after a while.

use shoal_agent::engine::ContainerState;
use shoal_core::state::{Change, Group};
use shoal_proto::node::NodeState;

use crate::agents::AgentEvent;
use crate::world::{Event, Faults, World};

/// Longer than the grace of a silent Engine.
const CALM_MS: u64 = 32_000;
/// How often a node comes back just as it is given up.
const LAST_MOMENT_PERCENT: u64 = 30;

impl World {
    /// Something breaks, and the next thing will.
    pub(crate) fn fault(&mut self) {
        if self.faults == Faults::Off {
            return;
        }
        let agent = usize::try_from(self.between(0, self.agents.len() as u64 - 1)).expect("a count fits");
        let mut next = self.between(300, 6_000);
        match self.between(0, 11) {
            0 => self.lose_leader(),
            1 => self.leader_doomed = true,
            2 => {
                let manager = usize::try_from(self.between(0, self.managers.len() as u64 - 1));
                let manager = manager.expect("a count fits");
                if self.managers[manager].up {
                    self.manager_down(manager);
                }
            }
            3 | 4 => self.crash_agent(agent),
            5 => self.power_off(agent),
            6 | 7 => self.cut(agent),
            8 => {
                self.hush_engine(agent);
                // A node is down for its engine only where nothing else goes wrong for a while.
                next += if self.chance(30) { CALM_MS } else { 0 };
            }
            9 => self.restart_engine(agent),
            _ => self.harm_container(agent),
        }
        self.after(next, Event::Fault);
    }

    fn crash_agent(&mut self, agent: usize) {
        self.tally.count("fault: agent crashed");
        self.agent_stop(agent);
        let back = self.between(100, 9_000);
        self.after(back, Event::PowerOn(agent));
    }

    fn power_off(&mut self, agent: usize) {
        if !self.agents[agent].powered {
            return;
        }
        self.tally.count("fault: host lost power");
        self.tell(&format!("host {agent} loses its power"));
        self.agent_stop(agent);
        let one = &mut self.agents[agent];
        one.powered = false;
        one.boot += 1;
        one.engine.reboot();
        let back = self.between(1_000, 30_000);
        self.after(back, Event::PowerOn(agent));
    }

    /// A host has power and its agent runs.
    pub(crate) fn power_on(&mut self, agent: usize) {
        self.agents[agent].powered = true;
        self.agent_start(agent);
    }

    fn cut(&mut self, agent: usize) {
        self.tally.count("fault: link cut");
        self.tell(&format!("link of agent {agent} is cut"));
        if self.agents[agent].session.is_some() {
            self.break_session(agent);
        }
        self.agents[agent].linked = false;
        let back = self.between(500, 25_000);
        self.after(back, Event::Mend(agent));
    }

    /// The link works again.
    pub(crate) fn mend(&mut self, agent: usize) {
        if !self.agents[agent].linked {
            self.tell(&format!("link of agent {agent} is mended"));
            self.agents[agent].linked = true;
        }
    }

    /// A node that is about to be given up comes back just then: its arrival and what follows from its loss meet in
    /// the log.
    pub(crate) fn back_in_the_last_moment(&mut self, groups: &[Group]) {
        let lost = groups
            .iter()
            .flat_map(|group| &group.changes)
            .filter_map(|change| match change {
                Change::NodeStatus { node, status } if status.state == NodeState::Down => Some(*node),
                _ => None,
            });
        for node in lost.collect::<Vec<_>>() {
            let agent = self.agents.iter().position(|agent| agent.node == node);
            let Some(agent) = agent.filter(|_| self.mishap(LAST_MOMENT_PERCENT)) else {
                continue;
            };
            self.tally.count("fault: node back in the last moment");
            self.mend(agent);
            self.power_on(agent);
            let life = self.agents[agent].life;
            self.after(0, Event::Agent(agent, life, AgentEvent::Connect));
        }
    }

    fn hush_engine(&mut self, agent: usize) {
        self.tally.count("fault: engine silent");
        self.tell(&format!("engine {agent} falls silent"));
        self.agents[agent].engine.set_silent(true);
        self.agent_round(agent);
        let back = self.between(1_000, 60_000);
        self.after(back, Event::EngineSpeaks(agent));
    }

    /// The Engine answers again, as it was.
    pub(crate) fn engine_speaks(&mut self, agent: usize) {
        self.agents[agent].engine.set_silent(false);
        self.agent_round(agent);
    }

    fn restart_engine(&mut self, agent: usize) {
        let live_restore = self.chance(50);
        self.tally.count(if live_restore {
            "fault: engine restarted with live-restore"
        } else {
            "fault: engine restarted without"
        });
        self.tell(&format!("engine {agent} restarts, live-restore {live_restore}"));
        self.agents[agent].engine.restart(live_restore);
        self.agent_round(agent);
    }

    fn harm_container(&mut self, agent: usize) {
        let containers = self.agents[agent].engine.containers();
        let running = containers
            .into_iter()
            .filter(|(_, seen)| seen.state == ContainerState::Running);
        let running: Vec<String> = running.map(|(id, _)| id).collect();
        let refs: Vec<&str> = running.iter().map(String::as_str).collect();
        let Some(container) = self.pick(&refs) else {
            return;
        };
        if self.chance(30) {
            self.tell(&format!("container {container} on {agent} is removed by hand"));
            let removed = self.agents[agent].engine.remove(container);
            if removed.is_ok() {
                self.tally.count("fault: container removed by hand");
                self.agent_round(agent);
            }
            return;
        }
        let code = i64::try_from(self.between(0, 2)).expect("a small number");
        let life = self.agents[agent].life;
        self.after(
            0,
            Event::Agent(agent, life, AgentEvent::Exit(container.to_owned(), code)),
        );
    }

    /// Everything is mended, and nothing breaks from here on.
    pub(crate) fn heal(&mut self) {
        self.tell("everything is mended");
        self.faults = Faults::Off;
        for agent in 0..self.agents.len() {
            self.mend(agent);
            self.agents[agent].engine.set_silent(false);
            self.power_on(agent);
            self.agent_round(agent);
        }
        for manager in 0..self.managers.len() {
            self.manager_up(manager);
        }
    }
}
