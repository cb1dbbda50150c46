//! The next DNS server up: knows three names of the world, and writes down every question.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, SOA},
    },
};
use portolan::lab::{Namespace, in_namespace};

/// Runs until it is dropped.
pub struct Upstream {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    asked: Mutex<Vec<String>>,
    addresses: Mutex<BTreeMap<String, Ipv4Addr>>,
}

impl Upstream {
    /// Answers on port 53 of an address of this namespace.
    pub fn start(namespace: &Namespace, address: IpAddr, names: &[(&str, Ipv4Addr)]) -> Self {
        let socket = in_namespace(namespace, || UdpSocket::bind((address, 53))).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let shared = Arc::new(Shared::default());
        for (name, address) in names {
            shared.addresses.lock().unwrap().insert((*name).to_owned(), *address);
        }
        let works = Arc::clone(&shared);
        let task = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !works.stop.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(answer) = works.answer(&buffer[..length]) {
                    // The client may be gone.
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Self { shared, task: Some(task) }
    }

    /// Every name that was asked for, in lower case without the last dot.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Gives a name another address.
    pub fn set(&self, name: &str, address: Ipv4Addr) {
        self.shared.addresses.lock().unwrap().insert(name.to_owned(), address);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(task) = self.task.take() {
            let _ = task.join();
        }
    }
}

impl Shared {
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?.clone();
        let name = question.name().to_string().to_lowercase().trim_end_matches('.').to_owned();
        self.asked.lock().unwrap().push(name.clone());
        let mut answer = Message::response(query.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(question.clone());
        match self.addresses.lock().unwrap().get(&name) {
            Some(address) if question.query_type() == RecordType::A => {
                answer.add_answer(Record::from_rdata(question.name().clone(), 1, RData::A(A(*address))));
            }
            known => {
                if known.is_none() {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                let zone = Name::from_ascii("example.com.").unwrap();
                let soa = SOA::new(zone.clone(), zone.clone(), 1, 60, 60, 60, 1);
                answer.add_authority(Record::from_rdata(zone, 1, RData::SOA(soa)));
            }
        }
        answer.to_vec().ok()
    }
}
