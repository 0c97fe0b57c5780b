use super::Table;
use crate::network::beside::openings::Openings;
use crate::network::side::Family;
use crate::network::testing::{view, widen};

const IPTABLES: (&str, Family) = ("iptables", Family::V4);
const IP6TABLES: (&str, Family) = ("ip6tables", Family::V6);

fn openings() -> Openings {
    Openings::of(&view(3, 1))
}

/// As ufw leaves it, shortened.
const UFW: &str = ":INPUT DROP [1:2]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:ufw-before-input - [0:0]\n\
    -A INPUT -j ufw-before-input\n-A FORWARD -j ufw-before-forward\n-A ufw-before-input -i lo -j ACCEPT\n";

fn script(text: &str) -> Vec<String> {
    let steps = Table::read(text).steps(Some(&openings()), IPTABLES);
    let script = steps.script.unwrap_or_default();
    script.lines().map(str::to_owned).collect()
}

#[test]
fn a_table_that_drops_nothing_is_left_alone() {
    let open = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT DROP [0:0]\n";
    let steps = Table::read(open).steps(Some(&openings()), IPTABLES);
    assert!(steps.script.is_none() && steps.kept.is_empty());
}

#[test]
fn our_rules_come_before_a_firewalls() {
    let lines = script(UFW);
    assert!(lines.contains(&"-I INPUT 1 -m comment --comment shoal -j SHOAL-INPUT".to_owned()));
    assert!(lines.contains(&"-I FORWARD 1 -m comment --comment shoal -j SHOAL-FORWARD".to_owned()));
    let from = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(from("-s 10.99.0.12/32 -p udp -m multiport --dports"), 1);
    assert_eq!(from("-s 10.99.0.11/32"), 0, "that is this node");
    assert_eq!(from("--dport 4753"), 2);
    let kept = Table::read(UFW).steps(Some(&openings()), IPTABLES).kept;
    let told = "iptables INPUT → SHOAL-INPUT: containers ask for names, tunnel and probes of the nodes";
    assert_eq!(kept[0], told);
}

/// The table after the script, as the program would save it.
fn carried_out(text: &str, lines: &[String]) -> String {
    let mut saved: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in lines {
        if line.starts_with(':') {
            saved.push(line.clone());
        } else if let Some(rule) = line.strip_prefix("-I ") {
            let rule = rule.replacen(" 1 ", " ", 1);
            let first = saved.iter().position(|line| line.starts_with("-A "));
            saved.insert(first.unwrap_or(saved.len()), format!("-A {rule}"));
        } else if line.starts_with("-A ") {
            saved.push(line.clone());
        } else if let Some(rule) = line.strip_prefix("-D ") {
            saved.retain(|line| *line != format!("-A {rule}"));
        }
    }
    saved.join("\n")
}

#[test]
fn what_is_there_is_left_and_what_was_changed_is_mended() {
    let kept = carried_out(UFW, &script(UFW));
    assert_eq!(script(&kept), Vec::<String>::new());
    // Somebody put a rule before ours.
    let pushed = kept.replacen("-A INPUT", "-A INPUT -j DROP\n-A INPUT", 1);
    let lines = script(&pushed);
    assert!(lines.contains(&"-D INPUT -m comment --comment shoal -j SHOAL-INPUT".to_owned()));
    assert!(lines.contains(&"-I INPUT 1 -m comment --comment shoal -j SHOAL-INPUT".to_owned()));
    // A node came.
    let steps = Table::read(&kept).steps(Some(&Openings::of(&view(4, 1))), IPTABLES);
    assert!(steps.script.expect("a change").contains("10.99.0.14/32"));
}

#[test]
fn docker_leaves_a_place_for_us() {
    let docker = ":INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n\
        -A FORWARD -j DOCKER-ISOLATION-STAGE-1\n-A DOCKER-USER -j RETURN\n";
    let lines = script(docker);
    assert!(lines.contains(&"-I DOCKER-USER 1 -m comment --comment shoal -j SHOAL-FORWARD".to_owned()));
    assert!(!lines.iter().any(|line| line.contains("SHOAL-INPUT")));
    // It came later than we.
    let before = format!("{docker}-A FORWARD -m comment --comment shoal -j SHOAL-FORWARD\n");
    let gone = "-D FORWARD -m comment --comment shoal -j SHOAL-FORWARD".to_owned();
    assert!(script(&before).contains(&gone));
}

#[test]
fn nothing_of_ours_stays_behind() {
    let kept = carried_out(UFW, &script(UFW));
    let steps = Table::read(&kept).steps(None, IPTABLES);
    let script = steps.script.expect("a change");
    for line in [
        "-D INPUT -m comment --comment shoal -j SHOAL-INPUT",
        "-F SHOAL-INPUT",
        "-X SHOAL-INPUT",
        "-X SHOAL-FORWARD",
    ] {
        assert!(script.lines().any(|is| is == line), "{line}: {script}");
    }
    assert!(steps.kept.is_empty());
    assert!(Table::read(UFW).steps(None, IPTABLES).script.is_none());
}

#[test]
fn in_ipv6_neighbours_are_found_and_the_same_is_passed_on_where_networks_have_it() {
    let narrow = Table::read(UFW).steps(Some(&openings()), IP6TABLES);
    assert!(
        narrow.script.is_none() && narrow.kept.is_empty(),
        "there is no IPv6"
    );
    let mut with = view(3, 1);
    widen(&mut with, 1);
    let openings = Openings::of(&with);
    let steps = Table::read(UFW).steps(Some(&openings), IP6TABLES);
    let script = steps.script.expect("a change");
    assert!(script.contains("-A SHOAL-FORWARD -o shl+ -m conntrack --ctstate DNAT "));
    assert!(script.contains("--icmpv6-type 135 ") && script.contains("--icmpv6-type 136 "));
    assert!(
        !script.contains("10.99.0.") && !script.contains("4753"),
        "{script}"
    );
    let told = "ip6tables INPUT → SHOAL-INPUT: containers and the node find each other";
    assert_eq!(steps.kept[0], told);
    // Without such a network nothing of ours stays.
    let lines: Vec<String> = script.lines().map(str::to_owned).collect();
    let kept = Table::read(&carried_out(UFW, &lines));
    assert!(kept.steps(Some(&openings), IP6TABLES).script.is_none());
    let left = kept.steps(Some(&self::openings()), IP6TABLES);
    assert!(left.script.expect("a change").contains("-X SHOAL-FORWARD"));
}
