//! Names that would be markup, if the page let them.

use portolan::{
    health::{Health, NodeState},
    http::{
        DeadEndLine, EndpointPicture, EndpointState, FrontendPicture, PageFeed, Picture, Server, ServicePicture,
        page_routes,
    },
    model::{Frontend, Protocol, ServiceId, Target},
    status::{By, Status},
};
use tokio_util::sync::CancellationToken;

use crate::{
    browser::Browser,
    can_run,
    support::{PATIENCE, in_namespace},
};

const HOSTILE: &str = "</text></script><script>window.hacked=1</script><img src=x onerror=\"window.hacked=1\">'\"&amp;";

fn picture() -> Picture {
    let frontend = Frontend { address: [10, 96, 0, 10].into(), protocol: Protocol::Tcp, port: 80 };
    let text = || HOSTILE.to_owned();
    Picture {
        services: vec![ServicePicture {
            name: text(),
            kind: text(),
            nothing: Some(text()),
            frontends: vec![FrontendPicture {
                frontend,
                kind: "cluster IP",
                port: text(),
                words: text(),
                dead_end: true,
                served: 0,
                unserved: 1,
                rate: 0.0,
            }],
            endpoints: vec![EndpointPicture {
                target: Target { address: [10, 1, 0, 1].into(), port: 80 },
                protocol: text(),
                pod: text(),
                node: text(),
                state: EndpointState::NotReady,
                words: text(),
                connections: None,
            }],
            ..ServicePicture::default()
        }],
        matching: 1,
        total: 1,
        dead_ends: vec![DeadEndLine { service: text(), frontend, words: text(), count: 1 }],
        ..Picture::default()
    }
}

#[test]
fn names_are_never_markup() {
    if !can_run("names_are_never_markup") {
        return;
    }
    in_namespace(&[], || async {
        let (health, status) = (Health::new(PATIENCE, NodeState::Eligible), Status::new(HOSTILE));
        status.source_failed(HOSTILE, HOSTILE);
        status.failed(HOSTILE);
        status.happened(By::Other(HOSTILE.to_owned()), HOSTILE, vec![HOSTILE.to_owned()]);
        status.programmed([(ServiceId::new(HOSTILE, HOSTILE), vec![HOSTILE.to_owned()])]);
        let (feed, mut asks) = PageFeed::new(health, status);
        tokio::spawn(async move {
            while let Some(ask) = asks.recv().await {
                let _ = ask.answer.send(picture());
            }
        });
        let address = "127.0.0.1:10245".parse().unwrap();
        let server =
            Server { name: "page", flag: "--page-address", address, hard_fail: true, routes: page_routes(feed) };
        tokio::spawn(server.run(CancellationToken::new()));
        tokio::task::spawn_blocking(|| {
            let mut browser = Browser::open();
            browser.go("http://localhost:10245/");
            browser.until("the Service", "document.querySelector('.band')");
            browser.eval("document.querySelector('.band').dispatchEvent(new MouseEvent('click'))");
            browser.until("its tables", "document.querySelectorAll('#tables table').length === 2");
            let whole = browser.eval("document.getElementById('chosen').textContent");
            assert_eq!(whole, HOSTILE, "the name is shown as it is");
            for place in ["node", "trouble", "dead-ends", "changes", "tables", "health"] {
                let text = browser.eval(&format!("document.getElementById('{place}').textContent"));
                let expected = place == "health" || text.as_str().unwrap().contains(HOSTILE);
                assert!(expected, "{place}: {text}");
            }
            assert_eq!(browser.eval("document.images.length + document.scripts.length"), 1, "its own script alone");
            assert_eq!(browser.eval("window.hacked === undefined"), true);
            assert_eq!(browser.complaints, Vec::<String>::new(), "nothing even had to be blocked");
        })
        .await
        .unwrap();
    });
}
