//! `template` in the form that answers with a code alone, such as NOERROR for every AAAA.

use domain::base::{Rtype, iana::Rcode};

use super::{falls_through, lies_in_any, text_of};
use crate::config::dns::{Name, Template};

/// The code that a query is answered with, without records; none if it goes on. A name in a template's zones that none of
/// its patterns matches does not exist, unless it falls through. `zones` are those of the block.
pub fn find(templates: &[Template], zones: &[Name], name: &[u8], qtype: Rtype) -> Option<Rcode> {
    let concerned = templates.iter().filter(|template| {
        let zones = if template.zones.is_empty() { zones } else { &template.zones };
        template.rtype.is_none_or(|rtype| rtype == qtype) && lies_in_any(name, zones)
    });
    let mut text = None;
    for template in concerned {
        let text = text.get_or_insert_with(|| text_of(name));
        if template.matches.is_empty() || template.matches.iter().any(|pattern| pattern.is_match(text)) {
            return Some(template.rcode);
        }
        if !falls_through(&template.fallthrough, name) {
            return Some(Rcode::NXDOMAIN);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dns::{Fallthrough, corefile};

    fn template(zone: &str, rtype: Option<Rtype>, pattern: &str, rcode: Rcode, fallthrough: Fallthrough) -> Template {
        let matches = if pattern.is_empty() { vec![] } else { vec![regex::Regex::new(pattern).unwrap()] };
        Template { zones: vec![corefile::name(zone).unwrap()], rtype, matches, rcode, fallthrough }
    }

    #[test]
    fn a_template_answers_what_it_matches() {
        let templates = [
            template("v4.example", Some(Rtype::AAAA), "", Rcode::NOERROR, Fallthrough::Never),
            template("c.example", None, r"^(?:[^.]+\.){2,}c\.example\.$", Rcode::REFUSED, Fallthrough::Always),
            template("c.example", Some(Rtype::TXT), "^x", Rcode::NOERROR, Fallthrough::Never),
        ];
        let block = [corefile::name(".").unwrap()];
        let find = |n: &str, qtype| find(&templates, &block, corefile::name(n).unwrap().as_slice(), qtype);
        assert_eq!(find("a.v4.example", Rtype::AAAA), Some(Rcode::NOERROR));
        assert_eq!(find("a.v4.example", Rtype::A), None);
        assert_eq!(find("a.b.c.example", Rtype::A), Some(Rcode::REFUSED));
        assert_eq!(find("b.c.example", Rtype::A), None);
        assert_eq!(find("b.c.example", Rtype::TXT), Some(Rcode::NXDOMAIN));
        assert_eq!(find("x.c.example", Rtype::TXT), Some(Rcode::NOERROR));
        assert_eq!(find("other.example", Rtype::AAAA), None);
        let everything = [Template { zones: vec![], ..templates[0].clone() }];
        assert_eq!(super::find(&everything, &block, b"\x01a\0", Rtype::AAAA), Some(Rcode::NOERROR));
    }
}
