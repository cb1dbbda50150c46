use std::{
    io::ErrorKind,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use domain::base::Rtype;

use crate::server::{Server, client, query};

#[test]
fn no_query_is_lost_at_the_end() {
    let mut server = Server::started("kubernetes cluster.local");
    let (address, process) = (server.address(), server.process.take().unwrap());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut answered = 0u32;
                    while !done.load(Ordering::Relaxed) {
                        let clients: Vec<_> = (0..8).map(|_| client(address)).collect();
                        for client in &clients {
                            if client.send(&query(7, "web.shop.svc.cluster.local", Rtype::A)).is_err() {
                                return answered;
                            }
                        }
                        for client in &clients {
                            match client.recv(&mut [0; 512]) {
                                Ok(_) => answered += 1,
                                // The port is closed, and the client knows at once: nothing was taken and forgotten.
                                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return answered,
                                Err(error) => panic!("a query was lost: {error}"),
                            }
                        }
                    }
                    answered
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(300));
        let asked_to_end = Instant::now();
        assert_eq!(process.terminate(), Some(0));
        assert!(asked_to_end.elapsed() >= Duration::from_secs(1), "it goes on answering for its lameduck time");
        done.store(true, Ordering::Relaxed);
        for asking in asking {
            assert!(asking.join().expect("each query was answered or refused") > 0);
        }
    });
}
