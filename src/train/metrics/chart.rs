//! Line charts as SVG, for losses and profiles.

use plotters::prelude::*;

const GRID: RGBColor = RGBColor(225, 225, 225);

/// Colors of curves that are told apart by color alone.
pub(crate) const COLORS: [RGBColor; 12] = [
    RGBColor(33, 102, 172),
    RGBColor(214, 96, 37),
    RGBColor(27, 120, 55),
    RGBColor(178, 24, 43),
    RGBColor(118, 42, 131),
    RGBColor(140, 81, 10),
    RGBColor(1, 133, 113),
    RGBColor(197, 27, 125),
    RGBColor(77, 77, 77),
    RGBColor(146, 197, 222),
    RGBColor(253, 174, 97),
    RGBColor(127, 188, 65),
];

/// Points of a curve.
pub(crate) type Points = Vec<(f64, f64)>;

/// One curve and its line in the legend.
pub(crate) struct Curve {
    pub label: String,
    pub points: Points,
    pub color: RGBColor,
    pub width: u32,
    /// Whether the points are marked.
    pub dots: bool,
}

/// One pair of axes.
pub(crate) struct Panel {
    pub title: String,
    /// Name of the horizontal axis, which begins at 0.
    pub x: String,
    /// Name of the vertical axis.
    pub y: String,
    pub curves: Vec<Curve>,
    /// Whether the vertical axis begins at 0; else it does below the lowest point, and is logarithmic where the
    /// points span more than a factor 20.
    pub from_zero: bool,
    /// Whether the legend is at the left, above curves that rise.
    pub legend_left: bool,
}

/// The panels side by side, each of `size` pixels. Points that are not finite are left out.
pub(crate) fn svg(panels: &[Panel], size: (u32, u32)) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (size.0 * panels.len() as u32, size.1));
        let area = area.into_drawing_area();
        area.fill(&WHITE)?;
        for (panel, area) in panels.iter().zip(area.split_evenly((1, panels.len()))) {
            draw(panel, &area)?;
        }
        area.present()?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(panel: &Panel, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let finite = |curve: &Curve| -> Points {
        curve.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    };
    let mut curves: Vec<Points> = panel.curves.iter().map(finite).collect();
    let all = || curves.iter().flatten();
    let (low, high) =
        all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &(_, y)| (low.min(y), high.max(y)));
    let logarithmic = !panel.from_zero && low > 0.0 && high > 20.0 * low;
    let last = all().fold(f64::MIN_POSITIVE, |last: f64, &(x, _)| last.max(x));
    let scale = |y: f64| if logarithmic { y.log10() } else { y };
    curves.iter_mut().flatten().for_each(|(_, y)| *y = scale(*y));
    // Axes without points, or with a single value, are axes too.
    let (low, high) = if low <= high { (scale(low), scale(high)) } else { (0.0, 1.0) };
    let margin = if high > low { 0.05 * (high - low) } else { 0.5 };
    let (low, high) = match panel.from_zero {
        true => (0.0, if high > 0.0 { 1.05 * high } else { 1.0 }),
        false => (low - margin, high + margin),
    };

    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 24))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last.max(1.0), low..high)?;
    let label = |y: &f64| {
        let value = if logarithmic { 10_f64.powf(*y) } else { *y };
        let digits = if value.abs() >= 10.0 { 0 } else { 2 };
        format!("{value:.digits$}")
    };
    let y_name = if logarithmic { format!("{} (logarithmic)", panel.y) } else { panel.y.clone() };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(BLACK.mix(0.6))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 16))
        .x_desc(&panel.x)
        .y_desc(y_name)
        .x_label_formatter(&|x| format!("{}", (10.0 * x).round() / 10.0))
        .y_label_formatter(&label)
        .draw()?;
    for (curve, points) in panel.curves.iter().zip(curves).filter(|(_, points)| !points.is_empty()) {
        let style = curve.color.stroke_width(curve.width);
        let mut series = LineSeries::new(points, style);
        if curve.dots {
            series = series.point_size(3);
        }
        chart
            .draw_series(series)?
            .label(&curve.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
    }
    let corner =
        if panel.legend_left { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::UpperRight };
    chart
        .configure_series_labels()
        .position(corner)
        .margin(12)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .draw()?;
    Ok(())
}
