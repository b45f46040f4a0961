//! Runs a parser on many inputs.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use polymix::error::Error;

use super::allocator::peak;
use super::mutation;

/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(10);
/// Bytes that a parser may hold for itself.
const ROOM: usize = 64 << 20;
/// Bytes that it may hold for each byte of the input or of what it gives.
const FACTOR: usize = 3;
/// Inputs of a target in a run of all tests.
const FEW: u64 = 200;

/// A parser of files from outside.
pub struct Target<'a> {
    /// What failures are reported under: the test's name.
    pub name: &'a str,
    /// Small valid files.
    pub seeds: Vec<Vec<u8>>,
    /// Words of the format.
    pub tokens: &'a [&'a [u8]],
    /// Parses, and tells how many bytes it gives.
    pub parse: &'a mut dyn FnMut(&[u8]) -> Result<usize, Error>,
    /// Inputs of a run of all tests are a share of the usual number where one takes long.
    pub share: u64,
}

thread_local! {
    /// Where and with what words this thread has panicked.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if FUZZING.get() {
                PANIC.set(panic.to_string().replace('\n', " "));
            } else {
                loud(panic);
            }
        }));
    });
}

thread_local! {
    static FUZZING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

impl Target<'_> {
    /// Tries the parser on as many inputs as the environment says.
    ///
    /// # Panics
    /// Names the first inputs that break the promise.
    pub fn run(self) {
        self.run_of(FEW);
    }

    /// As [`Target::run`], with another number of inputs in a run of all tests.
    pub fn run_of(self, usual: u64) {
        quiet_panics();
        let told = number("POLYMIX_FUZZ");
        let (first, count) = match number("POLYMIX_FUZZ_AT") {
            Some(at) => (at, 1),
            None => (0, told.unwrap_or((usual / self.share).max(20)).max(self.seeds.len() as u64)),
        };
        let begun = Instant::now();
        let watch = Watch::begin(self.name);
        let (mut failures, mut values) = (Vec::new(), 0);
        for number in first..first + count {
            let input = mutation::input(self.name, number, &self.seeds, self.tokens);
            watch.at(number);
            let begun = Instant::now();
            FUZZING.set(true);
            let (result, peak) = peak(|| {
                let parsed = catch_unwind(AssertUnwindSafe(|| (self.parse)(&input)));
                parsed.map(|parsed| parsed.map_err(|error| error.to_string()))
            });
            FUZZING.set(false);
            let (seconds, mut given) = (begun.elapsed().as_secs_f64(), 0);
            let mut complaint = match result {
                Err(_) => Some(format!("panics: {}", PANIC.take())),
                Ok(Err(message)) if message.contains(['\n', '\r']) => {
                    Some(format!("gives an error of several lines: {message:?}"))
                }
                Ok(Err(message)) if message.trim().is_empty() => Some("gives an empty error".to_owned()),
                Ok(Err(message)) if number < self.seeds.len() as u64 => {
                    Some(format!("refuses a valid file: {message}"))
                }
                Ok(Err(_)) => None,
                Ok(Ok(bytes)) => {
                    (given, values) = (bytes, values + 1);
                    None
                }
            };
            if peak > ROOM + FACTOR * (input.len() + given) {
                complaint.get_or_insert(format!("holds {} MiB for {given} bytes", peak >> 20));
            }
            if seconds > LONGEST.as_secs_f64() {
                complaint.get_or_insert(format!("takes {seconds:.1} s"));
            }
            if let Some(complaint) = complaint {
                failures.push(format!("{} {number} {complaint}; its bytes: {}", self.name, hex(&input)));
                if failures.len() == 5 {
                    break;
                }
            }
        }
        drop(watch);
        assert!(failures.is_empty(), "\n{}", failures.join("\n"));
        if told.is_some() {
            println!(
                "{}: {count} inputs in {:.0} s, {values} of them valid",
                self.name,
                begun.elapsed().as_secs_f64()
            );
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(4096) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > 4096 {
        text.push('…');
    }
    text
}

/// Ends the process when an input takes for ever.
struct Watch(Arc<(AtomicU64, AtomicBool)>);

impl Watch {
    fn begin(name: &str) -> Self {
        let shared = Arc::new((AtomicU64::new(u64::MAX), AtomicBool::new(false)));
        let (seen, name) = (shared.clone(), name.to_owned());
        std::thread::spawn(move || {
            let (mut last, mut since) = (u64::MAX, Instant::now());
            while !seen.1.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
                let now = seen.0.load(Ordering::Relaxed);
                if now != last {
                    (last, since) = (now, Instant::now());
                } else if since.elapsed() > 12 * LONGEST {
                    // Not by a macro, whose output the test's harness keeps to itself.
                    let _ = writeln!(
                        std::io::stderr(),
                        "{name} {now} does not end; POLYMIX_FUZZ_AT={now} tries it again"
                    );
                    std::process::abort();
                }
            }
        });
        Self(shared)
    }

    fn at(&self, number: u64) {
        self.0.0.store(number, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.1.store(true, Ordering::Relaxed);
    }
}

/// Tries `parse` on the bytes of a text that may not be one.
pub fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A folder for files of one target, in memory where that is possible.
pub fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}
