//! What is too much is answered or refused at once; it does not queue.

use std::{
    io::Write,
    net::{TcpStream, UdpSocket},
    time::Duration,
};

use portolan::dns::serve::Limits;
use socket2::{Domain, Socket, Type};

use crate::{
    responder::{BUSY, ECHO, LATER, PATIENCE, Server, WAIT, answer, ask, client, localhost, query},
    sandbox::eventually,
    tcp::{assert_closed, connect, framed, read},
};

#[test]
fn a_query_that_may_not_wait_is_told_so() {
    let server = Server::start(localhost(1, 0), 1, Limits { outstanding: 4, ..Limits::default() });
    let udp = client(localhost(1, server.port));
    udp.send(&query(1, &[LATER, 200])).unwrap();
    let mut tcp = connect(&server);
    tcp.write_all(&framed(&query(2, &[LATER, 200]))).unwrap();
    eventually("both wait: the share of one client", || server.serving().counts().outstanding == 2);
    assert_eq!(ask(&udp, &query(3, &[LATER, 0])), BUSY);
    tcp.write_all(&framed(&query(4, &[LATER, 0]))).unwrap();
    assert_eq!(read(&mut tcp), BUSY);
    assert_eq!(ask(&udp, &query(5, &[ECHO]))[3], 5, "what need not wait does not mind");
    let other = UdpSocket::bind(localhost(2, 0)).unwrap();
    other.connect(localhost(1, server.port)).unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(ask(&other, &query(7, &[LATER, 0]))[3], 7, "others have their share");
    assert_eq!(answer(&udp)[3], 1);
    assert_eq!(read(&mut tcp)[3], 2);
    let counts = server.serving().counts();
    assert_eq!(counts.busy, 2);
    assert_eq!(ask(&udp, &query(6, &[LATER, 0]))[3], 6, "there is room again");
}

#[test]
fn who_ends_a_connection_keeps_the_places_of_what_it_asked() {
    let limits = Limits { outstanding: 4, connections_per_client: 1, ..Limits::default() };
    let server = Server::start(localhost(1, 0), 1, limits);
    let mut first = connect(&server);
    for number in [1, 2] {
        first.write_all(&framed(&query(number, &[WAIT]))).unwrap();
    }
    eventually("both wait", || server.serving().counts().outstanding == 2);
    // Reset: one that is only closed is waited for.
    socket2::SockRef::from(&first).set_linger(Some(Duration::ZERO)).unwrap();
    drop(first);
    eventually("the connection is gone", || {
        let mut next = connect(&server);
        next.write_all(&framed(&query(3, &[WAIT]))).is_ok()
            && std::io::Read::read(&mut next, &mut [0; 2]).is_ok_and(|read| read > 0)
    });
    assert_eq!(server.serving().counts().outstanding, 2, "a third was not taken on");
    server.echo.open();
    eventually("they ended", || server.serving().counts().outstanding == 0);
}

#[test]
fn one_client_cannot_take_all_connections() {
    let limits = Limits { connections: 6, connections_per_client: 4, ..Limits::default() };
    let server = Server::start(localhost(1, 0), 1, limits);
    let from = |last| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&localhost(last, 0).into()).unwrap();
        socket.connect(&localhost(1, server.port).into()).unwrap();
        TcpStream::from(socket)
    };
    let asks = |stream: &mut TcpStream| {
        stream.write_all(&framed(&query(1, &[ECHO]))).unwrap();
        assert_eq!(read(stream)[3], 1);
    };
    let mut greedy: Vec<_> = (0..4).map(|_| from(2)).collect();
    greedy.iter_mut().for_each(asks);
    assert_closed(&mut from(2));
    let mut others = [from(3), from(4)];
    others.iter_mut().for_each(asks);
    assert_closed(&mut from(5));
    assert_eq!(server.serving().counts().refused_connections, 2);
    assert_eq!(server.serving().counts().connections, 6);
    drop(greedy);
    eventually("there is room again", || {
        let mut stream = from(2);
        stream.write_all(&framed(&query(1, &[ECHO]))).is_ok()
            && std::io::Read::read(&mut stream, &mut [0; 2]).is_ok_and(|n| n > 0)
    });
}

#[test]
fn who_asks_nothing_is_let_go() {
    let limits =
        Limits { first_query: Duration::from_millis(200), idle: Duration::from_millis(700), ..Limits::default() };
    let server = Server::start(localhost(1, 0), 1, limits);
    let mut silent = connect(&server);
    let mut dripping = connect(&server);
    let mut idle = connect(&server);
    idle.write_all(&framed(&query(1, &[ECHO]))).unwrap();
    dripping.write_all(&[0]).unwrap();
    assert_closed(&mut silent);
    assert_closed(&mut dripping);
    assert_eq!(read(&mut idle)[3], 1);
    assert_closed(&mut idle);
    assert_eq!(server.serving().counts().dropped_connections, 1, "only the one that began something");
}
