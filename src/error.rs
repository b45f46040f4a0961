//! The one error type of the library.

/// Everything that can go wrong, each as one sentence that names the place and the remedy.
#[derive(Debug, Clone, thiserror::Error)]
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
        /// What is wrong and what to do about it.
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
}

/// `Result` with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A shape error of operation `op`.
    pub fn shape(op: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Shape { op: op.into(), message: message.into() }
    }

    /// An error about the file `path`.
    pub fn file(path: impl AsRef<std::path::Path>, message: impl Into<String>) -> Self {
        Self::File { path: path.as_ref().display().to_string(), message: message.into() }
    }

    /// An error about line `line` (from 1) of the file `path`.
    pub fn line(path: impl AsRef<std::path::Path>, line: usize, message: impl Into<String>) -> Self {
        Self::File { path: format!("{}:{line}", path.as_ref().display()), message: message.into() }
    }

    /// A value out of range or unknown.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// A wrong command line or recipe.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }
}
