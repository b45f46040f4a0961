//! Which file operation of a run fails, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, PoisonError};

use polymix::files::{Fault, Operation, inject};

/// What happens at the operation `at` of a run, counted from 1.
#[derive(Debug, Clone)]
pub struct Plan {
    pub at: u64,
    /// The process is killed.
    pub kill: bool,
    /// The operation fails.
    pub error: Option<ErrorKind>,
    /// All that follow fail too, but what removes.
    pub from_then_on: bool,
    /// Only what needs room fails.
    pub only_writes: bool,
    /// A write is half done before.
    pub cut: bool,
    /// Whether the file system can exchange names.
    pub exchange: bool,
}

impl Default for Plan {
    /// Nothing happens.
    fn default() -> Self {
        Self {
            at: u64::MAX,
            kill: false,
            error: None,
            from_then_on: false,
            only_writes: false,
            cut: false,
            exchange: true,
        }
    }
}

/// Kills, as a parent tells its child.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.at, self.cut, self.exchange)?;
        match self.error {
            None => Ok(()),
            Some(kind) => write!(f, " {kind:?}, from then on: {}", self.from_then_on),
        }
    }
}

impl FromStr for Plan {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let [at, cut, exchange] = text.split(' ').collect::<Vec<_>>()[..] else { return Err(()) };
        let flag = |text: &str| text.parse().map_err(|_| ());
        let at = at.parse().map_err(|_| ())?;
        Ok(Self { at, kill: true, cut: flag(cut)?, exchange: flag(exchange)?, ..Self::default() })
    }
}

static PLANS: Mutex<BTreeMap<PathBuf, (Plan, u64)>> = Mutex::new(BTreeMap::new());

fn plans() -> std::sync::MutexGuard<'static, BTreeMap<PathBuf, (Plan, u64)>> {
    static HOOK: LazyLock<()> = LazyLock::new(|| inject(hook));
    LazyLock::force(&HOOK);
    PLANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, `plan` is what happens to the run in `folder`.
pub fn set(folder: &Path, plan: Plan) {
    plans().insert(folder.to_path_buf(), (plan, 0));
}

/// How many operations there were since.
pub fn count(folder: &Path) -> u64 {
    plans()[folder].1
}

fn hook(operation: Operation<'_>) -> Option<Fault> {
    let (path, needs_room, removes) = match operation {
        Operation::MakeFolder(path) | Operation::Open(path) | Operation::Write(path, _) => {
            (path, true, false)
        }
        Operation::Sync(path) | Operation::Rename(path, _) | Operation::Exchange(path, _) => {
            (path, false, false)
        }
        Operation::Truncate(path) | Operation::RemoveFile(path) | Operation::RemoveFolder(path) => {
            (path, false, true)
        }
    };
    let mut plans = plans();
    let (plan, count) =
        plans.iter_mut().find(|(folder, _)| path.starts_with(folder)).map(|(_, plan)| plan)?;
    *count += 1;
    if plan.kill && *count >= plan.at {
        match operation {
            // The next operation is the end.
            Operation::Write(_, length) if *count == plan.at && plan.cut => {
                return Some(Fault::Cut(length / 2, ErrorKind::Other.into()));
            }
            _ => kill(),
        }
    }
    let due = *count == plan.at || (plan.from_then_on && *count > plan.at && !removes);
    if let Some(kind) = plan.error.filter(|_| due && (needs_room || !plan.only_writes)) {
        return Some(match operation {
            Operation::Write(_, length) if plan.cut => Fault::Cut(length / 2, kind.into()),
            _ => Fault::Error(kind.into()),
        });
    }
    match operation {
        Operation::Exchange(..) if !plan.exchange => Some(Fault::Error(ErrorKind::Unsupported.into())),
        _ => None,
    }
}

fn kill() -> ! {
    let _ = std::process::Command::new("sh").args(["-c", "kill -9 $PPID"]).status();
    loop {
        std::thread::park();
    }
}
