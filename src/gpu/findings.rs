//! Results of self-tests of an adapter's driver and of measurements, kept for later processes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Preferred;

/// Findings about an adapter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Kernels that its driver computes wrongly or slowly, with what was seen.
    pub set_aside: BTreeMap<String, String>,
    /// The self-test of its cooperative matrices.
    pub matrices: Option<MatrixSelfTest>,
    /// Kernels that were measured to be faster than those of the static rules, by class; `None` where nothing was measured.
    pub tuned: Option<BTreeMap<String, Faster>>,
}

/// A kernel that was measured to be faster than that of the static rules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Faster {
    /// Its name.
    pub kernel: String,
    /// The times, in words.
    pub reason: String,
}

impl Finding {
    /// The kernels that take the place of the static rules' ones.
    pub fn preferred(&self) -> Preferred {
        let all = self.tuned.iter().flatten();
        all.map(|(class, faster)| (class.clone(), faster.kernel.clone())).collect()
    }
}

/// The result of the self-test of cooperative matrices.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MatrixSelfTest {
    /// Why they are not used.
    pub fault: Option<String>,
    /// Milliseconds of a matmul with them.
    pub milliseconds: f64,
    /// Milliseconds of the same matmul with the best kernel without them.
    pub plain_milliseconds: f64,
}

/// Findings by adapter, driver, version of the driver and kernels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings(BTreeMap<String, Finding>);

impl Findings {
    /// Findings about the adapter with this [`Gpu::identity`](super::Gpu::identity).
    pub fn of(&self, identity: &str) -> Option<&Finding> {
        self.0.get(&key(identity))
    }

    /// Puts down what was found out about it, for the kernels of this build.
    pub fn put(&mut self, identity: &str, finding: Finding) {
        // Of other builds nothing is known any more.
        let of_adapter = format!("{identity} | ");
        self.0.retain(|key, _| !key.starts_with(&of_adapter));
        self.0.insert(key(identity), finding);
    }
}

fn key(identity: &str) -> String {
    format!("{identity} | {:016x}", catalog())
}

/// A number of all kernels' sources, since what was found out of others says nothing of these.
fn catalog() -> u64 {
    let sources = crate::shader::ALL.iter().flat_map(|kernel| kernel.source.bytes());
    sources.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_of_one_driver_and_one_build() {
        let mut findings = Findings(BTreeMap::from([("card 1.0 | 0".to_owned(), Finding::default())]));
        assert_eq!(findings.of("card 1.0"), None, "another build's");
        let slow = Finding {
            set_aside: BTreeMap::from([("norm/softmax_vec4".to_owned(), "slow".to_owned())]),
            ..Finding::default()
        };
        findings.put("card 1.0", slow.clone());
        findings.put("card 1.1", Finding::default());
        let text = serde_json::to_string(&findings).unwrap();
        let read: Findings = serde_json::from_str(&text).unwrap();
        assert_eq!((read.of("card 1.0"), read.of("card 1.2")), (Some(&slow), None));
        assert_eq!(read.0.len(), 2);
    }
}
