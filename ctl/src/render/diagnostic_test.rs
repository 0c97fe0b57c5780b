//! How findings look.

use super::*;

#[test]
fn a_finding_shows_its_line_and_what_belongs_to_it() {
    let mut sources = Sources::default();
    let file = sources.add("c.yml", "services:\n  web:\n    imäge: nginx\n    image: redis\n");
    let place = |line, column, width| Place {
        file,
        line,
        column,
        width,
    };
    let mut findings = Findings::default();
    findings.push(
        Finding::error("a.b", "is wrong")
            .at(place(3, 5, 5))
            .and(place(4, 5, 5), "see here"),
    );
    findings.push(Finding::warning("", "nothing to point at"));
    let shown = text(&sources, &findings, Style::Plain);
    let wanted = "\
warning: nothing to point at

error: a.b: is wrong
 --> c.yml:3:5
  |
3 |     imäge: nginx
  |     ^^^^^
  |
 ::: c.yml:4:5
  |
4 |     image: redis
  |     ----- see here

1 error, 1 warning
";
    assert_eq!(shown, wanted);
}

#[test]
fn long_lines_are_cut_around_the_place() {
    let mut sources = Sources::default();
    let file = sources.add(
        "c.yml",
        format!("a: [{}x{}]", "é, ".repeat(400), ", b".repeat(400)),
    );
    let mut findings = Findings::default();
    findings.push(Finding::error("a", "wrong").at(Place {
        file,
        line: 1,
        column: 1205,
        width: 1,
    }));
    findings.push(Finding::error("a", "past the end").at(Place {
        file,
        line: 9,
        column: 99_999,
        width: 9,
    }));
    let shown = text(&sources, &findings, Style::Plain);
    assert!(shown.lines().all(|line| line.chars().count() < 250), "{shown}");
    assert!(shown.contains(" x, b"), "{shown}");
}

#[test]
fn machines_get_the_same_in_the_same_order() {
    let mut sources = Sources::default();
    let file = sources.add("c.yml", "a: 1\n");
    let mut findings = Findings::default();
    findings.push(Finding::error("a", "wrong").at(Place {
        file,
        line: 1,
        column: 4,
        width: 1,
    }));
    let list = json(&sources, &findings);
    assert_eq!(
        (list[0].level, list[0].file, list[0].line, list[0].column),
        ("error", Some("c.yml"), Some(1), Some(4))
    );
}
