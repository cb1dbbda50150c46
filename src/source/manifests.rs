//! Reads objects from manifests: files, directories, standard input.

use std::{
    collections::BTreeMap,
    fs, io,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use serde_saphyr::Spanned;

use super::{
    blame::{self, Fault, Finding},
    decode::{Decoded, decode},
    documents::{Document, split},
    kinds::Kind,
    walk::manifests_below,
};
use crate::model::{Located, Notice, ObjectRef, Origin, Severity};

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// What manifests hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifests {
    /// The objects, in the order in which they were read; of several with one name only the last
    pub objects: Vec<Located>,
    /// What was wrong
    pub notices: Vec<Notice>,
    /// Something could not be read at all, so that an object that is missing here may still be wanted: nothing may be
    /// taken away on this account
    pub unreadable: bool,
}

/// A path that was asked for and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read manifests from {}: {reason}; check the path and its permissions", path.display())]
pub struct ManifestError {
    /// The path
    pub path: PathBuf,
    /// Why; part of the message, and so no source of its own
    pub reason: io::Error,
}

/// Reads files, all manifests in directories and below, and standard input (`-`).
///
/// YAML, of any number of documents, and JSON. Lists are unpacked. A document or a file in a directory that cannot be
/// read becomes a notice, and everything else is used. Kinds that Portolan does not read are left out silently.
///
/// Fails only if a path that was asked for cannot be read.
pub fn read(paths: &[PathBuf]) -> Result<Manifests, ManifestError> {
    read_rest(paths, &BTreeMap::new())
}

/// Like [`read`], for somebody who has looked into some of the paths, and brings what `known` says they hold: a pipe
/// cannot be read a second time.
pub fn read_rest(paths: &[PathBuf], known: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Manifests, ManifestError> {
    let mut manifests = Manifests::default();
    for path in paths {
        match known.get(path) {
            Some(bytes) => manifests.add_bytes(path, bytes.clone()),
            None => manifests.add_path(path).map_err(|reason| ManifestError { path: path.clone(), reason })?,
        }
    }
    manifests.keep_last_of_each_name();
    Ok(manifests)
}

/// Reads manifests from text; `file` is where it is said to come from.
pub fn read_text(file: &Path, text: &str) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.add_text(&Arc::new(file.to_owned()), text);
    manifests.keep_last_of_each_name();
    manifests
}

impl Manifests {
    fn add_path(&mut self, path: &Path) -> io::Result<()> {
        if path == Path::new(STDIN) {
            self.add_bytes(path, io::read_to_string(io::stdin())?.into_bytes());
        } else if fs::metadata(path)?.is_dir() {
            for found in manifests_below(path)? {
                // A file that vanished since the directory was listed is reported as well: it may come back.
                match found.and_then(|file| fs::read(&file).map(|bytes| (file.clone(), bytes)).map_err(|e| (file, e))) {
                    Ok((file, bytes)) => self.add_bytes(&file, bytes),
                    Err((file, error)) => self.refuse_file(file, format!("cannot be read: {error}")),
                }
            }
        } else {
            self.add_bytes(path, fs::read(path)?);
        }
        Ok(())
    }

    fn add_bytes(&mut self, file: &Path, bytes: Vec<u8>) {
        match String::from_utf8(bytes) {
            Ok(text) => self.add_text(&Arc::new(file.to_owned()), &text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                self.refuse_file(file.to_owned(), format!("not a manifest: byte {} is not UTF-8 text", at + 1));
            }
        }
    }

    fn add_text(&mut self, file: &Arc<PathBuf>, text: &str) {
        read_documents(&split(text)).into_iter().for_each(|finding| self.add_finding(file, finding));
    }

    fn add_finding(&mut self, file: &Arc<PathBuf>, finding: Finding) {
        match finding {
            Finding::Object(line, object) => {
                self.objects.push(Located { object: *object, origin: Origin { file: file.clone(), line } });
            }
            Finding::Fault(fault) => self.add_fault(file, fault),
        }
    }

