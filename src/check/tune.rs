//! The choice of kernels by measurement: where the static rules leave a device several kernels, the fastest of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use web_time::Instant;

use super::cases::{Make, Subject};
use super::prepared::Prepared;
use super::run::{base, kernels};
use super::sample::Sample;
use crate::error::{Error, Result};
use crate::exec::Class;
use crate::gpu::{Capabilities, Faster, Gpu, Preferred};
use crate::shader::Variant;

/// Kernels of a class that are timed, the static rules' one among them.
const MOST: usize = 4;
/// Another kernel than the rules' takes its place when it needs less than this share of its time.
const FASTER: f64 = 0.85;
/// Milliseconds below which a measurement says nothing.
const SHORTEST: f64 = 0.01;
/// Cases in which a kernel has to be right before it is timed.
const PROOFS: usize = 2;

/// The measurement of one class of dispatches.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The class, a [`Class`] in words.
    pub class: String,
    /// Milliseconds by kernel, those of the static rules' kernel first.
    pub times: Vec<(&'static str, f64)>,
    /// The kernel that the adapter is given from now on.
    pub chosen: &'static str,
}

impl Measured {
    /// What is put down where another kernel takes the place of the rules' one.
    fn faster(&self) -> Option<Faster> {
        let (rule, before) = *self.times.first()?;
        let (kernel, now) = *self.times.iter().find(|(kernel, _)| *kernel == self.chosen)?;
        let reason = format!("{now:.3} ms, {rule} {before:.3} ms");
        (kernel != rule).then(|| Faster { kernel: kernel.to_owned(), reason })
    }
}

/// The result of a tuning.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tuning {
    /// Every class that was measured.
    pub measured: Vec<Measured>,
    /// Classes and operations that there was no time or memory for.
    pub left: Vec<String>,
    /// Kernels that were wrong, and so not timed.
    pub wrong: Vec<String>,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Tuning {
    /// What was `known`, with the classes that were measured now as they are now.
    #[must_use]
    pub fn over(&self, known: BTreeMap<String, Faster>) -> BTreeMap<String, Faster> {
        let mut all = known;
        for measured in &self.measured {
            match measured.faster() {
                Some(faster) => all.insert(measured.class.clone(), faster),
                None => all.remove(&measured.class),
            };
        }
        all
    }

    /// Classes that get another kernel than the static rules'.
    pub fn changed(&self) -> usize {
        self.measured.iter().filter(|measured| measured.faster().is_some()).count()
    }
}

