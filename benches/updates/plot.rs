//! The picture of the README: what one changed label costs, by the number of rows on the page.

use crate::summary::{DJUST, MEMOISED, NAMED, SERIALIZED, SHARED, SIGNALS, TODAY};
use crate::{PLOTTED, group_name};
use domcast_benches::{Change, Figures};
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

/// What is drawn, from the slowest down, and how.
const LINES: [(&str, &str, RGBColor); 7] = [
    (DJUST, "djust", RGBColor(160, 160, 160)),
    (TODAY, "minijinja, html5ever, keyed diff", RGBColor(110, 110, 110)),
    (MEMOISED, "Dioxus, memoised rows", RGBColor(222, 143, 5)),
    (SERIALIZED, "domcast, plain Serialize", RGBColor(128, 177, 211)),
    (SHARED, "domcast, rows shared", RGBColor(51, 119, 187)),
    (NAMED, "domcast, change named", RGBColor(0, 60, 130)),
    (SIGNALS, "Dioxus, a signal per row", RGBColor(213, 94, 0)),
];

/// Draws the cost of one changed label against the size of the page as an SVG; nothing if fewer than two sizes were measured.
///
/// Returns whether it did.
pub(crate) fn draw(figures: &Figures, file: &Path) -> Result<bool, Box<dyn Error>> {
    let line = |name: &str| -> Vec<(f64, f64)> {
        let sizes = PLOTTED.into_iter();
        sizes.filter_map(|n| Some((n as f64, figures.median(&group_name(Change::One, n), name)?))).collect()
    };
    if line(NAMED).len() < 2 {
        return Ok(false);
    }
    let area = SVGBackend::new(file, (840, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let (least_rows, most_rows) = (PLOTTED[0] as f64, PLOTTED[PLOTTED.len() - 1] as f64);
    let mut chart = ChartBuilder::on(&area)
        .caption("One label changes: from state to patches", ("sans-serif", 20))
        .margin(16)
        // The names of the lines stand beside their ends.
        .margin_right(230)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((least_rows..most_rows).log_scale(), (0.3..3e6).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.08))
        .axis_style(BLACK.mix(0.4))
        .label_style(("sans-serif", 13))
        .x_desc("rows on the page (250 bytes of HTML each)")
        .y_desc("time, median")
        .x_labels(4)
        .y_labels(8)
        .x_label_formatter(&|n| thousands(*n))
        .y_label_formatter(&|micros| duration(*micros))
        .draw()?;
    for (name, label, color) in LINES {
        let points = line(name);
        let Some(&end) = points.last() else { continue };
        chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, color.filled())))?;
        let (x, y) = chart.backend_coord(&end);
        area.draw_text(label, &("sans-serif", 13, &color).into_text_style(&area), (x + 10, y - 8))?;
    }
    area.present()?;
    Ok(true)
}

/// Powers of ten, as the axis has them.
fn thousands(n: f64) -> String {
    if n < 1e3 { format!("{n}") } else { format!("{},000", n / 1e3) }
}

/// Powers of ten, as the axis has them.
fn duration(micros: f64) -> String {
    match micros {
        micros if micros < 1e3 => format!("{micros} us"),
        micros if micros < 1e6 => format!("{} ms", micros / 1e3),
        micros => format!("{} s", micros / 1e6),
    }
}
