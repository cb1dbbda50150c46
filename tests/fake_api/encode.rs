//! Kubernetes objects in Protocol Buffers, as an API server sends them.

/// A field that holds text or a message.
pub fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(u64::from(number) << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A field that holds a number.
pub fn number(number: u8, value: u64) -> Vec<u8> {
    [varint(u64::from(number) << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Service default/`name` with one port.
pub fn service(name: &str, version: u64, port: u64) -> Vec<u8> {
    let port = [field(1, "http"), number(3, port)].concat();
    [metadata("default", name, version), field(2, field(1, port))].concat()
}

/// Service default/`name`, whose first port is text where a number belongs.
pub fn odd_service(name: &str, version: u64) -> Vec<u8> {
    [metadata("default", name, version), field(2, field(1, field(3, "eighty")))].concat()
}

/// An object of a kind without namespaces.
pub fn cluster_wide(name: &str, version: u64) -> Vec<u8> {
    metadata("", name, version)
}

/// metadata of an object, with more in it than anybody reads.
fn metadata(namespace: &str, name: &str, version: u64) -> Vec<u8> {
    let managed_fields = field(17, field(1, [0; 300]));
    let version = field(6, version.to_string());
    field(1, [field(1, name), field(2, ""), field(3, namespace), version, managed_fields].concat())
}

/// One page of a list; `next` is empty on the last one.
pub fn page(version: u64, next: &str, items: &[Vec<u8>]) -> Vec<u8> {
    let metadata = [field(1, ""), field(2, version.to_string()), field(3, next)].concat();
    let items: Vec<Vec<u8>> = items.iter().map(|item| field(2, item)).collect();
    envelope(&[field(1, metadata), items.concat()].concat())
}

/// Status: what is wrong.
pub fn status(code: u16, reason: &str, message: &str) -> Vec<u8> {
    let parts = [field(2, "Failure"), field(3, message), field(4, reason), number(6, code.into())];
    envelope(&parts.concat())
}

/// One event of a watch.
pub fn event(kind: &str, object: &[u8]) -> Vec<u8> {
    frame(&[field(1, kind), field(2, field(1, envelope(object)))].concat())
}

/// The event that ends a watch.
pub fn error(code: u16, reason: &str, message: &str) -> Vec<u8> {
    frame(&[field(1, "ERROR"), field(2, field(1, status(code, reason, message)))].concat())
}

/// The event that only tells how far the watch has come.
pub fn bookmark(version: u64) -> Vec<u8> {
    event("BOOKMARK", &metadata("", "", version))
}

fn frame(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes(), content].concat()
}

fn envelope(object: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, "v1"), field(2, "Thing")].concat();
    [b"k8s\0".to_vec(), field(1, type_meta), field(2, object), field(3, ""), field(4, "")].concat()
}
