//! The one error type of the library.

/// Everything that can go wrong, each as one sentence that names the place and the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation was given tensors whose shapes do not fit together.
    #[error("{op}: {message}")]
    Shape {
        /// Name of the operation, the stem of its kernel.
        op: String,
        /// The shapes that were given and what was expected.
        message: String,
    },
    /// A file could not be read, understood or written.
    #[error("{path}: {message}")]
    File {
        /// The file, followed by `:line` where a line is known.
        path: String,
        /// The fault and the remedy.
        message: String,
    },
    /// A value that the caller gave is out of range or unknown.
    #[error("{0}")]
    Invalid(String),
    /// The command line or recipe is wrong; the program exits with 2.
    #[error("{0}")]
    Usage(String),
    /// No adapter answers the request.
    #[error("{0}")]
    NoAdapter(String),
    /// The adapter's memory or limits do not suffice.
    #[error("{0}")]
    OutOfMemory(String),
    /// The device was lost while work was under way.
    #[error("{0}")]
    DeviceLost(String),
    /// The driver refused a kernel or a command.
    #[error("{0}")]
    Gpu(String),
    /// The user asked to stop; everything is saved.
    #[error("stopped on request")]
    Interrupted,
    /// An error that another request would not meet.
    #[error("{error}; {remedy}")]
    Advised {
        /// What is wrong.
        error: Box<Error>,
        /// The remedy.
        remedy: Remedy,
    },
}

/// The remedy, where a message cannot name it: a program changes a field, a command has an option for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Remedy {
    /// To write into another folder.
    #[error("give another folder")]
    OtherFolder,
    /// To go on with the run that the folder holds, or to write into another.
    #[error("resume it, or give another folder")]
    ResumeOrOtherFolder,
    /// To begin a new run in another folder.
    #[error("begin a new run in another folder")]
    NewRun,
    /// To go on with the run.
    #[error("resume the run")]
    Resume,
    /// The data of before, or leave to go on with others.
    #[error("give the run's own, or allow other data")]
    OtherData,
    /// To say how much memory batches may fill.
    #[error("say how much memory batches may fill")]
    MemoryLimit,
    /// To name data.
    #[error("name a manifest or folder")]
    NameData,
}

/// `Result` with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A shape error of operation `op`.
    pub fn shape(op: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Shape { op: op.into(), message: printable(message.into()) }
    }

    /// An error about the file `path`.
    pub fn file(path: impl AsRef<std::path::Path>, message: impl Into<String>) -> Self {
        let path = printable(path.as_ref().display().to_string());
        Self::File { path, message: printable(message.into()) }
    }

    /// An error about line `line` (from 1) of the file `path`.
    pub fn line(path: impl AsRef<std::path::Path>, line: usize, message: impl Into<String>) -> Self {
        let path = printable(path.as_ref().display().to_string());
        Self::File { path: format!("{path}:{line}"), message: printable(message.into()) }
    }

    /// A value out of range or unknown.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(printable(message.into()))
    }

    /// The error with what to ask for instead.
    pub fn advise(self, remedy: Remedy) -> Self {
        Self::Advised { error: Box::new(self), remedy }
    }

    /// The fault, without the remedy: the variant to match.
    pub fn kind(&self) -> &Self {
        match self {
            Self::Advised { error, .. } => error.kind(),
            other => other,
        }
    }

    /// A wrong command line or recipe.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(printable(message.into()))
    }
}

/// The text with control characters as their escapes: what files hold neither breaks a line nor reaches a terminal as a
/// command.
fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut printable = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character.is_control() {
            true => printable.extend(character.escape_default()),
            false => printable.push(character),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_hold_stays_in_one_line() {
        let errors = [
            Error::invalid("unknown field `a\n\u{1b}[2Jb`"),
            Error::usage("unknown field `a\n\u{1b}[2Jb`"),
            Error::shape("add", "unknown field `a\n\u{1b}[2Jb`"),
        ];
        for error in errors {
            assert!(error.to_string().ends_with(r"unknown field `a\n\u{1b}[2Jb`"), "{error}");
        }
        assert_eq!(Error::line("a\rb", 3, "é  is\tthere").to_string(), r"a\rb:3: é  is\tthere");
    }
}
