//! How a file becomes a tree, and what it must not contain.

use proptest::prelude::*;

use super::*;
use crate::compose::source::MAX_FILE_BYTES;

fn read(text: &str) -> (Option<Node>, Vec<String>) {
    let mut sources = Sources::default();
    let file = sources.add("c.yml", text);
    let mut findings = Findings::default();
    let tree = parse(&sources, file, &mut findings);
    let shown = findings
        .sorted()
        .iter()
        .map(|f| {
            format!(
                "{}: {}",
                f.place.map(|p| sources.show(p)).unwrap_or_default(),
                f.message
            )
        })
        .collect();
    (tree, shown)
}

fn refused(text: &str) -> String {
    let (_, shown) = read(text);
    assert_eq!(shown.len(), 1, "{shown:?}");
    shown[0].clone()
}

fn at<'a>(tree: &'a Node, path: &[&str]) -> &'a Node {
    path.iter()
        .fold(tree, |node, key| node.as_map().unwrap().get(key).unwrap())
}

#[test]
fn keys_and_values_know_their_place_in_characters() {
    let (tree, shown) = read("ä: {b: \"ü\", c: 0644}\nweb:\n  image: nginx # x\n");
    assert!(shown.is_empty());
    let tree = tree.unwrap();
    let place = at(&tree, &["ä", "c"]).place;
    assert_eq!((place.line, place.column, place.width), (1, 16, 4));
    let entry = at(&tree, &["web"]).as_map().unwrap().entry("image").unwrap();
    assert_eq!(
        (entry.place.line, entry.place.column, entry.place.width),
        (3, 3, 5)
    );
    assert_eq!((entry.value.place.column, entry.value.place.width), (10, 5));
}

#[test]
fn scalars_stay_as_they_were_written() {
    let (tree, _) = read("a: 0644\nb: '0644'\nc: 1.10\nd: ~\ne: !!str null\nf: \"\"\ng:\n");
    let tree = tree.unwrap();
    let text = |key: &str| match &at(&tree, &[key]).value {
        Value::Scalar(scalar) => (scalar.text.clone(), scalar.is_null()),
        other => panic!("{other:?}"),
    };
    assert_eq!(text("a"), ("0644".into(), false));
    assert_eq!(text("c"), ("1.10".into(), false));
    assert!(text("d").1 && text("g").1);
    assert_eq!(text("e"), ("null".into(), false));
    assert_eq!(text("f"), (String::new(), false));
}

#[test]
fn merge_keys_take_in_what_the_mapping_does_not_say_itself() {
    let text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\nd:\n  <<: *b\n";
    let (tree, shown) = read(text);
    assert!(shown.is_empty(), "{shown:?}");
    let tree = tree.unwrap();
    let text = |path: &[&str]| at(&tree, path).as_scalar().unwrap().text.clone();
    assert_eq!(text(&["c", "x"]), "3");
    assert_eq!(text(&["c", "y"]), "1");
    assert_eq!(text(&["c", "z"]), "2");
    assert_eq!(text(&["d", "y"]), "2");
    assert!(at(&tree, &["c"]).as_map().unwrap().get("<<").is_none());
}

#[test]
fn a_merge_key_wants_mappings() {
    assert!(refused("a: &a [1]\nb:\n  <<: *a\n").contains("<<: takes a mapping"));
}

#[test]
fn tags_steer_merging_and_others_are_refused() {
    let (tree, _) = read("a: !reset null\nb: !override [x]\nc: !override {d: 1}\n");
    let tree = tree.unwrap();
    assert_eq!(at(&tree, &["a"]).tag, Tag::Reset);
    assert_eq!(at(&tree, &["b"]).tag, Tag::Override);
    assert_eq!(at(&tree, &["c"]).tag, Tag::Override);
    assert!(refused("a: !rest null\n").contains("unknown tag !rest"));
}

#[test]
fn a_repeated_key_names_both_places() {
    let mut sources = Sources::default();
    let file = sources.add("c.yml", "web:\n  image: a\n  image: b\n");
    let mut findings = Findings::default();
    assert!(parse(&sources, file, &mut findings).is_some());
    let finding = findings.sorted()[0].clone();
    assert_eq!(finding.place.map(|p| (p.line, p.column)), Some((3, 3)));
    assert_eq!(finding.related[0].0.line, 2);
}

