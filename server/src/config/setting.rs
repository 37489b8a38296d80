//! A value of the configuration and where it came from.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A value and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in effect.
    pub value: T,
    /// Who set it.
    pub origin: Origin,
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// Who set a value, strongest last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// Follows from another setting, the one named.
    Derived(&'static str),
    /// The file given with `--config`.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Derived(from) => write!(f, "follows from {from}"),
            Self::File(path) => f.write_str(&path.display().to_string()),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Picks the strongest of what flag or variable, file and default say.
pub(super) struct Picker<'a> {
    pub(super) file: Option<&'a Path>,
    /// Whether the option of this name was given by an environment variable rather than a flag.
    pub(super) is_from_environment: &'a dyn Fn(&str) -> bool,
}

impl Picker<'_> {
    /// `name` is the flag without its dashes, which is the key in the file too.
    pub(super) fn pick<T>(&self, name: &str, given: Option<T>, in_file: Option<T>, default: T) -> Setting<T> {
        self.pick_or(name, given, in_file, || Setting { value: default, origin: Origin::Default })
    }

    pub(super) fn pick_or<T>(
        &self,
        name: &str,
        given: Option<T>,
        in_file: Option<T>,
        otherwise: impl FnOnce() -> Setting<T>,
    ) -> Setting<T> {
        if let Some(value) = given {
            let id = name.replace('-', "_");
            let origin = match (self.is_from_environment)(&id) {
                true => Origin::Environment(format!("IOTHUB_EMULATOR_{}", id.to_ascii_uppercase())),
                false => Origin::Flag(format!("--{name}")),
            };
            return Setting { value, origin };
        }
        match in_file {
            Some(value) => {
                let path = self.file.unwrap_or_else(|| Path::new("")).to_owned();
                Setting { value, origin: Origin::File(path) }
            }
            None => otherwise(),
        }
    }
}
