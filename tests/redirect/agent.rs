//! The process on the node: this program itself, started again in the node's namespace, with the real keeper and
//! something that answers any two bytes. It is told what to do on its standard input, and tells its states on its output.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr},
    process::{Child, ChildStdin, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portolan::{
    dns::redirect::{Answering, Ending, Inputs, Keeper, Later, Numbers, Service, State, probe, sockets},
    tables::RedirectMarks,
};
use tokio::sync::watch;

use crate::net::{Machine, Net, VIPS, answer};

/// Its name to the world; also what tells the child that it is one.
const NAME: &str = "PORTOLAN_REDIRECT_AGENT";
/// How long a state may take that must come.
const DEADLINE: Duration = Duration::from_secs(60);
/// How many threads answer over UDP.
const WORKERS: usize = 2;

/// The process, seen from the test. Killed when dropped.
pub struct Agent {
    child: Child,
    orders: Option<ChildStdin>,
    words: Receiver<String>,
}

impl Agent {
    /// Starts it on the node; it answers in this name. It is not ready.
    pub fn start(net: &Net, name: &str) -> Self {
        let program = env::current_exe().unwrap();
        let words = [program.to_str().unwrap(), "--exact", "agent::in_the_child", "--nocapture", "--test-threads=1"];
        let mut command = net.command(Machine::Node, &words);
        let mut child = command.env(NAME, name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, words) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let agent = Self { orders: child.stdin.take(), child, words };
        agent.hear("started");
        agent
    }

    /// A process that is ready, with both addresses redirected.
    pub fn redirecting(net: &Net, name: &str) -> Self {
        let mut agent = Self::start(net, name);
        agent.order("ready");
        agent.hear_on();
        agent
    }

    /// Tells it something; see [`obey`].
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }

    /// Waits for a word that begins so.
    #[track_caller]
    pub fn hear(&self, beginning: &str) {
        let begun = Instant::now();
        let mut before = Vec::new();
        while let Some(left) = DEADLINE.checked_sub(begun.elapsed()) {
            match self.words.recv_timeout(left) {
                Ok(word) if word.starts_with(beginning) => return,
                Ok(word) => before.push(word),
                Err(error) => panic!("{beginning:?}: {error}; before it: {before:#?}"),
            }
        }
        panic!("{beginning:?} did not come; but {before:#?}");
    }

    /// Waits until both addresses are redirected.
    #[track_caller]
    pub fn hear_on(&self) {
        self.hear(&format!("states {} on {} on", VIPS[0], VIPS[1]));
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Kills it and waits until it is gone, with its sockets.
    pub fn die(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub fn ended(&mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process itself; no test.
#[test]
fn in_the_child() {
    let Ok(name) = env::var(NAME) else { return };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(obey(name));
}

/// Does what the lines say: `ready`, `unready`, `hang` (one thread that answers stops for good, another goes on),
/// `addresses A B`, `restart` and `off` (both end it).
async fn obey(name: String) {
    let (addresses, addresses_seen) = watch::channel(VIPS.map(|vip| vip.parse().unwrap()).to_vec());
    let (ready, ready_seen) = watch::channel(false);
    let echo = Arc::new(Echo { name, hang: Arc::default() });
    let keeper = Keeper::start(Inputs {
        addresses: addresses_seen,
        ready: ready_seen,
        service: echo.clone(),
        ask: Arc::new(|address| {
            Box::pin(async move { probe::ask(address, RedirectMarks::default(), &[9, 9]).await.map(|_| ()) })
        }),
        numbers: Numbers::default(),
    });
    let keeper = keeper.unwrap();
    let mut states = keeper.states();
    println!("\nstarted");
    let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel();
    thread::spawn(move || std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let ending = loop {
        tokio::select! {
            Ok(()) = states.changed() => tell(&states.borrow_and_update().clone()),
            order = orders.recv() => match order.as_deref() {
                Some("ready") => ready.send(true).unwrap(),
                Some("unready") => ready.send(false).unwrap(),
                Some("hang") => echo.hang.store(true, Ordering::Relaxed),
                Some("restart") => break Ending::Restart,
                Some("off") => break Ending::Off,
                Some(order) => {
                    let list = order.strip_prefix("addresses ").unwrap_or_else(|| panic!("{order}?"));
                    addresses.send(list.split(' ').map(|address| address.parse().unwrap()).collect()).unwrap();
                }
                None => return,
            },
        }
    };
    keeper.stop(ending).await;
}

fn tell(states: &portolan::dns::redirect::States) {
    let mut line = "states".to_owned();
    for (address, state) in states {
        line += &match state {
            State::On => format!(" {address} on"),
            State::Off(why) => format!(" {address} off ({}: {why})", why.word()),
        };
    }
    println!("{line}");
}

/// Answers everything with its name and the client's address.
struct Echo {
    name: String,
    hang: Arc<AtomicBool>,
}

struct Echoing {
    over: Arc<AtomicBool>,
    beats: Vec<Arc<Mutex<Instant>>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Service for Echo {
    fn open(&self, address: IpAddr) -> Result<Box<dyn Answering>, String> {
        let marks = RedirectMarks::default();
        let mut echoing = Echoing { over: Arc::default(), beats: Vec::new(), threads: Vec::new() };
        for worker in 0..WORKERS {
            let socket = sockets::udp(address, marks).map_err(|error| format!("UDP: {error}"))?;
            socket.set_nonblocking(false).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let beat = Arc::new(Mutex::new(Instant::now()));
            echoing.beats.push(beat.clone());
            let (name, over, hang) = (self.name.clone(), echoing.over.clone(), self.hang.clone());
            echoing.threads.push(thread::spawn(move || {
                let mut query = [0; 512];
                while !over.load(Ordering::Relaxed) {
                    if worker == 0 && hang.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(50));
                        continue;
                    }
                    *beat.lock().unwrap() = Instant::now();
                    if let Ok((length, client)) = socket.recv_from(&mut query) {
                        let _ = socket.send_to(&answer(&name, &query[..length], client), client);
                    }
                }
            }));
        }
        let listener = sockets::tcp(address, marks).map_err(|error| format!("TCP: {error}"))?;
        let (name, over) = (self.name.clone(), echoing.over.clone());
        echoing.threads.push(thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let Ok((mut stream, client)): std::io::Result<(_, SocketAddr)> = listener.accept() else {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let mut query = [0; 2];
                if stream.read_exact(&mut query).is_ok() {
                    let _ = stream.write_all(&answer(&name, &query, client));
                }
            }
        }));
        Ok(Box::new(echoing))
    }
}

impl Answering for Echoing {
    fn silence(&self) -> Duration {
        self.beats.iter().map(|beat| beat.lock().unwrap().elapsed()).max().unwrap_or_default()
    }

    fn close(self: Box<Self>) -> Later<()> {
        Box::pin(async move {
            self.over.store(true, Ordering::Relaxed);
            let joined = tokio::task::spawn_blocking(|| self.threads.into_iter().for_each(|t| t.join().unwrap()));
            joined.await.unwrap();
        })
    }
}
