use std::{collections::BTreeSet, time::Duration};

use portolan::dns::serve::{Counts, LONGEST_QUERY, Limits, STRIDE};

use crate::{
    responder::{DROP, ECHO, HANG, LATER, Server, answer, ask, client, localhost, query},
    sandbox::eventually,
};

#[test]
fn every_query_of_a_burst_is_answered_and_counted() {
    let server = Server::start(localhost(1, 0), 2, Limits::default());
    let clients: Vec<_> = (0..8).map(|_| client(localhost(1, server.port))).collect();
    let mut expected = 0;
    for round in 0..50u32 {
        for client in &clients {
            for number in 0..10 {
                client.send(&query(round * 10 + number, &[ECHO])).unwrap();
                expected += 1;
            }
        }
        for client in &clients {
            let numbers: BTreeSet<_> = (0..10).map(|_| answer(client)[..4].to_vec()).collect();
            assert_eq!(numbers.len(), 10, "each once");
        }
    }
    let counts = server.serving().counts();
    assert_eq!(counts.datagrams, expected);
    assert!(counts.batches.iter().sum::<u64>() <= expected);
    assert_eq!(Counts { datagrams: 0, batches: [0; 6], ..counts }, Counts::default(), "and nothing else happened");
}

#[test]
fn what_takes_time_keeps_nobody_waiting() {
    let server = Server::start(localhost(1, 0), 1, Limits::default());
    let client = client(localhost(1, server.port));
    client.send(&query(1, &[LATER, 30])).unwrap();
    client.send(&query(2, &[DROP])).unwrap();
    client.send(&query(3, &[ECHO])).unwrap();
    assert_eq!(answer(&client)[..4], [0, 0, 0, 3]);
    assert_eq!(server.serving().counts().outstanding, 1);
    assert_eq!(answer(&client)[..4], [0, 0, 0, 1]);
    eventually("nothing is outstanding", || server.serving().counts().outstanding == 0);
}

#[test]
fn the_longest_query_arrives_whole_and_a_longer_one_is_cut() {
    let server = Server::start(localhost(1, 0), 1, Limits::default());
    let client = client(localhost(1, server.port));
    // The answer is one octet longer than the query.
    assert_eq!(ask(&client, &vec![0; LONGEST_QUERY - 1]).len(), LONGEST_QUERY);
    let mut long = query(7, &[DROP]);
    long.resize(2 * LONGEST_QUERY, 0);
    client.send(&long).unwrap();
    assert_eq!(ask(&client, &query(8, &[ECHO]))[..4], [0, 0, 0, 8]);
}

#[test]
fn a_worker_without_traffic_beats_and_one_that_hangs_does_not() {
    let server = Server::start(localhost(1, 0), 2, Limits::default());
    let beats = server.serving().heartbeats();
    assert_eq!(beats.ages().count(), 2);
    // Long enough for both to have missed one if they needed traffic for it.
    std::thread::sleep(3 * STRIDE);
    eventually("both beat", || beats.oldest() < 2 * STRIDE);
    let client = client(localhost(1, server.port));
    client.send(&query(1, &[HANG])).unwrap();
    eventually("one is seen to hang", || beats.oldest() > Duration::from_secs(2));
    assert_eq!(beats.ages().filter(|age| *age > Duration::from_secs(2)).count(), 1);
    server.echo.open();
    assert_eq!(answer(&client)[..4], [0, 0, 0, 1]);
    eventually("it beats again", || beats.oldest() < 2 * STRIDE);
}

#[test]
fn what_the_kernel_had_to_drop_is_counted() {
    let server = Server::start(localhost(1, 0), 1, Limits::default());
    let client = client(localhost(1, server.port));
    client.send(&query(0, &[HANG])).unwrap();
    let mut payload = query(1, &[DROP]);
    payload.resize(1024, 0);
    // Far more than the buffer holds, with or without the right to a large one.
    for _ in 0..40_000 {
        client.send(&payload).unwrap();
    }
    server.echo.open();
    eventually("losses are counted", || {
        // The kernel tells them with the next datagram.
        client.send(&payload).unwrap();
        server.serving().counts().overflowed > 0
    });
}