    fn add_fault(&mut self, file: &Arc<PathBuf>, fault: Fault) {
        let name = fault.name;
        self.unreadable |= fault.is_manifest;
        self.notices.push(Notice {
            severity: Severity::Refused,
            origin: Some(Origin { file: file.clone(), line: fault.line }),
            object: (!name.kind.is_empty()).then(|| ObjectRef {
                kind: name.kind.into(),
                namespace: name.namespace.into(),
                name: if name.name.is_empty() { "without a name".into() } else { name.name.into() },
            }),
            field: fault.field,
            reason: fault.reason,
        });
    }

    fn refuse_file(&mut self, file: PathBuf, reason: String) {
        self.unreadable = true;
        self.notices.push(Notice {
            severity: Severity::Refused,
            origin: Some(Origin { file: Arc::new(file), line: 1 }),
            object: None,
            field: String::new(),
            reason,
        });
    }

    /// Of several objects with one kind, namespace and name, keeps the last, as a row of `kubectl apply` would.
    fn keep_last_of_each_name(&mut self) {
        let key = |located: &Located| {
            let object = &located.object;
            (object.kind(), object.namespace().to_owned(), object.metadata().name.clone())
        };
        let mut order: Vec<_> = self.objects.iter().enumerate().map(|(i, located)| (key(located), i)).collect();
        order.sort();
        let mut superseded = vec![false; self.objects.len()];
        for pair in order.windows(2) {
            let [(first, i), (second, j)] = pair else { continue };
            // Objects without a name are not the same; each is refused later on.
            if first == second && !first.2.is_empty() {
                superseded[*i] = true;
                if self.objects[*i].object == self.objects[*j].object {
                    continue; // said twice, and the same both times
                }
                let reason = format!("not used: {} gives it again, and the last one counts", self.objects[*j].origin);
                self.notices.push(self.objects[*i].notice(Severity::Warning, "", reason));
            }
        }
        let mut superseded = superseded.into_iter();
        self.objects.retain(|_| superseded.next() != Some(true));
    }
}

/// Documents that a thread must have for its start to pay.
const DOCUMENTS_PER_THREAD: usize = 200;

