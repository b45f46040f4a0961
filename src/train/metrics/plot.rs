//! `loss.svg`: the training and validation losses of a run.

use std::path::Path;

use plotters::prelude::*;

use super::{Line, Phase};
use crate::error::{Error, Result};

/// At most so many points a curve; more are averaged in groups of neighbours.
const POINTS: usize = 600;
const RAW: RGBColor = RGBColor(166, 189, 219);
const TRAIN: RGBColor = RGBColor(33, 102, 172);
const VALID: RGBColor = RGBColor(214, 96, 37);
const GRID: RGBColor = RGBColor(225, 225, 225);

type Points = Vec<(f64, f64)>;

/// Draws the losses of `lines` over the steps to the SVG file `path`: the training loss as logged
/// and smoothed, and the validation loss. A loss that spans more than a factor 20 has a logarithmic axis.
/// Losses that are not finite are left out.
///
/// # Errors
/// When the file cannot be written.
pub fn plot_loss(lines: &[Line], path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let mut svg = String::new();
    draw(lines, &mut svg).map_err(|error| Error::file(path, format!("cannot draw the losses: {error}")))?;
    std::fs::write(path, svg).map_err(|error| Error::file(path, format!("cannot write the plot: {error}")))
}

fn draw(lines: &[Line], svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let (mut train, mut valid, mut title) = (Points::new(), Points::new(), "Loss");
    for line in lines {
        match line {
            Line::Train(line) => {
                train.push((line.step as f64, line.loss));
                title = match line.phase {
                    Phase::Pretrain => "BEST-RQ pre-training",
                    Phase::Finetune => "CTC fine-tuning",
                };
            }
            Line::Valid(line) => valid.push((line.step as f64, line.valid_loss)),
        }
    }
    for points in [&mut train, &mut valid] {
        points.retain(|(_, loss)| loss.is_finite());
    }
    let losses = || train.iter().chain(&valid).map(|&(_, loss)| loss);
    let (low, high) =
        losses().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    let logarithmic = low > 0.0 && high > 20.0 * low;
    let scale = |y: f64| if logarithmic { y.log10() } else { y };
    for points in [&mut train, &mut valid] {
        points.iter_mut().for_each(|(_, loss)| *loss = scale(*loss));
    }
    // An empty run and a single value have axes too.
    let (low, high) = if low <= high { (scale(low), scale(high)) } else { (0.0, 1.0) };
    let margin = if high > low { 0.05 * (high - low) } else { 0.5 };
    let steps = train.iter().chain(&valid).fold(1.0, |last: f64, &(step, _)| last.max(step));

    let area = SVGBackend::with_string(svg, (900, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 24))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..steps, low - margin..high + margin)?;
    let label = |y: &f64| {
        let value = if logarithmic { 10_f64.powf(*y) } else { *y };
        let digits = if value.abs() >= 10.0 { 0 } else { 2 };
        format!("{value:.digits$}")
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(BLACK.mix(0.6))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 16))
        .x_desc("step")
        .y_desc(if logarithmic { "loss (logarithmic)" } else { "loss" })
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&label)
        .draw()?;
    let (raw, valid) = (thin_out(&train), thin_out(&valid));
    let smooth = smooth(&raw);
    let line = |color: RGBColor, width: u32| {
        move |(x, y): (i32, i32)| PathElement::new([(x, y), (x + 22, y)], color.stroke_width(width))
    };
    if !raw.is_empty() {
        chart.draw_series(LineSeries::new(raw, RAW.stroke_width(1)))?.label("training").legend(line(RAW, 1));
        let series = LineSeries::new(smooth, TRAIN.stroke_width(2));
        chart.draw_series(series)?.label("training, smoothed").legend(line(TRAIN, 2));
    }
    if !valid.is_empty() {
        let series = LineSeries::new(valid, VALID.stroke_width(2)).point_size(3);
        chart.draw_series(series)?.label("validation").legend(line(VALID, 2));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .margin(12)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .draw()?;
    area.present()?;
    Ok(())
}

/// Means of groups of neighbours, at most [`POINTS`].
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
        Line::Valid(ValidLine { step, valid_loss, wer: None, cer: None, accuracy: None })
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
