//! Whether a stream is written in colours.

use std::io::IsTerminal;

use clap::ValueEnum;

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

impl Colour {
    /// For standard error.
    pub fn of_stderr(self) -> bool {
        self.decide(std::io::stderr().is_terminal(), &|name| std::env::var(name).ok())
    }

    /// For standard output.
    pub fn of_stdout(self) -> bool {
        self.decide(std::io::stdout().is_terminal(), &|name| std::env::var(name).ok())
    }

    /// The flag before `NO_COLOR`, before those that force it, before `TERM=dumb`, before what the stream is.
    fn decide(self, is_terminal: bool, variable: &dyn Fn(&str) -> Option<String>) -> bool {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
            Colour::Auto if is_set("CLICOLOR_FORCE") || is_set("FORCE_COLOR") => true,
            Colour::Auto if variable("TERM").as_deref() == Some("dumb") => false,
            Colour::Auto => is_terminal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_stand_in_their_order() {
        let with = |flag: Colour, terminal: bool, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            flag.decide(terminal, &variable)
        };
        assert!(with(Colour::Always, false, &[("NO_COLOR", "1")]));
        assert!(!with(Colour::Never, true, &[("FORCE_COLOR", "1")]));
        assert!(!with(Colour::Auto, true, &[("NO_COLOR", "1"), ("FORCE_COLOR", "1")]));
        assert!(with(Colour::Auto, true, &[("NO_COLOR", "")]));
        assert!(with(Colour::Auto, false, &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")]));
        assert!(!with(Colour::Auto, true, &[("TERM", "dumb")]));
        assert!(with(Colour::Auto, true, &[]));
        assert!(!with(Colour::Auto, false, &[]));
    }
}
