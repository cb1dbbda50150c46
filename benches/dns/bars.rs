use std::fmt::Write;

/// One bar.
pub struct Bar {
    pub label: String,
    pub color: &'static str,
    pub value: f64,
}

const WIDTH: f64 = 640.0;
const ROW: f64 = 30.0;
/// Room for labels on the left, for the figure on the right, for the title above.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 40.0;

/// An SVG picture of horizontal bars from zero, each with its figure.
pub fn bars(title: &str, unit: &str, bars: &[Bar], figure: impl Fn(f64) -> String) -> String {
    let height = TOP + ROW * bars.len() as f64 + 12.0;
    let highest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"14\" y=\"22\" font-size=\"15\">{title} ({unit})</text>\n"
    );
    for (number, bar) in bars.iter().enumerate() {
        let top = TOP + ROW * number as f64;
        let length = (WIDTH - LEFT - RIGHT) * bar.value / highest;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"20\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            top + 15.0,
            bar.label,
            top + 1.0,
            bar.color,
            LEFT + length + 6.0,
            top + 15.0,
            figure(bar.value)
        );
    }
    svg + "</svg>\n"
}
