//! A planned end loses no query.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use portolan::dns::serve::Limits;

use crate::responder::{ECHO, Echo, HANG, LATER, Server, answer, ask, client, localhost, query};

#[test]
fn what_is_queued_is_answered_before_the_end() {
    let mut server = Server::start(localhost(1, 0), 1, Limits::default());
    let client = client(localhost(1, server.port));
    client.send(&query(0, &[HANG])).unwrap();
    client.send(&query(1, &[LATER, 20])).unwrap();
    for number in 2..200 {
        client.send(&query(number, &[ECHO])).unwrap();
    }
    let echo = server.echo.clone();
    let opener = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        echo.open();
    });
    server.stop();
    opener.join().unwrap();
    let mut numbers: Vec<_> = (0..200).map(|_| answer(&client)[..4].to_vec()).collect();
    numbers.sort();
    assert_eq!(numbers, (0..200u32).map(|number| number.to_be_bytes().to_vec()).collect::<Vec<_>>());
    client.send(&query(1, &[ECHO])).unwrap();
    client.recv(&mut [0; 16]).expect_err("the port is closed");
}

#[test]
fn another_server_of_the_port_takes_over_without_a_lost_query() {
    for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let mut old = Server::with(Echo::tagged(b'1'), address.parse().unwrap(), 2, Limits::default());
        let there = old.serving.as_ref().map(|_| old.port).unwrap();
        let mut listening: std::net::SocketAddr = address.parse().unwrap();
        listening.set_port(there);
        let new = Server::with(Echo::tagged(b'2'), listening, 2, Limits::default());
        let mut asked = listening;
        if listening.ip().is_unspecified() {
            asked.set_ip("127.0.0.1".parse().unwrap());
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let asking: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut tags = [0, 0];
                        while !done.load(Ordering::Relaxed) {
                            // A port each: both servers are met. Several at a time: queues are not empty.
                            let clients: Vec<_> = (0..8).map(|_| client(asked)).collect();
                            for client in &clients {
                                client.send(&query(1, &[ECHO])).unwrap();
                            }
                            for client in &clients {
                                tags[usize::from(*answer(client).last().unwrap() - b'1')] += 1;
                            }
                        }
                        tags
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(300));
            old.stop();
            thread::sleep(Duration::from_millis(300));
            done.store(true, Ordering::Relaxed);
            for asking in asking {
                let [old, new] = asking.join().expect("each query was answered");
                assert!(old > 0 && new > 0, "{address}: both answered: {old} and {new}");
            }
        });
        assert_eq!(*ask(&client(asked), &query(1, &[ECHO])).last().unwrap(), b'2');
        drop(new);
    }
}
