//! Who may ask: this page, in this machine's browser. Everything else is refused, so that no other site can read a plan or start
//! a benchmark through the reader's browser.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// The header that the page's own script sends; a form or another site's script cannot without asking first.
const OWN: &str = "x-breakeven";
/// Nothing from elsewhere, nothing inline but styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub(super) async fn guard(State(state): State<Arc<super::State>>, request: Request, next: Next) -> Response {
    let mut response = match refusal(request.headers(), request.method(), state.address) {
        Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why a request is refused; `None` where it may pass.
fn refusal(headers: &HeaderMap, method: &Method, address: std::net::SocketAddr) -> Option<&'static str> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("\0"));
    let host = text(header::HOST).unwrap_or_default();
    if !is_ours(host, address) {
        return Some(
            "refused: the Host header names another machine; open the address that `breakeven ui` printed\n",
        );
    }
    if text(header::ORIGIN).is_some_and(|origin| origin != format!("http://{host}")) {
        return Some("refused: the request comes from another site\n");
    }
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("\0"));
    // A person who follows a shared link comes from elsewhere; a page is all that such a request may load.
    let is_navigation =
        headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate") && method == Method::GET;
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) && !is_navigation {
        return Some("refused: the request comes from another site\n");
    }
    if method != Method::GET && !headers.contains_key(OWN) {
        return Some("refused: the request does not come from this page\n");
    }
    None
}

/// Whether a `Host` is the listening address, or a loopback name with its port.
fn is_ours(host: &str, address: std::net::SocketAddr) -> bool {
    let Some((name, port)) = host.rsplit_once(':') else { return false };
    if port != address.port().to_string() {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let ip = name.parse::<IpAddr>().ok();
    name == "localhost"
        || ip.is_some_and(|ip| ip == address.ip() || ip.is_loopback() && address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: &Method, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        refusal(&map, method, "127.0.0.1:7777".parse().unwrap()).is_some()
    }

    #[test]
    fn only_this_page_may_ask() {
        let ours = ("host", "127.0.0.1:7777");
        assert!(!refused(&Method::GET, &[ours]));
        assert!(!refused(&Method::GET, &[("host", "localhost:7777")]));
        assert!(!refused(&Method::GET, &[("host", "[::1]:7777")]));
        for host in ["evil.example", "evil.example:7777", "127.0.0.1:80", "127.0.0.1", "", "10.0.0.1:7777"] {
            assert!(refused(&Method::GET, &[("host", host)]), "{host}");
        }
        assert!(refused(&Method::GET, &[]));
        assert!(!refused(&Method::GET, &[ours, ("origin", "http://127.0.0.1:7777")]));
        for origin in ["http://evil.example", "null", "https://127.0.0.1:7777", "http://localhost:7777"] {
            assert!(refused(&Method::GET, &[ours, ("origin", origin)]), "{origin}");
        }
        assert!(refused(&Method::GET, &[ours, ("sec-fetch-site", "cross-site")]));
        assert!(!refused(
            &Method::GET,
            &[ours, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]
        ));
        assert!(refused(&Method::POST, &[ours]), "a form of another site");
        assert!(refused(
            &Method::POST,
            &[ours, ("x-breakeven", "1"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]
        ));
        assert!(!refused(&Method::POST, &[ours, ("x-breakeven", "1"), ("origin", "http://127.0.0.1:7777")]));
    }
}
