//! The Engine's words as a person needs them, without the names of its inner parts. What is not known here stays as it is.

/// Inner parts that pass on what another said.
const PASSED_ON_BY: [&str; 10] = [
    "failed to create task for container: ",
    "failed to create shim task: ",
    "failed to create shim: ",
    "OCI runtime create failed: ",
    "OCI runtime exec failed: ",
    "runc create failed: ",
    "exec failed: ",
    "container_linux.go:380: starting container process caused: ",
    "unable to start container process: ",
    "error during container init: ",
];
/// What `runc` ends every error with.
const CLASS_UNKNOWN: &str = ": unknown";

pub(super) fn plain(words: &str) -> String {
    let mut said = words.trim();
    while let Some(rest) = PASSED_ON_BY.iter().find_map(|part| said.strip_prefix(part)) {
        said = rest;
    }
    if said.len() == words.trim().len() {
        return said.to_owned();
    }
    let said = said.replacen(&format!("{CLASS_UNKNOWN}: "), ": ", 1);
    let said = said.strip_suffix(CLASS_UNKNOWN).unwrap_or(&said);
    match said.strip_prefix("exec: ") {
        Some(command) => format!("cannot run the command {command}"),
        None => format!("container cannot be started: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_command_that_cannot_run_is_named_without_the_way_there() {
        assert_eq!(
            plain(
                "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create \
                 failed: unable to start container process: exec: \"/nope\": stat /nope: no such file or directory: unknown"
            ),
            "cannot run the command \"/nope\": stat /nope: no such file or directory"
        );
        assert_eq!(
            plain(
                "failed to create shim task: OCI runtime create failed: runc create failed: wrong rlimit value: X: unknown"
            ),
            "container cannot be started: wrong rlimit value: X"
        );
    }

    #[test]
    fn other_words_stay() {
        assert_eq!(plain("manifest unknown"), "manifest unknown");
        assert_eq!(plain("a volume: unknown"), "a volume: unknown");
    }
}
