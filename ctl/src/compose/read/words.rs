//! A command line in one text, split into words the way a POSIX shell quotes, without running one.

/// The words of a text.
///
/// # Errors
/// A quote is not closed, or the text ends with a backslash.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("the command ends with a backslash".to_owned()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    let open = || format!("a {quote} in the command is not closed");
    loop {
        match chars.next().ok_or_else(open)? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next().ok_or_else(open)? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                '\n' => {}
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("echo  hi", &["echo", "hi"]),
            ("sh -c 'a b; c'", &["sh", "-c", "a b; c"]),
            ("a\"b c\"d ''", &["ab cd", ""]),
            ("\"a\\\"b\\n\" c\\ d", &["a\"b\\n", "c d"]),
            ("echo cost $5 > x", &["echo", "cost", "$5", ">", "x"]),
        ];
        for (text, wanted) in cases {
            assert_eq!(split(text).unwrap(), *wanted, "{text}");
        }
        assert!(split("echo 'x").unwrap_err().contains("not closed"));
        assert!(split("x\\").unwrap_err().contains("backslash"));
    }
}
