//! What a word can mean.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use domain::base::{Rtype, iana::Rcode};
use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use super::{blocks::Line, lexer::Token, report::Checked, zones};
use crate::config::{
    dns::{Fallthrough, Name},
    parse_duration,
};

/// Octets that a compiled pattern may take.
const PATTERN_SIZE: usize = 1 << 20;

impl Token {
    /// A number in a range.
    pub fn number<T: FromStr + PartialOrd + Display>(&self, range: RangeInclusive<T>) -> Checked<T> {
        let number = self.text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            self.wrong(format!("{:?} is no whole number from {} to {}", self.text, range.start(), range.end()))
        })
    }

    /// A duration as Go writes them.
    pub fn duration(&self) -> Checked<Duration> {
        parse_duration(&self.text).map_err(|reason| self.wrong(reason))
    }

    /// A duration, or a bare number of seconds.
    pub fn duration_or_seconds(&self) -> Checked<Duration> {
        match self.text.parse() {
            Ok(seconds) => Ok(Duration::from_secs(seconds)),
            Err(_) => self.duration(),
        }
    }

    /// A zone; several if it is an address range that does not end at a label.
    pub fn zones(&self) -> Checked<Vec<Name>> {
        zones::zones(&self.text).map_err(|reason| self.wrong(reason))
    }

    /// A domain name, in lower case.
    pub fn name(&self) -> Checked<Name> {
        zones::name(&self.text).map_err(|reason| self.wrong(reason))
    }

    /// A query type by its name; none for ANY and `*`.
    pub fn rtype_or_any(&self) -> Checked<Option<Rtype>> {
        match self.text.as_str() {
            "*" => Ok(None),
            text if text.eq_ignore_ascii_case("ANY") => Ok(None),
            _ => self.rtype().map(Some),
        }
    }

    /// A query type by its name.
    pub fn rtype(&self) -> Checked<Rtype> {
        let upper = self.text.to_ascii_uppercase();
        upper.parse().map_err(|_| self.wrong(format!("{:?} is no query type such as A, AAAA or TXT", self.text)))
    }

    /// A response code by its name.
    pub fn rcode(&self) -> Checked<Rcode> {
        let upper = self.text.to_ascii_uppercase();
        upper.parse().map_err(|()| self.wrong(format!("{:?} is no response code such as NXDOMAIN", self.text)))
    }

    /// A regular expression.
    pub fn regex(&self) -> Checked<Regex> {
        let built = RegexBuilder::new(&self.text).size_limit(PATTERN_SIZE).build();
        built.map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim();
            self.wrong(format!("{:?} is no regular expression that can be used: {reason}", self.text))
        })
    }

    /// An address range, or an address alone.
    pub fn net(&self) -> Checked<IpNet> {
        let range = self.text.parse().or_else(|_| self.text.parse::<IpAddr>().map(IpNet::from));
        range.map_err(|_| self.wrong(format!("{:?} is no address or range such as 10.0.0.0/8", self.text)))
    }

    /// An address.
    pub fn address(&self) -> Checked<IpAddr> {
        let text = self.text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&self.text);
        text.parse().map_err(|_| self.wrong(format!("{:?} is no IP address", self.text)))
    }

    /// Where to listen: `ADDRESS:PORT`, `localhost:PORT` or `:PORT` for every address.
    pub fn listener(&self, all: IpAddr) -> Checked<SocketAddr> {
        let wrong =
            || self.wrong(format!("{:?} is no address to listen on, such as :8080 or 127.0.0.1:8080", self.text));
        let (host, port) = self.text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let host = match host {
            "" => all,
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            host if host.starts_with('[') => {
                host.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| wrong())?
            }
            host => IpAddr::V4(host.parse().map_err(|_| wrong())?),
        };
        Ok(SocketAddr::new(host, port))
    }
}

impl Line {
    /// Nothing may follow.
    pub fn nothing(&self) -> Checked<()> {
        match self.args.first() {
            None => Ok(()),
            Some(extra) => Err(extra.wrong(format!("{:?} is one word too many: nothing follows here", extra.text))),
        }
    }

    /// Exactly one word follows.
    pub fn one(&self, what: &str) -> Checked<&Token> {
        let [one] = self.between(1..=1, what)? else { return Err(self.name.wrong(format!("wants {what}"))) };
        Ok(one)
    }

    /// So many words follow.
    pub fn between(&self, range: RangeInclusive<usize>, what: &str) -> Checked<&[Token]> {
        if self.args.len() < *range.start() {
            return Err(self.name.wrong(format!("wants {what}")));
        }
        match self.args.get(*range.end()) {
            None => Ok(&self.args),
            Some(extra) => Err(extra.wrong(format!("{:?} is one word too many: wanted is {what}", extra.text))),
        }
    }

    /// At least one word follows.
    pub fn some(&self, what: &str) -> Checked<&[Token]> {
        self.between(1..=usize::MAX, what)
    }

    /// The rest as zones.
    pub fn zones(&self) -> Checked<Vec<Name>> {
        zones_of(&self.args)
    }

    /// `fallthrough [ZONES...]`
    pub fn fallthrough(&self) -> Checked<Fallthrough> {
        let zones = self.zones()?;
        Ok(if zones.is_empty() || zones.iter().any(Name::is_root) {
            Fallthrough::Always
        } else {
            Fallthrough::Zones(zones)
        })
    }
}

/// Words as zones.
pub fn zones_of(words: &[Token]) -> Checked<Vec<Name>> {
    let zones: Checked<Vec<Vec<Name>>> = words.iter().map(Token::zones).collect();
    Ok(zones?.concat())
}
