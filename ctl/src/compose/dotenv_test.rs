//! Environment files, line by line.

use proptest::prelude::*;

use super::*;

fn lookup(name: &str) -> Option<String> {
    (name == "HOME").then(|| "/root".to_owned())
}

fn read(text: &str) -> (Vec<(String, Option<String>)>, Vec<String>) {
    let mut sources = Sources::default();
    let file = sources.add(".env", text);
    let mut findings = Findings::default();
    let list = parse(&sources, file, &lookup, &mut findings);
    let sorted = findings.sorted();
    let shown = sorted
        .iter()
        .map(|f| format!("{}: {}", sources.show(f.place.unwrap()), f.message))
        .collect();
    (list.into_iter().map(|v| (v.name, v.value)).collect(), shown)
}

fn value(line: &str) -> String {
    let (list, shown) = read(line);
    assert!(shown.is_empty(), "{shown:?}");
    list.last().unwrap().1.clone().unwrap()
}

#[test]
fn values_lose_quotes_comments_and_blanks_around_them() {
    let cases = [
        ("A=1", "1"),
        ("A = 1  ", "1"),
        ("export A=1", "1"),
        ("A: yaml", "yaml"),
        ("A=x # comment", "x"),
        ("A=x#no comment", "x#no comment"),
        ("A=#x", "#x"),
        ("A= # nothing", ""),
        ("A=", ""),
        ("A=\"quoted # kept\" # comment", "quoted # kept"),
        ("A='single $HOME'", "single $HOME"),
        ("A='it\\'s'", "it's"),
        ("A='\\n'", "\\n"),
        ("A=\"a\\nb\\t\\\"c\\\" \\$HOME\"", "a\nb\t\"c\" $HOME"),
        ("A=\"two\nlines\"", "two\nlines"),
        ("A=1\r\n", "1"),
        ("\u{feff}A=1", "1"),
    ];
    for (text, wanted) in cases {
        assert_eq!(value(text), wanted, "{text:?}");
    }
}

#[test]
fn variables_of_the_caller_go_before_those_of_earlier_lines() {
    assert_eq!(value("B=1\nA=${B}-$HOME-${NOPE:-d}"), "1-/root-d");
    assert_eq!(value("HOME=/mine\nA=$HOME"), "/root");
}

#[test]
fn a_name_alone_is_taken_from_the_caller() {
    let (list, shown) = read("A\nB # c\n");
    assert!(shown.is_empty());
    assert_eq!(list, [("A".into(), None), ("B".into(), None)]);
}

#[test]
fn mistakes_have_a_place_and_the_rest_is_read() {
    let (list, shown) = read("A B=1\nC=\"x\" y\nD=${NOPE}\nE=2\nF='open\n");
    assert_eq!(
        list,
        [("D".into(), Some(String::new())), ("E".into(), Some("2".into()))]
    );
    assert_eq!(
        shown[0],
        ".env:1:3: unexpected 'B' in the name of a variable; expected NAME=value"
    );
    assert!(shown[1].starts_with(".env:2:7: unexpected 'y'"));
    assert!(shown[2].starts_with(".env:3:1: variable NOPE"));
    assert!(shown[3].starts_with(".env:5:3: this quote"));
}

#[test]
fn the_raw_format_keeps_everything_behind_the_sign() {
    let mut sources = Sources::default();
    let file = sources.add("app.env", "# c\nQ=\"q\"\n  I=x # no\nT=v  \nP\nbad name=1\n");
    let mut findings = Findings::default();
    let list = parse_raw(&sources, file, &mut findings);
    let list: Vec<_> = list.into_iter().map(|v| (v.name, v.value)).collect();
    assert_eq!(
        list,
        [
            ("Q".into(), Some("\"q\"".into())),
            ("I".into(), Some("x # no".into())),
            ("T".into(), Some("v  ".into())),
            ("P".into(), None),
        ]
    );
    assert_eq!(findings.sorted().len(), 1);
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(text in "[A-C=: '\"\\\\#$\\{\\}\n\t-]{0,80}") {
        read(&text);
    }

    #[test]
    fn a_single_quoted_value_comes_back(value_text in "[a-zA-Z0-9 $#\"=\n]{0,30}") {
        prop_assert_eq!(value(&format!("A='{value_text}'")), value_text);
    }
}
