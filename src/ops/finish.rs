//! Epilogues: what operations do to every element of their result before they store it.

use super::map::ActivationKind;
use super::mask::MaskFrames;
use super::random::Dropout;
use super::{Array, Epilogue, Op, mismatch};
use crate::error::Result;
use crate::exec::Operand;
use crate::shape::Spec;

/// Work on every element of a result, in the order of the fields: z = f(y), dropped at random, times `scale`, 0 in padded
/// frames, and then with the other operand.
///
/// Its operands follow those of the operation: rng where there is dropout and the frames' lengths, in any order, then the
/// other. The kernels' side is `shared/epilogue`.
#[derive(Debug, Clone, Copy)]
pub struct Finish {
    /// The activation that is applied.
    pub activation: Option<ActivationKind>,
    /// Which elements are dropped.
    pub dropout: Option<Dropout>,
    /// The factor of every element.
    pub scale: f32,
    /// The number of the operand `[batch]` of lengths, where frames of a result [batch, time, channels] behind them are 0.
    pub lengths: Option<usize>,
    /// The role of the other operand.
    pub other: Option<Other>,
}

/// An operand of the result's shape that comes last.
#[derive(Debug, Clone, Copy)]
pub struct Other {
    /// The number of the operand.
    pub operand: usize,
    /// Its role.
    pub role: Role,
}

/// The role of the other operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is added.
    Addend,
    /// It is where the activation's derivative is a factor.
    Derivative(ActivationKind),
}

/// The operands of an operation and of its [`Finish`].
#[derive(Debug)]
pub(super) struct Parts<'a, T> {
    /// The operation's own.
    pub own: &'a [T],
    pub rng: Option<&'a T>,
    pub lengths: Option<&'a T>,
    pub other: Option<&'a T>,
}

impl Finish {
    /// Nothing.
    pub const NONE: Self = Self { activation: None, dropout: None, scale: 1.0, lengths: None, other: None };

    /// Whether every element stays as it is.
    pub(super) fn is_none(&self) -> bool {
        let Self { activation, dropout, scale, lengths, other } = self;
        activation.is_none() && dropout.is_none() && *scale == 1.0 && lengths.is_none() && other.is_none()
    }

    /// This and then `epilogue`, of an operation that has `operands` operands so far.
    pub(super) fn with(self, epilogue: Epilogue, operands: usize) -> Option<Self> {
        if self.other.is_some() {
            return None;
        }
        let other = |role| Some(Other { operand: operands, role });
        match epilogue {
            Epilogue::Activation(kind) => self.is_none().then_some(Self { activation: Some(kind), ..self }),
            // A factor and a mask may as well come after it.
            Epilogue::Dropout(dropout) => {
                self.dropout.is_none().then_some(Self { dropout: Some(dropout), ..self })
            }
            Epilogue::Scale(factor) => Some(Self { scale: self.scale * factor, ..self }),
            Epilogue::Mask => self.lengths.is_none().then_some(Self { lengths: Some(operands), ..self }),
            Epilogue::Add => Some(Self { other: other(Role::Addend), ..self }),
            Epilogue::Derivative(kind) => Some(Self { other: other(Role::Derivative(kind)), ..self }),
        }
    }

    pub(super) fn parts<'a, T>(&self, operands: &'a [T]) -> Parts<'a, T> {
        let (rest, other) = match (self.other, operands) {
            (Some(_), [rest @ .., other]) => (rest, Some(other)),
            _ => (operands, None),
        };
        let more = usize::from(self.dropout.is_some()) + usize::from(self.lengths.is_some());
        let own = rest.len().saturating_sub(more);
        let rng = (own..rest.len()).find(|number| Some(*number) != self.lengths);
        let lengths = self.lengths.filter(|number| *number >= own);
        let operand = |number: Option<usize>| number.and_then(|number| rest.get(number));
        Parts { own: &rest[..own], rng: operand(rng), lengths: operand(lengths), other }
    }

    /// Checks the operands `inputs` of operation `op`, whose result is `result`.
    ///
    /// # Errors
    /// When rng or the other operand does not fit.
    pub(super) fn check(&self, op: &str, inputs: &[Spec], result: &Spec) -> Result<()> {
        let parts = self.parts(inputs);
        if let (Some(dropout), Some(rng)) = (self.dropout, parts.rng) {
            dropout.infer(&[result.clone(), rng.clone()])?;
        }
        if self.lengths.is_some() {
            let operands: Vec<Spec> = std::iter::once(result).chain(parts.lengths).cloned().collect();
            MaskFrames.infer(&operands)?;
        }
        let is_last = self.other.is_none_or(|other| other.operand + 1 == inputs.len());
        if !is_last || parts.other.is_some_and(|other| other != result) {
            return Err(mismatch(op, inputs, "an operand like the result, as the last one"));
        }
        Ok(())
    }

    /// The value of `result` after the epilogue.
    pub(super) fn reference(&self, mut result: Array, parts: &Parts<'_, &Array>) -> Array {
        if let Some(kind) = self.activation {
            result.mapv_inplace(|x| kind.value_and_derivative(x).0);
        }
        if let (Some(dropout), Some(rng)) = (self.dropout, parts.rng) {
            result = dropout.reference(&[&result, rng]).remove(0);
        }
        result *= f64::from(self.scale);
        if let Some(lengths) = parts.lengths {
            result = MaskFrames.reference(&[&result, lengths]).remove(0);
        }
        match (self.other, parts.other) {
            (Some(Other { role: Role::Addend, .. }), Some(addend)) => result += *addend,
            (Some(Other { role: Role::Derivative(kind), .. }), Some(at)) => {
                result *= &at.mapv(|x| kind.value_and_derivative(x).1);
            }
            _ => {}
        }
        result
    }

    /// The operand whose memory the result may take beside the operation's own.
    pub(super) fn in_place(&self) -> &[usize] {
        self.other.as_ref().map_or(&[], |other| std::slice::from_ref(&other.operand))
    }

    /// The value of `params.scale`.
    pub(super) fn factor(&self) -> f32 {
        self.scale * self.dropout.map_or(1.0, |dropout| dropout.scale())
    }

    /// The value of `params.time` for utterances of `time` frames.
    pub(super) fn frames(&self, time: usize) -> u32 {
        if self.lengths.is_some() { time as u32 } else { 0 }
    }

    /// The value of `params.place`; `other` is the other operand as the dispatch that writes `result` binds it.
    pub(super) fn place(other: Option<&Operand>, result: &Operand) -> u32 {
        match other {
            None => 0,
            Some(other) if other.is_same_memory(result) => 2,
            Some(_) => 1,
        }
    }

    /// The override constants of `shared/epilogue`.
    pub(super) fn constants(&self) -> [(&'static str, f64); 3] {
        let derivative = match self.other {
            Some(Other { role: Role::Derivative(kind), .. }) => kind.code() + 1.0,
            _ => 0.0,
        };
        [
            ("ACTIVATION", self.activation.map_or(0.0, |kind| kind.code() + 1.0)),
            ("DROPOUT", f64::from(u8::from(self.dropout.is_some()))),
            ("DERIVATIVE", derivative),
        ]
    }
}
