use std::collections::BTreeMap;

use super::decode::Identity;

/// The objects of one kind that the receiver was told of: names and versions, nothing else.
#[derive(Debug, Default)]
pub struct Known {
    objects: BTreeMap<Name, Seen>,
    /// Number of the list that was begun last
    list: u32,
    /// Something in that list had no name that could be read: it may be any of the objects that seem to be missing
    nameless: bool,
}

/// Namespace and name.
pub type Name = (Box<str>, Box<str>);

#[derive(Debug)]
struct Seen {
    version: Box<str>,
    /// The last list that had the object
    list: u32,
}

impl Known {
    /// A new list is about to be read.
    pub fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
        self.nameless = false;
    }

    /// An object is there. False if it was known in this very version: a new list then has nothing to tell about it.
    pub fn see(&mut self, identity: &Identity) -> bool {
        let name = (identity.namespace.as_str().into(), identity.name.as_str().into());
        let seen = Seen { version: identity.version.as_str().into(), list: self.list };
        let before = self.objects.insert(name, seen);
        before.is_none_or(|before| *before.version != identity.version)
    }

    /// Something is there whose name cannot be read.
    pub fn see_nameless(&mut self) {
        self.nameless = true;
    }

    /// An object was deleted.
    pub fn forget(&mut self, identity: &Identity) {
        self.objects.remove(&(identity.namespace.as_str().into(), identity.name.as_str().into()));
    }

    /// The list is complete: forgets what was not in it, and returns it.
    pub fn end_list(&mut self) -> Vec<Name> {
        if self.nameless {
            return Vec::new();
        }
        let list = self.list;
        self.objects.extract_if(.., |_, seen| seen.list != list).map(|(name, _)| name).collect()
    }

    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, version: &str) -> Identity {
        Identity { namespace: "default".into(), name: name.into(), version: version.into() }
    }

    #[test]
    fn what_is_not_in_a_complete_list_is_gone() {
        let mut known = Known::default();
        known.begin_list();
        assert!(known.see(&identity("a", "1")));
        assert!(known.see(&identity("b", "1")));
        assert!(known.end_list().is_empty());
        // The second list breaks off, the third one is complete.
        known.begin_list();
        assert!(!known.see(&identity("b", "1")), "unchanged");
        known.begin_list();
        assert!(known.see(&identity("a", "2")), "changed");
        assert_eq!(known.end_list(), [("default".into(), "b".into())]);
        assert!(known.see(&identity("b", "1")), "it was forgotten");
    }

    #[test]
    fn an_object_without_a_readable_name_may_be_any_of_the_missing() {
        let mut known = Known::default();
        known.begin_list();
        known.see(&identity("a", "1"));
        known.begin_list();
        known.see_nameless();
        assert!(known.end_list().is_empty());
        known.begin_list();
        assert_eq!(known.end_list(), [("default".into(), "a".into())]);
        assert!(known.is_empty());
    }
}
