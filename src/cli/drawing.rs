//! Figures: grids of values, and detection error trade-off curves.

use std::fmt::Write as _;

use crate::text::xml;

/// Values by two names each.
pub(super) struct Grid<'a> {
    pub down: &'a str,
    pub across: &'a str,
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    /// Row by row: how dark a cell is, from 0 to 1, and its text; nothing where there is no value.
    pub cells: Vec<Option<(f64, String)>>,
}

impl Grid<'_> {
    /// The grid as SVG. The texts of cells are left out where there are too many to be read.
    pub fn svg(&self) -> String {
        const MOST: usize = 30;
        let small = self.columns.len().max(self.rows.len()) > MOST;
        let (cell_width, cell_height) = if small { (14, 14) } else { (72, 36) };
        let longest = self.rows.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let edge = 56.max(24 + 7 * longest);
        let top = 56;
        let width = edge + self.columns.len() * cell_width + 8;
        let height = top + self.rows.len() * cell_height + 8;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
             font-size=\"12\" text-anchor=\"middle\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{}\" y=\"16\">{}</text>\n<text x=\"{}\" y=\"{}\">{}</text>\n",
            edge + self.columns.len() * cell_width / 2,
            xml(self.across),
            edge / 2,
            top - 8,
            xml(self.down),
        );
        for (column, name) in self.columns.iter().enumerate().filter(|_| !small) {
            let x = edge + column * cell_width + cell_width / 2;
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\">{}</text>", top - 8, xml(name));
        }
        for (row, (name, cells)) in self.rows.iter().zip(self.cells.chunks(self.columns.len())).enumerate() {
            let y = top + row * cell_height;
            let middle = y + cell_height / 2 + 4;
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{middle}\">{}</text>", edge / 2, xml(name));
            for (column, cell) in cells.iter().enumerate() {
                let x = edge + column * cell_width;
                let Some((dark, text)) = cell else { continue };
                let light = 95.0 - 60.0 * dark;
                let color = if light < 60.0 { "white" } else { "black" };
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{cell_width}\" height=\"{cell_height}\" fill=\"hsl(215 60% \
                     {light:.0}%)\"/>"
                );
                if !small {
                    let x = x + cell_width / 2;
                    let _ =
                        writeln!(svg, "<text x=\"{x}\" y=\"{middle}\" fill=\"{color}\">{}</text>", xml(text));
                }
            }
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// The rates [false alarms, misses] of a detector as SVG, on axes on which those of two normal distributions are a
/// straight line, with the equal error rate.
pub(super) fn detection(curve: &[[f64; 2]], eer: f64) -> String {
    const TICKS: [f64; 9] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8];
    const SIZE: f64 = 460.0;
    const EDGE: f64 = 64.0;
    let (low, high) = (probit(0.0005), probit(0.9));
    let place = |rate: f64| (probit(rate.clamp(0.0005, 0.9)) - low) / (high - low) * SIZE;
    let (x, y) = (|rate: f64| EDGE + place(rate), |rate: f64| 24.0 + SIZE - place(rate));
    let whole = EDGE + SIZE + 24.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"{whole}\" font-family=\"sans-serif\" \
         font-size=\"12\" text-anchor=\"middle\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for tick in TICKS {
        let (x, y, name) = (x(tick), y(tick), 100.0 * tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} 24V{:.1}M{EDGE} {y:.1}H{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\">{name}</text><text x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
            24.0 + SIZE,
            EDGE + SIZE,
            SIZE + 42.0,
            EDGE - 18.0,
            y + 4.0
        );
    }
    let points: Vec<String> =
        curve.iter().map(|[alarms, misses]| format!("{:.1},{:.1}", x(*alarms), y(*misses))).collect();
    let middle = EDGE + SIZE / 2.0;
    let _ = write!(
        svg,
        "<rect x=\"{EDGE}\" y=\"24\" width=\"{SIZE}\" height=\"{SIZE}\" fill=\"none\" stroke=\"#666\"/>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"#2166ac\" stroke-width=\"2\"/>\n\
         <circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"#d66025\"/>\n\
         <text x=\"{middle}\" y=\"16\">EER {:.2} %</text>\n\
         <text x=\"{middle}\" y=\"{:.1}\">false alarms, %</text>\n\
         <text transform=\"translate(16 {:.1}) rotate(-90)\">misses, %</text>\n</svg>\n",
        points.join(" "),
        x(eer),
        y(eer),
        100.0 * eer,
        SIZE + 64.0,
        24.0 + SIZE / 2.0
    );
    svg
}

/// The number below which a standard normal one is with probability `p`, between 0 and 1 (Acklam's approximation, within
/// 2e-9 relative).
fn probit(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    let sum = |factors: &[f64], x: f64| factors.iter().fold(0.0, |sum, factor| sum * x + factor);
    if p > 0.5 {
        return -probit(1.0 - p);
    }
    if p < 0.02425 {
        let q = (-2.0 * p.ln()).sqrt();
        return sum(&C, q) / sum(&D, q);
    }
    let q = p - 0.5;
    q * sum(&A, q * q) / sum(&B, q * q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (p, wanted) in [(0.5, 0.0), (0.975, 1.959_963_985), (0.01, -2.326_347_874), (0.8, 0.841_621_234)]
        {
            assert!((probit(p) - wanted).abs() < 1e-8, "{p}: {}", probit(p));
        }
    }

    #[test]
    fn figures_are_whole() {
        let names = |count: usize| (0..count).map(|at| format!("<{at}>")).collect::<Vec<_>>();
        for count in [2, 40] {
            let cells = vec![Some((1.0, "7".to_owned())); count * count];
            let grid =
                Grid { down: "said", across: "heard", rows: names(count), columns: names(count), cells };
            let svg = grid.svg();
            assert_eq!(svg.matches("<rect").count(), count * count + 1);
            assert_eq!(svg.contains(">7<"), count == 2);
            assert!(svg.contains("&lt;0&gt;") && svg.trim_end().ends_with("</svg>"));
        }
        let svg = detection(&[[0.0, 1.0], [0.0, 0.1], [0.2, 0.0], [1.0, 0.0]], 0.066);
        assert!(svg.contains("EER 6.60 %") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
