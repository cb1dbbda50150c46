//! The library writes OpenMetrics; everything that scrapes reads the older Prometheus text format, and kube-proxy's
//! `..._no_local_endpoints_total`, a gauge, is only allowed there.

use std::fmt::Write;

/// The content type of [`from_open_metrics`]'s result: the Prometheus text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Rewrites what differs between the two: a counter's family is named like its samples, with `_total`; a whole bucket
/// limit is written `1`, not `1.0`; a unit and the end are not marked.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if !line.starts_with('#') {
                push_line(&mut out, format_args!("{}", whole_limits(line)));
            }
            continue;
        };
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let kind = lines.peek().and_then(|next| next.strip_prefix("# TYPE ")?.strip_prefix(name));
        let kind = kind.unwrap_or_default().trim();
        let suffix = if kind == "counter" { "_total" } else { "" };
        push_line(&mut out, format_args!("# HELP {name}{suffix} {help}"));
        push_line(&mut out, format_args!("# TYPE {name}{suffix} {kind}"));
    }
    out
}

fn push_line(out: &mut String, line: std::fmt::Arguments) {
    // A String takes everything.
    let _ = writeln!(out, "{line}");
}

/// `le="1.0"` as `le="1"`, as Go writes it.
fn whole_limits(line: &str) -> String {
    match line.split_once("le=\"").and_then(|(before, rest)| Some((before, rest.split_once(".0\"")?))) {
        Some((before, (limit, rest))) if limit.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{before}le=\"{limit}\"{rest}")
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_becomes_the_older_format() {
        let open = "\
# HELP a_seconds A counter.
# TYPE a_seconds counter
# UNIT a_seconds seconds
a_seconds_total{x=\"1.0\"} 1
# HELP b_total A gauge.
# TYPE b_total gauge
b_total 2.5
# HELP c A histogram.
# TYPE c histogram
c_sum 0.0
c_bucket{le=\"0.5\",x=\"y\"} 1
c_bucket{le=\"1.0\",x=\"y\"} 1
c_bucket{le=\"+Inf\",x=\"y\"} 1
# EOF
";
        let old = "\
# HELP a_seconds_total A counter.
# TYPE a_seconds_total counter
a_seconds_total{x=\"1.0\"} 1
# HELP b_total A gauge.
# TYPE b_total gauge
b_total 2.5
# HELP c A histogram.
# TYPE c histogram
c_sum 0.0
c_bucket{le=\"0.5\",x=\"y\"} 1
c_bucket{le=\"1\",x=\"y\"} 1
c_bucket{le=\"+Inf\",x=\"y\"} 1
";
        assert_eq!(from_open_metrics(open), old);
    }
}
