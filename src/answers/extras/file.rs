//! `file`: a zone from a zone file (RFC 1035, 5), with wildcards (RFC 4592) and delegations.

use std::collections::BTreeMap;

use domain::{
    base::{Name as WireName, Record, Rtype, ToName, iana::Class, rdata::ComposeRecordData},
    zonefile::inplace::{Entry, ScannedRecord, Zonefile},
};

use super::{lies_in, suffixes};
use crate::config::dns::Name;

/// Records of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Their type
    pub rtype: Rtype,
    /// Seconds that they may be kept: the least that the file has for one of them (RFC 2181, 5.2)
    pub ttl: u32,
    /// Their data on the wire, names in full
    pub data: Vec<Box<[u8]>>,
}

/// What a zone says about a name. The owner of the records is the name that was asked for, but for a delegation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name does not lie in this zone
    Elsewhere,
    /// There is no such name: NXDOMAIN, with the SOA
    Missing,
    /// The name has nothing of this type: NODATA, with the SOA
    NoData,
    /// The records
    Records(&'a Set),
    /// The name is an alias, whatever is asked for
    Alias(&'a Set),
    /// The name lies below a cut: the name of the cut and its NS records, a referral
    Delegated(&'a [u8], &'a Set),
}

/// A zone.
#[derive(Clone, Debug)]
pub struct Zone {
    origin: Name,
    soa: Set,
    /// Every name in the zone, also those that only have names below them; in wire form, lower case
    names: BTreeMap<Box<[u8]>, Vec<Set>>,
}

impl Zone {
    /// Reads a zone file. Relative names are completed with `origin`.
    ///
    /// # Errors
    /// What is wrong, with its line where one can be blamed.
    pub fn parse(text: &str, origin: &Name) -> Result<Self, String> {
        let mut zone = Self {
            origin: origin.clone(),
            soa: Set { rtype: Rtype::SOA, ttl: 0, data: Vec::new() },
            names: BTreeMap::from([(origin.as_slice().into(), Vec::new())]),
        };
        // The last line counts also without an end.
        let mut file = Zonefile::from(format!("{text}\n").as_str());
        let bytes = WireName::bytes_from_str(&origin.to_string()).map_err(|error| error.to_string())?;
        file.set_origin(bytes);
        file.set_default_class(Class::IN);
        while let Some(entry) = file.next_entry().map_err(|error| format!("near line {error}"))? {
            match entry {
                Entry::Record(record) => zone.add(&record)?,
                Entry::Include { path, .. } => {
                    return Err(format!("$INCLUDE {path} is not supported: put all into one file"));
                }
            }
        }
        let apex = zone.names.get(origin.as_slice()).map_or(&[][..], |sets| sets);
        match apex.iter().find(|set| set.rtype == Rtype::SOA) {
            Some(soa) if soa.data.len() == 1 => zone.soa = soa.clone(),
            _ => return Err(format!("{} needs one SOA record", origin.fmt_with_dot())),
        }
        Ok(zone)
    }

    fn add(&mut self, record: &ScannedRecord) -> Result<(), String> {
        let mut owner: Name = record.owner().to_vec();
        owner.make_canonical();
        let shown = owner.fmt_with_dot().to_string();
        if !lies_in(owner.as_slice(), &self.origin) {
            return Err(format!("{shown} does not lie in {}", self.origin.fmt_with_dot()));
        }
        if record.class() != Class::IN {
            return Err(format!("{shown} is of class {}; IN is served alone", record.class()));
        }
        let mut data = Vec::new();
        compose(record, &mut data)?;
        for above in suffixes(owner.as_slice()).take_while(|above| above.len() > self.origin.len()) {
            self.names.entry(above.into()).or_default();
        }
        let sets = self.names.entry(owner.as_slice().into()).or_default();
        let (rtype, ttl) = (record.rtype(), record.ttl().as_secs());
        match sets.iter_mut().find(|set| set.rtype == rtype) {
            Some(_) if rtype == Rtype::CNAME => return Err(format!("{shown} has two CNAME records")),
            Some(set) => {
                set.ttl = set.ttl.min(ttl);
                if !set.data.iter().any(|known| **known == *data) {
                    set.data.push(data.into());
                }
            }
            None => sets.push(Set { rtype, ttl, data: vec![data.into()] }),
        }
        if sets.len() > 1 && sets.iter().any(|set| set.rtype == Rtype::CNAME) {
            return Err(format!("{shown} has a CNAME record and others"));
        }
        Ok(())
    }

    /// The zone's name.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The SOA record, for denials. What they may be kept is the lesser of its TTL and its last field (RFC 2308).
    pub fn soa(&self) -> &Set {
        &self.soa
    }

    /// What the zone says about a name.
    pub fn lookup(&self, name: &[u8], qtype: Rtype) -> Found<'_> {
        if !lies_in(name, &self.origin) {
            return Found::Elsewhere;
        }
        // From the name up: the highest cut counts, the apex is none.
        let above = suffixes(name).take_while(|above| above.len() > self.origin.len());
        let cut = above.filter_map(|above| {
            let (cut, sets) = self.names.get_key_value(above)?;
            Some((cut, of_type(sets, Rtype::NS)?))
        });
        if let Some((cut, set)) = cut.last() {
            return Found::Delegated(cut, set);
        }
        match self.names.get(name).or_else(|| self.wildcard(name)) {
            None => Found::Missing,
            Some(sets) => match (of_type(sets, qtype), of_type(sets, Rtype::CNAME)) {
                (Some(set), _) => Found::Records(set),
                (None, Some(alias)) => Found::Alias(alias),
                (None, None) => Found::NoData,
            },
        }
    }

    /// The records of `*` below the closest name that is there (RFC 4592, 3.3.1).
    fn wildcard(&self, name: &[u8]) -> Option<&Vec<Set>> {
        let encloser = suffixes(name).skip(1).find(|above| self.names.contains_key(*above))?;
        let source = [b"\x01*", encloser].concat();
        self.names.get(&source[..])
    }
}

