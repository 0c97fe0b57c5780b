//! `shoal completion`: the script for a shell; and `shoal __complete`, which the scripts ask. Neither fails for want of a
//! cluster.

use std::ffi::OsString;

use clap::{Args, Command};

use crate::complete::{self, Patience, Shell, Surroundings};
use crate::context::Contexts;
use crate::exit::Exit;
use crate::render::output::say;

/// Below the options.
pub const HELP: &str = "Where the script goes, for yourself (make the folder first):
  bash  shoal completion bash > ~/.local/share/bash-completion/completions/shoal
  zsh   shoal completion zsh > ~/.zfunc/_shoal    # with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  fish  shoal completion fish > ~/.config/fish/completions/shoal.fish

For everybody on a host (install.sh does that):
  bash  /usr/local/share/bash-completion/completions/shoal    # read by the package bash-completion
  zsh   /usr/local/share/zsh/site-functions/_shoal
  fish  /etc/fish/completions/shoal.fish

For this shell alone: source <(shoal completion bash)

Names of services, nodes, stacks and the like come from the cluster that the line is for; without an answer within a
second there are none.";

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// Which shell is to read it
    shell: Shell,
}

/// Arguments of `__complete`.
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// The words after the program's name, up to the one at the cursor
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

pub(crate) fn script(args: &CompletionArgs) -> Exit {
    say(args.shell.script());
    Exit::Done
}

/// Candidates for a line of `command` that is being typed; `host` is the manager to ask where the line names none.
pub(crate) async fn candidates(command: Command, host: Option<String>, args: CompleteArgs) -> Exit {
    let words = args.words.iter().map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = words.collect();
    let around = Surroundings {
        contexts: Contexts::of_user().ok(),
        host: host.filter(|host| !host.is_empty()),
        patience: Patience::default(),
    };
    say(&complete::answer(command, &words, &around).await);
    Exit::Done
}
