use polymix::ops::Op;
use polymix::ops::quantizer::NearestCode;
use polymix::shape::Spec;

use crate::check::{Arg, Tolerance, check_outputs, refuses};

/// Rows of length 1; `period` codes that repeat.
fn codebook(codes: usize, size: usize, period: usize) -> Arg {
    let raw = Arg::normal(&[period, size], 12);
    Arg::f32(&[codes, size], |i| {
        let row = raw.values.index_axis(ndarray::Axis(0), i / size % period);
        row[i % size] / row.iter().map(|x| x * x).sum::<f64>().sqrt()
    })
}

fn exact(x: Arg, codebook: Arg) {
    check_outputs(NearestCode, &[x, codebook], Tolerance::Exact, 0);
}

#[test]
fn nearest_code() {
    for (rows, codes) in [(1, 1), (3, 2), (63, 17), (65, 255), (64, 256), (130, 257), (7, 1031)] {
        for size in [16, 1, 5, 20] {
            if size > 1 || codes == 1 {
                exact(Arg::normal(&[rows, size], 3), codebook(codes, size, codes));
            }
        }
    }
    exact(Arg::normal(&[0, 16], 3), codebook(5, 16, 5));
}

#[test]
fn ties_take_the_lowest_code() {
    for size in [16, 6] {
        exact(Arg::normal(&[33, size], 3), codebook(1024, size, 128));
        exact(Arg::f32(&[5, size], |_| 0.0), codebook(700, size, 700));
    }
    let args = [Arg::normal(&[33, 16], 3), codebook(1024, 16, 128)];
    let ids = NearestCode.reference(&[&args[0].values, &args[1].values]);
    assert!(ids[0].iter().all(|&id| id < 128.0));
}

#[test]
fn the_length_of_a_row_does_not_matter() {
    let x = Arg::normal(&[40, 16], 3);
    let book = codebook(300, 16, 300);
    let ids = NearestCode.reference(&[&x.values, &book.values]).swap_remove(0);
    for scale in [1e-12, 1e12] {
        let scaled = Arg::f32(&[40, 16], |i| scale * x.values.as_slice().unwrap()[i]);
        assert_eq!(NearestCode.reference(&[&scaled.values, &book.values])[0], ids);
        exact(scaled, book.clone());
    }
}

#[test]
fn nearest_code_refuses() {
    refuses(NearestCode, &[Spec::f32([4, 16]), Spec::f32([8, 12])]);
    refuses(NearestCode, &[Spec::f32([4, 16]), Spec::f32([0, 16])]);
    refuses(NearestCode, &[Spec::f32([16]), Spec::f32([8, 16])]);
}