#[test]
fn several_documents_are_refused() {
    assert!(refused("a: 1\n---\nb: 2\n").starts_with("c.yml:2:1: a second YAML document"));
    let (tree, shown) = read("---\na: 1\n");
    assert!(tree.is_some() && shown.is_empty());
}

#[test]
fn tabs_as_indentation_are_named_but_tabs_in_text_are_content() {
    assert_eq!(
        refused("a:\n\tb: 1\n"),
        "c.yml:2:1: tab used for indentation; YAML wants blanks"
    );
    assert!(refused("a:\n  b: 1\n  \tc: 2\n").starts_with("c.yml:3:3: tab"));
    let (tree, shown) = read("a: |\n  all:\n  \techo\nb: \"x\n \ty\"\n# c\n\t# d\nc: 1\n");
    assert!(shown.is_empty(), "{shown:?}");
    assert_eq!(
        at(&tree.unwrap(), &["a"]).as_scalar().unwrap().text,
        "all:\n\techo\n"
    );
}

#[test]
fn an_alias_inside_its_own_value_is_refused() {
    assert!(refused("a: &x [1, *x]\n").starts_with("c.yml:1:11: this alias"));
    assert!(refused("a: *nope\n").contains("not valid YAML"));
}

#[test]
fn a_forgotten_blank_is_guessed() {
    let message = refused("services:\n  web:\n    image:nginx\n    ports: [80]\n");
    assert!(message.contains("write a blank after \"image:\""), "{message}");
}

#[test]
fn a_variable_in_a_flow_list_without_quotes_is_explained() {
    let message = refused("a: [x, B=${X:-2}]\n");
    assert!(message.contains("needs quotes"), "{message}");
    let (_, shown) = read("a: [x, \"B=${X:-2}\"]\n");
    assert!(shown.is_empty());
}

#[test]
fn limits_hold() {
    let deep = "[".repeat(100_000);
    let message = refused(&deep);
    assert!(message.contains("levels deep"), "{message}");
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let refs = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }
    assert!(refused(&bomb).contains("once aliases are written out"));
    let chain: String = (1..80)
        .map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1))
        .collect::<Vec<_>>()
        .concat();
    assert!(refused(&format!("a0: &a0 x\n{chain}")).contains("levels deep"));
    assert!(refused(&" ".repeat(MAX_FILE_BYTES + 1)).contains("the limit is"));
    assert!(refused("").contains("empty"));
    assert!(refused("# only a comment\n").contains("empty"));
    assert!(read("---\n").0.is_some_and(|tree| tree.is_null()));
    assert!(refused("a: \u{0}\n").contains("U+0000"));
}

#[test]
fn keys_must_be_single_values() {
    assert!(refused("[a]: 1\n").contains("single value"));
    assert!(refused("? {a: 1}\n: 1\n").contains("single value"));
    assert!(refused(": 1\n").contains("key is missing"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        read(&text);
    }

    #[test]
    fn no_soup_of_yaml_signs_makes_it_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "a", ":", " ", "\n", "- ", "  ", "[", "]", "{", "}", "&x ", "*x", "!reset ", "<<", "|", ">", "\"", "'",
                "#", "?", ",", "---", "...", "%", "\t", "~", "!!str ", "é", "\r\n", "@", "`", "\\", "|-", "0x1",
            ]),
            0..60,
        )
    ) {
        read(&parts.concat());
    }

    #[test]
    fn places_lie_inside_the_text(keys in prop::collection::btree_set("[a-z]{1,6}", 1..8)) {
        let text: String = keys.iter().map(|key| format!("{key}: [{key}, {{x: {key}}}]\n")).collect();
        let (tree, _) = read(&text);
        let lines: Vec<&str> = text.lines().collect();
        for entry in &tree.unwrap().as_map().unwrap().entries {
            let line = lines[entry.place.line - 1];
            prop_assert_eq!(&line[entry.place.column - 1..][..entry.place.width], entry.key.as_str());
        }
    }
}