/// Reads documents, on as many threads as there are processors if there are many; the findings are in order.
fn read_documents(documents: &[Document<'_>]) -> Vec<Finding> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let share = documents.len().div_ceil(processors).max(DOCUMENTS_PER_THREAD);
    thread::scope(|scope| {
        let mut shares = documents.chunks(share);
        let own = shares.next().unwrap_or_default();
        let threads: Vec<_> =
            shares.map(|share| scope.spawn(|| share.iter().flat_map(read_document).collect::<Vec<_>>())).collect();
        let mut findings: Vec<Finding> = own.iter().flat_map(read_document).collect();
        for thread in threads {
            findings.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        findings
    })
}

/// Reads one document: in one pass if it is all right, and otherwise with the care that an explanation needs.
fn read_document(document: &Document<'_>) -> Vec<Finding> {
    match decode(document.text) {
        Ok(decoded) => flatten(document.lines_before, decoded, None),
        Err(_) => blame::examine(document),
    }
}

/// The objects of a decoded document or list item; `of` is the kind of items that do not say it themselves.
fn flatten(lines_before: usize, decoded: Spanned<Decoded>, of: Option<Kind>) -> Vec<Finding> {
    let line = lines_before + decoded.referenced.line() as usize;
    match decoded.value {
        Decoded::Object(object) => vec![Finding::Object(line, object)],
        Decoded::List(items, of) => items.into_iter().flat_map(|item| flatten(lines_before, item, of)).collect(),
        Decoded::Untyped(fields) => blame::examine_value(line, fields.into(), of),
        Decoded::Nothing => {
            tracing::debug!(line, "not a kind that Portolan reads");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Object;

    fn read(text: &str) -> Manifests {
        read_text(Path::new("m.yaml"), text)
    }

    /// `line kind namespace/name` of every object.
    fn objects(manifests: &Manifests) -> Vec<String> {
        manifests.objects.iter().map(|l| format!("{} {}", l.origin.line, l.object.reference())).collect()
    }

    fn notices(manifests: &Manifests) -> Vec<String> {
        manifests.notices.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn documents_and_lists_give_objects_with_their_lines() {
        let manifests = read(
            "# a comment\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n---\n\nkind: Node\n\
             apiVersion: v1\nmetadata: {name: n}\n---\napiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Service\n  \
             metadata: {name: b, namespace: shop}\n- addressType: IPv4\n  apiVersion: discovery.k8s.io/v1\n  \
             endpoints:\n  - addresses: [10.0.0.1]\n  kind: EndpointSlice\n  metadata: {name: b-1}\n  ports:\n  \
             - port: 80\n- apiVersion: v1\n  kind: Secret\nkind: List\n",
        );
        assert_eq!(notices(&manifests), [""; 0]);
        assert_eq!(
            objects(&manifests),
            ["3 Service default/a", "9 Node n", "15 Service shop/b", "18 EndpointSlice default/b-1"]
        );
        let Object::EndpointSlice(slice) = &manifests.objects[3].object else { panic!() };
        assert_eq!(slice.address_type, "IPv4");
        assert_eq!(slice.endpoints[0].addresses, ["10.0.0.1"]);
        assert_eq!(slice.ports[0].port, Some(80));
    }

    #[test]
    fn json_is_read_as_kubectl_writes_it() {
        let manifests = read(
            "{\n\t\"apiVersion\": \"v1\",\n\t\"items\": [\n\t\t{\"apiVersion\": \"v1\", \"kind\": \"Service\", \
             \"metadata\": {\"name\": \"a\"}}\n\t],\n\t\"kind\": \"List\"\n}\n{\"apiVersion\": \"apps/v1\", \"kind\": \
             \"Deployment\", \"metadata\": {\"name\": \"d\"}}",
        );
        assert_eq!(notices(&manifests), [""; 0]);
        assert_eq!(objects(&manifests), ["4 Service default/a", "8 Deployment default/d"]);
    }

    #[test]
    fn items_of_a_typed_list_need_not_say_their_kind() {
        for text in [
            "kind: ServiceList\napiVersion: v1\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n",
            "apiVersion: v1\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\nkind: ServiceList\n",
        ] {
            let manifests = read(text);
            assert_eq!(notices(&manifests), [""; 0]);
            assert_eq!(manifests.objects.len(), 2, "{text}");
            assert_eq!(manifests.objects[1].object.reference().to_string(), "Service default/b");
        }
        let manifests = read("apiVersion: v1\nkind: List\nitems:\n- metadata: {name: a}\n");
        assert_eq!(notices(&manifests), ["m.yaml:4: kind: a manifest needs apiVersion and kind; this has neither"]);
    }

    #[test]
    fn a_bad_document_costs_no_other() {
        let good = "apiVersion: v1\nkind: Service\nmetadata: {name: good}\n";
        for (bad, notice) in [
            ("kind: Service\nmetadata: {name: x}\n", "Service x: apiVersion: missing; for a Service it is v1"),
            ("apiVersion: v1\nmetadata: {name: x}\n", "kind: missing; it says what the object is, such as Service"),
            (
                "apiVersion: v2\nkind: Service\nmetadata: {name: x}\n",
                "Service x: apiVersion: v2 has no Service; write v1",
            ),
            ("apiVersion: v1\nkind: [a]\n", "kind: [\"a\"] is not text"),
            ("just words\n", "fields (name: value) are wanted here"),
        ] {
            let manifests = read(&format!("{bad}---\n{good}"));
            assert_eq!(objects(&manifests).len(), 1, "{bad}");
            let notices = notices(&manifests);
            assert!(notices[0].starts_with("m.yaml:1: ") && notices[0].contains(notice), "{bad}: {notices:?}");
            assert!(manifests.unreadable, "{bad}");
        }
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named_with_line_and_column() {
        let head = "apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: shop}\n";
        for (rest, notice) in [
            (
                "spec:\n  ports:\n  - port: \"80\"\n",
                "m.yaml:7: Service shop/x: spec.ports[0].port: invalid type: string \"80\", expected a whole number, not in quotes (column 5)",
            ),
            (
                "spec:\n  ports:\n  - port: eighty\n",
                "m.yaml:7: Service shop/x: spec.ports[0].port: invalid type: string \"eighty\", expected a whole number, not in quotes (column 5)",
            ),
            (
                "spec:\n  ports:\n    port: 80\n",
                "m.yaml:7: Service shop/x: spec.ports: a list (- value) is wanted here (column 5)",
            ),
            (
                "spec:\n  selector:\n    version: 1.0\n",
                "m.yaml:7: Service shop/x: spec.selector.version: 1.0 is a number or a boolean where text is wanted; write \"1.0\" (column 14)",
            ),
            (
                "spec:\n  ports:\n  - port: 80\n    targetPort: {a: 1}\n",
                "m.yaml:8: Service shop/x: spec.ports[0].targetPort: invalid type: map, expected a port number or the name of a container port (column 17)",
            ),
            (
                "spec:\n  type: a\n  type: b\n",
                "m.yaml:7: Service shop/x: duplicate mapping key: type not allowed here (column 3)",
            ),
        ] {
            let manifests = read(&format!("---\n{head}{rest}"));
            assert_eq!(notices(&manifests), [notice]);
            assert!(manifests.unreadable && manifests.objects.is_empty());
        }
    }

    #[test]
    fn text_that_the_api_server_takes_needs_no_quotes() {
        let manifests = read(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: y\n  labels: {5: five, no: n, commit: 123e4567}\nspec:\n  clusterIP: None\n",
        );
        assert_eq!(notices(&manifests), [""; 0]);
        assert_eq!(objects(&manifests), ["1 Service default/y"]);
    }

    #[test]
    fn a_bad_item_of_a_list_costs_no_other() {
        let manifests = read(
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a}}\n\
             - {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: 80}}\n\
             - {apiVersion: v1, kind: Pod, metadata: {name: c}}\n- {apiVersion: v1, kind: ServiceList, items: [\
             {metadata: {name: d}}]}\n",
        );
        assert_eq!(objects(&manifests), ["4 Service default/a", "6 Pod default/c", "7 Service default/d"]);
        assert_eq!(
            notices(&manifests),
            ["m.yaml:5: Service b: spec.ports: invalid type: integer `80`, expected a sequence"]
        );
    }

    #[test]
    fn syntax_errors_name_the_object_if_its_name_can_be_found() {
        let manifests = read("apiVersion: v1\nkind: Service\nmetadata:\n  name: x\nspec:\n\tports: 80\n");
        assert_eq!(
            notices(&manifests),
            ["m.yaml:6: Service x: tabs disallowed within this context (block indentation) (column 2)"]
        );
    }

    #[test]
    fn of_equal_names_the_last_one_counts() {
        let manifests = read(
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a, \
             namespace: other}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: default}\n",
        );
        assert_eq!(objects(&manifests), ["5 Service other/a", "9 Service default/a"]);
        assert_eq!(
            notices(&manifests),
            ["m.yaml:1: Service default/a: not used: m.yaml:9 gives it again, and the last one counts"]
        );
        assert_eq!(manifests.notices[0].severity, Severity::Warning);
        assert!(!manifests.unreadable);
    }

    #[test]
    fn a_missing_path_is_an_error_and_a_bad_file_in_a_directory_is_a_notice() {
        let directory = tempfile::tempdir().unwrap();
        let error = super::read(&[directory.path().join("none.yaml")]).unwrap_err();
        assert!(error.to_string().contains("none.yaml: No such file"), "{error}");

        fs::write(directory.path().join("a.yaml"), "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n").unwrap();
        fs::write(directory.path().join("b.yaml"), b"\xff\xfe\x00\x01").unwrap();
        let manifests = super::read(&[directory.path().to_owned()]).unwrap();
        assert_eq!(manifests.objects.len(), 1);
        assert!(notices(&manifests)[0].ends_with("b.yaml:1: not a manifest: byte 1 is not UTF-8 text"));
        assert!(manifests.unreadable);
    }
}
