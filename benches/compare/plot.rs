use std::fmt::Write;

/// A line of a plot.
pub struct Series {
    pub label: String,
    pub color: &'static str,
    pub dashed: bool,
    /// One value for each category
    pub values: Vec<f64>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Room for the axes' labels: left, right, above, below.
const MARGINS: [f64; 4] = [70.0, 150.0, 40.0, 45.0];

/// An SVG picture of some series over categories. The y axis is logarithmic: the programs differ by orders of magnitude.
/// Values of zero stand on the axis.
pub fn plot(title: &str, unit: &str, categories: &[String], series: &[Series]) -> String {
    let values = || series.iter().flat_map(|s| &s.values).copied().filter(|value| *value > 0.0);
    let low = values().fold(f64::INFINITY, f64::min).log10().floor();
    let high = values().fold(0.0, f64::max).log10().ceil().max(low + 1.0);
    let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 1.0) };
    let (bottom, span) = (HEIGHT - MARGINS[3], HEIGHT - MARGINS[2] - MARGINS[3]);
    let y = |value: f64| bottom - span * ((value.max(f64::MIN_POSITIVE).log10() - low) / (high - low)).max(0.0);
    let step = (WIDTH - MARGINS[0] - MARGINS[1]) / categories.len() as f64;
    let x = |index: usize| MARGINS[0] + step * (index as f64 + 0.5);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"22\" font-size=\"15\">{title} ({unit})</text>\n",
        MARGINS[0]
    );
    for exponent in low as i32..=high as i32 {
        let (value, at) = (10f64.powi(exponent), y(10f64.powi(exponent)));
        let _ = writeln!(
            svg,
            "<line x1=\"{}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            MARGINS[0],
            WIDTH - MARGINS[1],
            MARGINS[0] - 8.0,
            at + 4.0
        );
    }
    for (index, category) in categories.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{category}</text>",
            x(index),
            HEIGHT - 18.0
        );
    }
    for (number, line) in series.iter().enumerate() {
        draw(&mut svg, line, &x, &y);
        let at = MARGINS[2] + 10.0 + 20.0 * number as f64;
        let left = WIDTH - MARGINS[1] + 12.0;
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" {}/><text x=\"{}\" y=\"{}\">{}</text>",
            left + 20.0,
            stroke(line),
            left + 26.0,
            at + 4.0,
            line.label
        );
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, line: &Series, x: &impl Fn(usize) -> f64, y: &impl Fn(f64) -> f64) {
    let points: Vec<(f64, f64)> = line.values.iter().enumerate().map(|(i, value)| (x(i), y(*value))).collect();
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" {}/>", path.join(" "), stroke(line));
    for (x, y) in points {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{}\"/>", line.color);
    }
}

fn stroke(line: &Series) -> String {
    let dashes = if line.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
    format!("stroke=\"{}\" stroke-width=\"2\"{dashes}", line.color)
}
