//! The grammar of variables, form by form.

use proptest::prelude::*;

use super::*;

fn lookup(name: &str) -> Option<String> {
    match name {
        "SET" => Some("value".into()),
        "EMPTY" => Some(String::new()),
        "DOLLAR" => Some("${SET}".into()),
        _ => None,
    }
}

fn text(template: &str) -> String {
    expand(template, &lookup).unwrap().text
}

fn problem(template: &str) -> String {
    expand(template, &lookup).unwrap_err().to_string()
}

#[test]
fn every_operator_sees_set_empty_and_unset_apart() {
    let cases = [
        ("$SET ${SET}", "value value"),
        ("${EMPTY}", ""),
        ("${SET:-d} ${EMPTY:-d} ${NOPE:-d}", "value d d"),
        ("${SET-d} ${EMPTY-d} ${NOPE-d}", "value  d"),
        ("${SET:+r} ${EMPTY:+r} ${NOPE:+r}", "r  "),
        ("${SET+r} ${EMPTY+r} ${NOPE+r}", "r r "),
        ("${SET:?m} ${SET?m} ${EMPTY?m}", "value value "),
    ];
    for (template, wanted) in cases {
        assert_eq!(text(template), wanted, "{template}");
    }
}

#[test]
fn the_operator_is_the_first_after_the_name() {
    assert_eq!(
        problem("${NOPE:?must-be-set}"),
        "required variable NOPE is missing: must-be-set"
    );
    assert_eq!(problem("${EMPTY:?}"), "required variable EMPTY is missing");
    assert_eq!(text("${NOPE:-a?b+c-d}"), "a?b+c-d");
}

#[test]
fn words_nest_and_only_the_branch_taken_is_asked() {
    assert_eq!(text("${NOPE:-${ALSO:-${SET}}}"), "value");
    assert_eq!(text("${NOPE:-a${EMPTY:-b}c}"), "abc");
    assert_eq!(text("${SET:-${NOPE:?never}}"), "value");
    assert_eq!(
        expand("${SET:-${NOPE}}", &lookup).unwrap().unset,
        Vec::<String>::new()
    );
    assert_eq!(text("${NOPE:-{\"a\": {}}}"), "{\"a\": {}}");
    assert_eq!(
        problem("${NOPE:?see ${SET}}"),
        "required variable NOPE is missing: see value"
    );
}

#[test]
fn dollars_that_start_nothing_stay() {
    let cases = [
        ("$$", "$"),
        ("$$SET", "$SET"),
        ("$${SET}", "${SET}"),
        ("cost $5 $", "cost $5 $"),
        ("${}", "${}"),
    ];
    for (template, wanted) in cases {
        assert_eq!(text(template), wanted, "{template}");
    }
    assert_eq!(text("^/(sys|proc)($$|/)"), "^/(sys|proc)($|/)");
}

#[test]
fn values_are_not_expanded_again() {
    assert_eq!(text("$DOLLAR"), "${SET}");
}

#[test]
fn unset_variables_are_listed_once() {
    assert_eq!(
        expand("$A ${B} $A ${C:-x} ${D-}", &lookup).unwrap().unset,
        ["A", "B"]
    );
}

#[test]
fn malformed_templates_say_what_would_be_right() {
    assert!(problem("${SET").contains("not closed"));
    assert!(problem("${NOPE:-x").contains("not closed"));
    assert!(problem("${{ github.ref }}").contains("variable name"));
    assert!(problem("${SET!x}").contains(":- - :? ? :+ +"));
    assert!(problem(&format!("{}x{}", "${A:-".repeat(100), "}".repeat(100))).contains("nested"));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(template in "[${}:?+A-C -]{0,60}") {
        let _ = expand(&template, &lookup);
    }

    #[test]
    fn escaped_text_comes_back_as_it_was(plain in "\\PC{0,60}") {
        prop_assert_eq!(text(&plain.replace('$', "$$")), plain);
    }

    #[test]
    fn a_default_is_what_stands_there(word in "[a-z0-9 ./:?+-]{0,20}") {
        prop_assert_eq!(text(&format!("${{NOPE-{word}}}")), word.clone());
        prop_assert_eq!(text(&format!("${{SET+{word}}}")), word);
    }
}