fn of_type(sets: &[Set], rtype: Rtype) -> Option<&Set> {
    sets.iter().find(|set| set.rtype == rtype)
}

/// A record's data on the wire.
fn compose(record: &Record<impl ToName, impl ComposeRecordData>, data: &mut Vec<u8>) -> Result<(), String> {
    record.data().compose_rdata(data).map_err(|_| "a record's data is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dns::corefile;

    const FILE: &str = "\
$TTL 300
@   IN SOA ns1 hostmaster 7 7200 1800 86400 60
@   IN NS ns1
@      MX 10 mail.example.net.
ns1    A 192.0.2.1
Web 60 A 192.0.2.2
web 30 A 192.0.2.3
web    AAAA 2001:db8::2
www    CNAME web
_http._tcp SRV 0 5 80 web
txt    TXT \"one\" \"two\"
deep.down A 192.0.2.4
*.wild A 192.0.2.5
1      PTR web
sub    NS ns.sub
ns.sub A 192.0.2.6";

    fn zone() -> Zone {
        Zone::parse(FILE, &corefile::name("example.org").unwrap()).unwrap()
    }

    fn found(zone: &Zone, name: &str, qtype: Rtype) -> String {
        match zone.lookup(corefile::name(name).unwrap().as_slice(), qtype) {
            Found::Records(set) => format!("{} {} {}", set.rtype, set.ttl, set.data.len()),
            Found::Alias(set) => format!("alias {}", set.rtype),
            Found::Delegated(cut, _) => format!("at {}", super::super::text_of(cut)),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_have_what_the_file_gives_them() {
        let zone = zone();
        let found = |name: &str, qtype| found(&zone, name, qtype);
        assert_eq!(found("web.example.org", Rtype::A), "A 30 2");
        assert_eq!(found("web.example.org", Rtype::AAAA), "AAAA 300 1");
        assert_eq!(found("web.example.org", Rtype::TXT), "NoData");
        assert_eq!(found("www.example.org", Rtype::A), "alias CNAME");
        assert_eq!(found("www.example.org", Rtype::CNAME), "CNAME 300 1");
        assert_eq!(found("_http._tcp.example.org", Rtype::SRV), "SRV 300 1");
        assert_eq!(found("_tcp.example.org", Rtype::SRV), "NoData");
        assert_eq!(found("down.example.org", Rtype::A), "NoData");
        assert_eq!(found("up.example.org", Rtype::A), "Missing");
        assert_eq!(found("example.org", Rtype::MX), "MX 300 1");
        assert_eq!(found("example.org", Rtype::NS), "NS 300 1");
        assert_eq!(found("1.example.org", Rtype::PTR), "PTR 300 1");
        assert_eq!(found("example.net", Rtype::A), "Elsewhere");
        assert_eq!(found("a.wild.example.org", Rtype::A), "A 300 1");
        assert_eq!(found("b.a.wild.example.org", Rtype::AAAA), "NoData");
        assert_eq!(found("wild.example.org", Rtype::A), "NoData");
        assert_eq!(found("x.sub.example.org", Rtype::A), "at sub.example.org.");
        assert_eq!(found("sub.example.org", Rtype::NS), "at sub.example.org.");
        assert_eq!(zone.soa().data.len(), 1);
        let web = zone.lookup(corefile::name("web.example.org").unwrap().as_slice(), Rtype::A);
        let Found::Records(set) = web else { panic!("{web:?}") };
        assert_eq!(&*set.data[0], [192, 0, 2, 2]);
        let alias = zone.lookup(corefile::name("www.example.org").unwrap().as_slice(), Rtype::A);
        let Found::Alias(set) = alias else { panic!("{alias:?}") };
        assert_eq!(&*set.data[0], b"\x03web\x07example\x03org\0");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let soa = "@ IN SOA ns1 hostmaster 7 7200 1800 86400 60\n";
        let cases = [
            ("a A 192.0.2.1\n".to_owned(), "example.org. needs one SOA record"),
            (format!("{soa}a A 192.0.2.256\n"), "near line 3:"),
            (format!("{soa}a.example.net. A 192.0.2.1\n"), "a.example.net. does not lie in example.org."),
            (format!("{soa}a CNAME b\na A 192.0.2.1\n"), "a.example.org. has a CNAME record and others"),
            (format!("{soa}$INCLUDE other\n"), "$INCLUDE other is not supported"),
        ];
        for (text, beginning) in cases {
            let error = Zone::parse(&text, &corefile::name("example.org").unwrap()).unwrap_err();
            assert!(error.starts_with(beginning), "{text:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[ -~\n\t]{0,120}") {
            let _ = Zone::parse(&text, &corefile::name("example.org").unwrap());
        }
    }
}
