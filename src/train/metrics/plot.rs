//! `loss.svg`: the training and validation losses of a run.

use std::path::Path;

use plotters::style::RGBColor;

use super::chart::{self, COLORS, Curve, Panel, Points};
use super::{Line, Phase};
use crate::error::{Error, Result};
use crate::files::write_whole;

/// At most so many points a curve; more are averaged in groups of neighbors.
const POINTS: usize = 600;
const RAW: RGBColor = RGBColor(166, 189, 219);

/// Draws the losses of `lines` over the steps to the SVG file `path`: the training loss as logged
/// and smoothed, and the validation loss. A loss that spans more than a factor 20 has a logarithmic axis.
/// Losses that are not finite are left out.
///
/// # Errors
/// When the file cannot be written.
pub fn plot_loss(lines: &[Line], path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let svg = chart::svg(&[panel(lines)], (900, 520))
        .map_err(|error| Error::file(path, format!("cannot draw the losses: {error}")))?;
    write_whole(path, svg.as_bytes())
}

fn panel(lines: &[Line]) -> Panel {
    let (mut train, mut valid, mut title) = (Points::new(), Points::new(), "Loss");
    for line in lines {
        match line {
            Line::Train(line) => {
                train.push((line.step as f64, line.loss));
                title = match line.phase {
                    Phase::Pretrain => "BEST-RQ pre-training",
                    Phase::Finetune => "Fine-tuning",
                };
            }
            Line::Valid(line) => valid.push((line.step as f64, line.valid_loss)),
        }
    }
    for points in [&mut train, &mut valid] {
        points.retain(|(_, loss)| loss.is_finite());
    }
    let raw = thin_out(&train);
    let smooth = smooth(&raw);
    let curve = |label: &str, points, color, width, dots| Curve {
        label: label.to_owned(),
        points,
        color,
        width,
        dots,
    };
    Panel {
        title: title.to_owned(),
        x: "step".to_owned(),
        y: "loss".to_owned(),
        curves: vec![
            curve("training", raw, RAW, 1, false),
            curve("training, smoothed", smooth, COLORS[0], 2, false),
            curve("validation", thin_out(&valid), COLORS[1], 2, true),
        ],
        from_zero: false,
        legend_left: false,
    }
}

/// Means of groups of neighbors, at most [`POINTS`].
fn thin_out(points: &[(f64, f64)]) -> Points {
    let group = points.len().div_ceil(POINTS).max(1);
    let mean = |group: &[(f64, f64)]| {
        let (x, y) = group.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        (x / group.len() as f64, y / group.len() as f64)
    };
    points.chunks(group).map(mean).collect()
}

/// Mean over a window of a 40th of the curve on both sides, narrower at its ends.
fn smooth(points: &[(f64, f64)]) -> Points {
    let window = points.len() / 40;
    let mean = |(i, &(x, _)): (usize, &(f64, f64))| {
        let half = window.min(i).min(points.len() - 1 - i);
        let around = &points[i - half..=i + half];
        (x, around.iter().map(|point| point.1).sum::<f64>() / around.len() as f64)
    };
    points.iter().enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::super::jsonl::tests::train_line;
    use super::super::{TrainLine, ValidLine};
    use super::*;

    fn svg(lines: &[Line]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.svg");
        plot_loss(lines, &path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    fn train(step: u64, loss: f64) -> Line {
        Line::Train(TrainLine { step, loss, ..train_line() })
    }

    fn valid(step: u64, valid_loss: f64) -> Line {
        Line::Valid(ValidLine { step, valid_loss, ..ValidLine::default() })
    }

    #[test]
    fn a_run_has_title_axes_and_legend() {
        let mut lines: Vec<Line> = (1..=200).map(|i| train(10 * i, 2.5 + 6.0 / (i as f64).sqrt())).collect();
        lines.extend((1..=4).map(|i| valid(500 * i, 4.0 - 0.3 * i as f64)));
        lines.push(train(2010, f64::NAN));
        let svg = svg(&lines);
        for text in ["BEST-RQ pre-training", "step", "loss", "training, smoothed", "validation", "2000"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("logarithmic"));
        assert!(svg.matches("<polyline").count() >= 3);
        if let Ok(path) = std::env::var("POLYMIX_KEEP_PLOT") {
            std::fs::write(path, svg).unwrap();
        }
    }

    #[test]
    fn a_steep_run_is_logarithmic() {
        assert!(svg(&[train(1, 60.0), train(2, 0.01)]).contains("logarithmic"));
    }

    #[test]
    fn few_or_strange_values_are_drawn() {
        let runs = [
            vec![],
            vec![train(5, 1.0)],
            vec![valid(7, -1.0)],
            vec![train(1, f64::INFINITY)],
            vec![train(1, 1e300), train(2, -1e300)],
        ];
        for lines in runs {
            let svg = svg(&lines);
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{lines:?}");
        }
    }

    #[test]
    fn long_runs_stay_small() {
        let lines: Vec<Line> = (1..=20_000).map(|i| train(i, 5.0 + (i as f64).sin())).collect();
        assert!(svg(&lines).len() < 200_000);
    }
}
