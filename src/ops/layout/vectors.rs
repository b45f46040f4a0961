//! The choice between a kernel's four-wide and its scalar form.

use crate::shader::Kernel;

/// The kernel for rows of `columns` numbers and the elements of a row in its terms: `four` reads four
/// neighbors at once and takes rows whose length divides by four, `scalar` takes the others.
pub(crate) fn by_four(
    columns: usize,
    four: &'static Kernel,
    scalar: &'static Kernel,
) -> (&'static Kernel, usize) {
    if columns.is_multiple_of(4) { (four, columns / 4) } else { (scalar, columns) }
}
