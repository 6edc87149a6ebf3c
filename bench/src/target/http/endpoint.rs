//! Where the server is, and the key that opens it. A key has no way into a file, a log, a `Debug` text or an error.

use std::fmt;

use http::Uri;

/// An OpenAI-compatible base address, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether to speak TLS.
    pub(crate) tls: bool,
    /// Host name or address, without brackets.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// Path without a slash at its end: `/v1`.
    pub(crate) path: String,
    /// Query that goes with every request (`?api-version=…`); may hold secrets, so it is not recorded.
    query: Option<String>,
}

/// Why an address was refused. The address itself is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not an address.
    #[error("not an address; expected http://host:port/v1 or https://host/v1")]
    Syntax,
    /// Neither http nor https.
    #[error("expected an address that begins with http:// or https://")]
    Scheme,
    /// A user name or password in it.
    #[error(
        "a user name or password in the address would end up in files; give a key through the environment variable \
         BREAKEVEN_API_KEY"
    )]
    Credentials,
}

impl Endpoint {
    /// Parses `http://host:port/v1`. `/chat/completions` or `/completions` at the end is taken off.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let uri: Uri = text.trim().parse().map_err(|_| EndpointError::Syntax)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(EndpointError::Scheme),
        };
        let authority = uri.authority().ok_or(EndpointError::Syntax)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(EndpointError::Syntax);
        }
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix("/completions").unwrap_or(path);
        let path = path.strip_suffix("/chat").unwrap_or(path).trim_end_matches('/').to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port, path, query: uri.query().map(str::to_owned) })
    }

    /// Path and query of something below the base address: `/chat/completions`.
    pub(crate) fn target(&self, below: &str) -> String {
        match &self.query {
            Some(query) => format!("{}{below}?{query}", self.path),
            None => format!("{}{below}", self.path),
        }
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether the server is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }

    /// Whether the address is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls
    }
}

/// As it may be recorded: without the query.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// A key for the `Authorization` header.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// A key that cannot be a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key is empty or holds a space, a line break or a character outside ASCII; check for a copied newline"
)]
pub struct BadKey;

impl ApiKey {
    /// Takes a key as the environment gives it; white space around it is a copying mistake.
    pub fn new(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadKey);
        }
        Ok(Self(text.to_owned()))
    }

    /// For the header, and nothing else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the key: servers repeat it in their errors.
    pub(crate) fn scrub(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([key])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_recorded_without_secrets() {
        let local = Endpoint::parse("http://127.0.0.1:8080/v1/").unwrap();
        assert_eq!(local.to_string(), "http://127.0.0.1:8080/v1");
        assert_eq!(local.target("/chat/completions"), "/v1/chat/completions");
        assert!(local.is_loopback() && !local.is_encrypted());
        let azure =
            Endpoint::parse("https://x.example/openai/v1/chat/completions?api-version=1&sig=hush").unwrap();
        assert_eq!(azure.to_string(), "https://x.example/openai/v1");
        assert_eq!(azure.target("/models"), "/openai/v1/models?api-version=1&sig=hush");
        assert!(!format!("{azure:?}").contains("hush"));
        let six = Endpoint::parse("http://[::1]:9/v1").unwrap();
        assert_eq!((six.host.as_str(), six.authority().as_str()), ("::1", "[::1]:9"));
        assert_eq!(Endpoint::parse("http://me:hush@h/v1"), Err(EndpointError::Credentials));
        assert_eq!(Endpoint::parse("ftp://h/v1"), Err(EndpointError::Scheme));
        assert!(Endpoint::parse("localhost:8000").is_err() && Endpoint::parse("http://").is_err());
    }

    #[test]
    fn a_key_shows_nowhere() {
        let key = ApiKey::new(" sk-hush\n").unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "ApiKey([key]) ApiKey([key])");
        assert_eq!(key.scrub("wrong key sk-hush given"), "wrong key [key] given");
        assert_eq!((ApiKey::new(" "), ApiKey::new("a\r\nb: c")), (Err(BadKey), Err(BadKey)));
    }
}
