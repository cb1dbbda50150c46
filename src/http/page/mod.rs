//! The built-in page: a live picture of what this node does, for a person who sits before it. It is for loopback addresses
//! alone, answers nothing but GET, and has no secret to give away; objects' names are data to it, never markup.

mod connections;
mod feed;
mod picture;

use std::net::IpAddr;

use axum::{
    Router,
    extract::{Path, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};

pub use feed::{Ask, Feed};
pub use picture::{DeadEndLine, EndpointPicture, FrontendPicture, Picture, ServicePicture, State};

/// What the page consists of: path, type and text.
const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("page.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
];

/// Nothing but its own files, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The page, and `/api/state/N[/TEXT]`: what it shows, with the changes after number N and only the Services with TEXT in
/// their names.
pub fn page_routes(feed: Feed) -> Router {
    let all = feed.clone();
    let mut routes = Router::new()
        .route("/api/state/{since}", get(async move |Path(since): Path<u64>| all.state(since, "").await))
        .route(
            "/api/state/{since}/{find}",
            get(async move |Path((since, find)): Path<(u64, String)>| feed.state(since, &find).await),
        );
    for (path, kind, text) in FILES {
        routes = routes.route(path, get(async move || ([(header::CONTENT_TYPE, kind)], text)));
    }
    routes.layer(from_fn(guard))
}

/// Lets only those in who name this host by a name that it can only have for itself: a page of somebody else, whose name
/// was made to lead here (DNS rebinding), names its own host.
async fn guard(request: Request, next: Next) -> Response {
    let mut answer = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        (StatusCode::METHOD_NOT_ALLOWED, "this page only answers GET\n").into_response()
    } else if !is_for_loopback(&request) {
        let words = "this page answers only to localhost and loopback addresses: forward a port, and ask there\n";
        (StatusCode::MISDIRECTED_REQUEST, words).into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn is_for_loopback(request: &Request) -> bool {
    // A request may name its host twice, and the one in the line counts.
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let asked = request.uri().authority().map(|authority| authority.as_str()).or(host);
    asked.is_some_and(is_loopback)
}

/// Whether `localhost:8080`, `127.0.0.1` or `[::1]:80` names a host by itself.
fn is_loopback(host: &str) -> bool {
    let Ok(uri) = format!("http://{host}/").parse::<Uri>() else { return false };
    let Some(name) = uri.authority().filter(|a| !a.as_str().contains('@')).map(|authority| authority.host()) else {
        return false;
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_mean_this_host_are_answered() {
        for own in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.0.0.1:10245",
            "127.9.9.9",
            "[::1]",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(is_loopback(own), "{own}");
        }
        for other in [
            "",
            "example.com",
            "localhost.example.com",
            "10.0.0.1",
            "127.0.0.1.nip.io",
            "0.0.0.0",
            "[::]",
            "::1x",
            "[::ffff:192.0.2.1]",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
        assert!(!is_loopback("localhost@example.com"));
        assert!(!is_loopback("example.com@localhost"));
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for (path, _, text) in FILES {
            let foreign = text.matches("http").count() - text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(foreign, 0, "{path} names another server");
            for sink in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "onclick=", "style="]
            {
                assert!(!text.contains(sink), "{path} uses {sink}");
            }
        }
    }
}
