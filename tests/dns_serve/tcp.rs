use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use portolan::dns::serve::Limits;

use crate::{
    responder::{BIG, DROP, ECHO, LATER, PATIENCE, Server, localhost, query},
    sandbox::eventually,
};

pub fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(localhost(1, server.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn framed(query: &[u8]) -> Vec<u8> {
    [&u16::try_from(query.len()).unwrap().to_be_bytes(), query].concat()
}

#[track_caller]
pub fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("an answer");
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).expect("the rest of an answer");
    message
}

/// The server closes; nothing more comes.
#[track_caller]
pub fn assert_closed(stream: &mut TcpStream) {
    match stream.read(&mut [0; 16]) {
        Ok(0) => {}
        Ok(_) => panic!("an answer that was not expected"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn queries_are_answered_as_they_come_each_whole() {
    let server = Server::start(localhost(1, 0), 1, Limits::default());
    let mut stream = connect(&server);
    let mut sent = Vec::new();
    for (number, what) in [(0, [LATER, 40]), (1, [DROP, 0]), (2, [BIG, 60]), (3, [LATER, 5]), (4, [ECHO, 0])] {
        sent.extend(framed(&query(number, &what)));
    }
    // In pieces that respect no border.
    for piece in sent.chunks(7) {
        stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let answers: Vec<_> = (0..4).map(|_| read(&mut stream)).collect();
    assert_eq!(answers.iter().map(|answer| answer[3]).collect::<Vec<_>>(), [2, 4, 3, 0]);
    assert_eq!(answers[0].len(), 60 * 1024);
    // The client has no more queries, but wants its answers.
    stream.write_all(&framed(&query(9, &[LATER, 10]))).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&mut stream)[3], 9);
    assert_closed(&mut stream);
}

#[test]
fn more_queries_than_may_wait_at_a_time_are_all_answered() {
    let server = Server::start(localhost(1, 0), 1, Limits { pipelined: 4, ..Limits::default() });
    let mut stream = connect(&server);
    let sent: Vec<u8> = (0..100).flat_map(|number| framed(&query(number, &[LATER, 1]))).collect();
    stream.write_all(&sent).unwrap();
    let mut numbers: Vec<_> = (0..100).map(|_| read(&mut stream)[3]).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
}

#[test]
fn a_length_that_no_query_has_closes_the_connection() {
    let server = Server::start(localhost(1, 0), 1, Limits::default());
    let mut stream = connect(&server);
    stream.write_all(&[&framed(&query(1, &[ECHO]))[..], &[0, 11]].concat()).unwrap();
    assert_eq!(read(&mut stream)[3], 1);
    assert_closed(&mut stream);
    eventually("it is counted", || server.serving().counts().dropped_connections == 1);
}

#[test]
fn a_cut_connection_costs_nobody_else_anything() {
    let server = Server::start(localhost(1, 0), 1, Limits::default());
    let mut other = connect(&server);
    for _ in 0..50 {
        let mut stream = connect(&server);
        stream.write_all(&framed(&query(1, &[LATER, 3]))).unwrap();
        stream.write_all(&framed(&query(2, &[ECHO]))[..9]).unwrap();
    }
    other.write_all(&framed(&query(3, &[ECHO]))).unwrap();
    assert_eq!(read(&mut other)[3], 3);
    eventually("nothing is outstanding", || server.serving().counts().outstanding == 0);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let limits = Limits { write: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start(localhost(1, 0), 1, limits);
    let mut slow = connect(&server);
    let mut other = connect(&server);
    let sent: Vec<u8> = (0..2000).flat_map(|number| framed(&query(number, &[BIG, 60]))).collect();
    let writer = std::thread::spawn(move || {
        // It fails when the server has had enough.
        let _ = slow.write_all(&sent);
        slow
    });
    other.write_all(&framed(&query(3, &[ECHO]))).unwrap();
    assert_eq!(read(&mut other)[3], 3);
    eventually("the slow one is given up", || server.serving().counts().dropped_connections == 1);
    drop(writer.join().unwrap());
}

#[test]
fn at_the_end_what_was_asked_is_answered() {
    let mut server = Server::start(localhost(1, 0), 1, Limits::default());
    let mut busy = connect(&server);
    let mut idle = connect(&server);
    idle.write_all(&framed(&query(1, &[ECHO]))).unwrap();
    read(&mut idle);
    busy.write_all(&framed(&query(2, &[LATER, 30]))).unwrap();
    eventually("the query has arrived", || server.serving().counts().outstanding == 1);
    busy.write_all(&framed(&query(3, &[ECHO]))).unwrap();
    server.stop();
    let mut answers = [read(&mut busy)[3], read(&mut busy)[3]];
    answers.sort_unstable();
    assert_eq!(answers, [2, 3]);
    assert_closed(&mut busy);
    assert_closed(&mut idle);
    TcpStream::connect(localhost(1, server.port)).expect_err("the port is closed");
}
