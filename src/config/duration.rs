//! Durations as Go writes them (`time.ParseDuration`), the way kube-proxy's flags and files have them.

use std::time::Duration;

/// Units and their nanoseconds; the longer name before the shorter one that it begins with.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// Reads a duration such as `1h15m0s`, `1.5s`, `100ms` or `0`. Go's own bound of about 292 years holds here, too.
///
/// # Errors
/// What is wrong with the text, for its writer.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 30s, 1h15m or 100ms");
    let mut rest = text.trim();
    if rest.starts_with('-') {
        return Err(format!("{text:?} is negative; 0s is the least"));
    }
    rest = rest.strip_prefix('+').unwrap_or(rest);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanoseconds = 0_u64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let (unit, length) = UNITS.iter().find(|(unit, _)| after.starts_with(unit)).ok_or_else(wrong)?;
        let part = scaled(number, *length).ok_or_else(wrong)?;
        nanoseconds = nanoseconds.checked_add(part).filter(|sum| *sum <= i64::MAX as u64).ok_or_else(wrong)?;
        rest = &after[unit.len()..];
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The same, but a bare number counts milliseconds.
///
/// # Errors
/// What is wrong with the text, for its writer.
pub fn parse_duration_or_milliseconds(text: &str) -> Result<Duration, String> {
    match text.trim().parse() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => parse_duration(text),
    }
}

/// A decimal number times a unit, in nanoseconds; `None` if it is no number or too large.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanoseconds = u128::from(whole) * u128::from(unit);
    // Digits below a nanosecond of the longest unit are lost, as in Go.
    let fraction = &fraction[..fraction.len().min(18)];
    if !fraction.is_empty() {
        nanoseconds += fraction.parse::<u128>().ok()? * u128::from(unit) / 10_u128.pow(fraction.len() as u32);
    }
    u64::try_from(nanoseconds).ok()
}

/// Writes a duration as Go does: `1h15m0s`, `1.5s`, `100ms`, `0s`. [`parse_duration`] reads it back exactly.
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let below_a_second = [("ms", 1_000_000), ("µs", 1_000), ("ns", 1)];
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    if nanoseconds < 1_000_000_000 {
        let fits = below_a_second.iter().find(|(_, unit)| nanoseconds >= *unit).unwrap_or(&below_a_second[2]);
        return format!("{}{}", decimal(nanoseconds, fits.1), fits.0);
    }
    let minutes = nanoseconds / 60_000_000_000;
    let seconds = decimal(nanoseconds % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `number / unit` without trailing zeros; `unit` is a power of ten.
fn decimal(number: u128, unit: u128) -> String {
    let (whole, fraction) = (number / unit, number % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let places = unit.ilog10() as usize;
    format!("{whole}.{fraction:0places$}").trim_end_matches('0').to_owned()
}

/// For `serde(serialize_with)`.
pub(super) fn serialize<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let read = |text: &str| parse_duration(text).unwrap();
        assert_eq!(read("1h15m0s"), Duration::from_secs(75 * 60));
        assert_eq!(read("0s"), Duration::ZERO);
        assert_eq!(read("0"), Duration::ZERO);
        assert_eq!(read("1.5s"), Duration::from_millis(1500));
        assert_eq!(read(".5s"), Duration::from_millis(500));
        assert_eq!(read("100ms"), Duration::from_millis(100));
        assert_eq!(read("2us3ns"), Duration::from_nanos(2003));
        assert_eq!(read("1m30s"), Duration::from_secs(90));
        for bad in ["", "5", "s", "1x", "-1s", "1.2.3s", "1h 5m", ".s", "10000000h", "1e3s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_duration_or_milliseconds("250"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration_or_milliseconds("1s"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let written = |nanoseconds| format_duration(Duration::from_nanos(nanoseconds));
        assert_eq!(written(4_500_000_000_000), "1h15m0s");
        assert_eq!(written(24 * 3_600_000_000_000), "24h0m0s");
        assert_eq!(written(1_500_000_000), "1.5s");
        assert_eq!(written(100_000_000), "100ms");
        assert_eq!(written(0), "0s");
        assert_eq!(written(1_002_000), "1.002ms");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanoseconds in 0..i64::MAX as u64) {
            let duration = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