/// The kernel to take, of kernels with their milliseconds, of which the first is the static rules'.
fn decide(times: &[(&'static str, f64)]) -> Option<&'static str> {
    let (&(rule, before), others) = times.split_first()?;
    let fastest = others.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    let better = fastest.filter(|(_, now)| before >= SHORTEST && *now < FASTER * before);
    Some(better.map_or(rule, |(kernel, _)| kernel))
}

/// Times for each class of dispatches of the `subjects` up to four kernels of those that the adapter may run, each of which has
/// first given what its definition gives. Begins nothing that would not end within `seconds`, judged by what came before.
/// `tell` is called with what is under way.
///
/// # Errors
/// When the adapter cannot time its kernels, or the device is lost.
pub async fn tune(
    gpu: &Arc<Gpu>,
    subjects: &[(&'static str, Make<'_>)],
    seconds: f64,
    tell: &mut dyn FnMut(&str),
) -> Result<Tuning> {
    let own = Capabilities { preferred: Preferred::new(), ..gpu.capabilities().clone() };
    if !own.timestamps {
        return Err(Error::Gpu(format!("{} cannot time its kernels; the static rules stay", own.adapter)));
    }
    let class = own.class;
    let clock = Clock { began: Instant::now(), seconds, longest: 0.0 };
    let mut tuner = Tuner { gpu, own, clock, tuning: Tuning::default() };
    for (name, make) in subjects {
        if tuner.clock.is_over() {
            tuner.tuning.left.push((*name).to_owned());
            continue;
        }
        tell(name);
        match tuner.subject(make(class)).await {
            Err(Error::OutOfMemory(reason)) => tuner.tuning.left.push(format!("{name} ({reason})")),
            done => done?,
        }
    }
    tuner.tuning.seconds = tuner.clock.began.elapsed().as_secs_f64();
    Ok(tuner.tuning)
}

/// The time that is left.
struct Clock {
    began: Instant,
    seconds: f64,
    /// Seconds of the longest step so far.
    longest: f64,
}

impl Clock {
    fn is_over(&self) -> bool {
        self.began.elapsed().as_secs_f64() + self.longest > self.seconds
    }

    /// Puts down a step that began at this time.
    fn step(&mut self, began: Instant) {
        self.longest = self.longest.max(began.elapsed().as_secs_f64());
    }
}

struct Tuner<'a> {
    gpu: &'a Arc<Gpu>,
    /// Without anything preferred.
    own: Capabilities,
    clock: Clock,
    tuning: Tuning,
}

/// The milliseconds of samples that have a class: of the kernel that a preference names, and of all.
#[derive(Clone, Copy, Default)]
struct Time {
    kernel: f64,
    all: f64,
}

impl Tuner<'_> {
    /// These capabilities, and another kernel for some classes.
    fn with(&self, preferred: Preferred) -> Capabilities {
        Capabilities { preferred, ..self.own.clone() }
    }

    /// These capabilities, and `kernel` for the class.
    fn preferring(&self, class: Class, kernel: &str) -> Capabilities {
        self.with(Preferred::from([(class.to_string(), kernel.to_owned())]))
    }

    async fn subject(&mut self, subject: Subject) -> Result<()> {
        let began = Instant::now();
        let samples: Vec<Sample> = subject.timed.into_iter().map(Sample::new).collect::<Result<_>>()?;
        let mut checks = Checks { cases: Vec::new(), right: HashMap::new() };
        for case in subject.checked {
            checks.cases.push(Prepared::new(case)?);
        }
        self.clock.step(began);
        // The samples that have a class, and the kernels that could compute it.
        let mut classes: BTreeMap<Class, (Vec<&Sample>, &'static [&'static Variant])> = BTreeMap::new();
        for sample in &samples {
            for dispatch in sample.plan(&self.own)?.dispatches.iter().filter(|one| one.variants.len() > 1) {
                let (of, _) = classes.entry(dispatch.class).or_insert((Vec::new(), dispatch.variants));
                if !of.last().is_some_and(|last| std::ptr::eq(*last, sample)) {
                    of.push(sample);
                }
            }
        }
        for (class, (samples, variants)) in classes {
            let name = class.to_string();
            // What an earlier subject measured counts for this one.
            if self.tuning.measured.iter().any(|one| one.class == name) {
                continue;
            }
            if !self.measure(class, &samples, variants, &mut checks).await? {
                self.tuning.left.push(name);
            }
        }
        Ok(())
    }

    /// Measures one class; tells whether there was time for it.
    async fn measure(
        &mut self,
        class: Class,
        samples: &[&Sample],
        variants: &'static [&'static Variant],
        checks: &mut Checks,
    ) -> Result<bool> {
        let mut times: Vec<(&'static str, f64)> = Vec::new();
        let mut rule = Time::default();
        for name in variants.iter().map(|variant| variant.kernel.name).filter(|name| *name != class.rule) {
            if !self.takes(class, name, samples)? {
                continue;
            }
            if self.clock.is_over() {
                return Ok(false);
            }
            let began = Instant::now();
            if !checks.passes(self, name).await? {
                continue;
            }
            if times.is_empty() {
                rule = self.time(class, class.rule, samples).await?;
                times.push((class.rule, rule.kernel));
            }
            times.push((name, self.beside(rule, class, name, samples).await?));
            self.clock.step(began);
            if times.len() == MOST {
                break;
            }
        }
        let Some(mut chosen) = decide(&times) else { return Ok(true) };
        if chosen != class.rule {
            // A second measurement has to agree: the device may have been busy with something else.
            rule = self.time(class, class.rule, samples).await?;
            let again = self.beside(rule, class, chosen, samples).await?;
            chosen = decide(&[(class.rule, rule.kernel), (chosen, again)]).unwrap_or(class.rule);
        }
        self.tuning.measured.push(Measured { class: class.to_string(), times, chosen });
        Ok(true)
    }

    /// Whether the samples run `kernel` where it is preferred: its needs hold.
    fn takes(&self, class: Class, kernel: &'static str, samples: &[&Sample]) -> Result<bool> {
        let preferring = self.preferring(class, kernel);
        for sample in samples {
            if !kernels(&sample.plan(&preferring)?).contains(kernel) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The time of the samples with `kernel` for the class.
    async fn time(&self, class: Class, kernel: &'static str, samples: &[&Sample]) -> Result<Time> {
        let preferring = self.preferring(class, kernel);
        let mut time = Time::default();
        for sample in samples {
            for one in sample.times(self.gpu, &sample.plan(&preferring)?).await? {
                time.all += one.milliseconds;
                time.kernel += if base(one.kernel) == kernel { one.milliseconds } else { 0.0 };
            }
        }
        Ok(time)
    }

    /// The milliseconds of `kernel` in the place of the rules' one, whose time is `rule`: with all that changes beside it, as
    /// where it leaves another number of parts to be summed. Without end where the driver refuses it.
    async fn beside(
        &self,
        rule: Time,
        class: Class,
        kernel: &'static str,
        samples: &[&Sample],
    ) -> Result<f64> {
        match self.time(class, kernel, samples).await {
            Ok(time) => Ok((rule.kernel + time.all - rule.all).max(0.0)),
            Err(Error::Gpu(reason)) => {
                tracing::debug!("{kernel} is not timed: {reason}");
                Ok(f64::INFINITY)
            }
            Err(error) => Err(error),
        }
    }
}

/// Cases that show whether kernels are right.
struct Checks {
    cases: Vec<Prepared>,
    /// By kernel.
    right: HashMap<&'static str, bool>,
}

impl Checks {
    /// Whether `kernel` gives what the definition gives, in all cases that can run it, and these are enough.
    async fn passes(&mut self, tuner: &mut Tuner<'_>, kernel: &'static str) -> Result<bool> {
        if let Some(&right) = self.right.get(kernel) {
            return Ok(right);
        }
        let (mut proofs, mut faults) = (0, Vec::new());
        for case in &self.cases {
            let plan = case.sample().plan(&tuner.own)?;
            let could = plan
                .dispatches
                .iter()
                .filter(|one| one.variants.iter().any(|variant| variant.kernel.name == kernel));
            let preferred = could.map(|one| (one.class.to_string(), kernel.to_owned())).collect();
            let mut ran = false;
            for plan in case.every_plan(&tuner.with(preferred))? {
                if !kernels(&plan).contains(kernel) {
                    continue;
                }
                match case.run(tuner.gpu, plan).await {
                    Ok(outcome) => faults.extend(outcome.faults),
                    Err(Error::Gpu(fault)) => faults.push(fault),
                    Err(error) => return Err(error),
                }
                ran = true;
            }
            proofs += usize::from(ran);
        }
        if !faults.is_empty() {
            tuner.tuning.wrong.push(format!("{kernel}: {}", faults.join("; ")));
        }
        let right = faults.is_empty() && proofs >= PROOFS;
        self.right.insert(kernel, right);
        Ok(right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kernel_is_chosen_where_it_is_15_percent_faster() {
        assert_eq!(decide(&[]), None);
        assert_eq!(decide(&[("rule", 1.0)]), Some("rule"));
        assert_eq!(decide(&[("rule", 1.0), ("a", 0.86), ("b", 2.0)]), Some("rule"));
        assert_eq!(decide(&[("rule", 1.0), ("a", 0.84), ("b", 0.5), ("c", 0.6)]), Some("b"));
        assert_eq!(decide(&[("rule", 1.0), ("refused", f64::INFINITY)]), Some("rule"));
        // So short a time is noise.
        assert_eq!(decide(&[("rule", 0.009), ("a", 0.001)]), Some("rule"));
    }

    #[test]
    fn a_measurement_replaces_what_was_known_of_its_classes() {
        let measured = |class: &str, chosen| Measured {
            class: class.to_owned(),
            times: vec![("rule", 1.0), ("other", 0.5)],
            chosen,
        };
        let tuning =
            Tuning { measured: vec![measured("a", "other"), measured("b", "rule")], ..Tuning::default() };
        let old = Faster { kernel: "old".to_owned(), reason: String::new() };
        let known = ["a", "b", "c"].map(|class| (class.to_owned(), old.clone()));
        let now = tuning.over(known.into());
        assert_eq!(now.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!((now["a"].kernel.as_str(), now["c"].kernel.as_str()), ("other", "old"));
        assert_eq!(now["a"].reason, "0.500 ms, rule 1.000 ms");
        assert_eq!(tuning.changed(), 1);
    }
}
