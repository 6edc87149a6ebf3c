//! Connections to one server: opened when needed, kept open, used again.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use breakeven_measurement::FailureCause;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use super::{
    connection::{Connection, Head, NoHead, Stream},
    endpoint::{ApiKey, Endpoint},
    fault::Fault,
};

/// Why a client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The host is no name that a certificate could carry.
    #[error("`{0}` is not a host name that TLS can verify")]
    ServerName(String),
    /// The TLS library refused its own settings.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// A client of one endpoint.
pub struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) key: Option<ApiKey>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Vec<Connection>>,
    addresses: Mutex<Vec<SocketAddr>>,
}

/// Without key and connections.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Client {
    /// A client; opens nothing yet. TLS trusts the system's certificates (`SSL_CERT_FILE` names others) and Mozilla's.
    pub fn new(endpoint: Endpoint, key: Option<ApiKey>) -> Result<Self, ClientError> {
        raise_file_limit();
        let tls = if endpoint.tls { Some(tls_of(&endpoint)?) } else { None };
        Ok(Self { endpoint, key, tls, idle: Mutex::default(), addresses: Mutex::default() })
    }

    /// An idle connection that is still open.
    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_idle() {
                return Some(connection);
            }
        }
        None
    }

    /// Takes back a connection whose exchange has ended.
    pub(crate) fn give_back(&self, mut connection: Connection) {
        connection.reused = true;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    async fn connect(&self) -> Result<Connection, Fault> {
        let known = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let addresses = if known.is_empty() {
            let host = self.endpoint.host.as_str();
            let found = lookup_host((host, self.endpoint.port)).await;
            found.map_err(|error| Fault::connection(&format!("looking up {host}"), &error))?.collect()
        } else {
            known
        };
        let mut refused = Fault::new(FailureCause::Connection, "the host name has no address");
        for address in &addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // The address that answered comes first from now on: no look-up, no dead address in the timings.
                    *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = vec![*address];
                    return self.secure(stream).await;
                }
                Err(error) => refused = Fault::connection(&format!("connecting to {address}"), &error),
            }
        }
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Err(refused)
    }

    async fn secure(&self, stream: TcpStream) -> Result<Connection, Fault> {
        // Fails only on a socket that is already dead; the next write says so.
        drop(stream.set_nodelay(true));
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some((connector, name)) => match connector.connect(name.clone(), stream).await {
                Ok(stream) => Stream::Tls(Box::new(stream)),
                Err(error) => return Err(Fault::connection("TLS", &error)),
            },
        };
        Ok(Connection::new(stream))
    }

    /// Sends what `write` puts into a connection's outgoing buffer and waits for the head of the answer.
    ///
    /// A kept-alive connection may have expired just as it is used: where it ends before the first byte of an answer, the
    /// request goes once more over a new one, as every HTTP client does.
    pub(crate) async fn exchange(
        &self,
        write: &(dyn Fn(&mut Vec<u8>) + Send + Sync),
    ) -> Result<(Connection, Head), Fault> {
        let mut kept = self.idle();
        loop {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            connection.outgoing.clear();
            write(&mut connection.outgoing);
            let written = connection.send().await;
            if written.is_err() && connection.reused {
                continue;
            }
            // A server may refuse a request before it has read all of it: its answer says more than the broken pipe.
            match (connection.head().await, written) {
                (Ok(head), _) => return Ok((connection, head)),
                (Err(NoHead::Gone(_)), _) if connection.reused => {}
                (Err(_), Err(error)) => return Err(Fault::connection("sending the request", &error)),
                (Err(NoHead::Gone(fault) | NoHead::Fault(fault)), Ok(())) => return Err(fault),
            }
        }
    }

    /// A small GET below the base address: status and body.
    pub(crate) async fn get(&self, below: &str) -> Result<(u16, Vec<u8>), Fault> {
        let head = self.request_head("GET", below);
        let (mut connection, answer) = self
            .exchange(&|out| {
                out.extend_from_slice(&head);
                out.extend_from_slice(b"\r\n");
            })
            .await?;
        let (body, whole) = read_up_to(&mut connection, &answer, 1 << 20).await?;
        if whole && answer.keeps_alive {
            self.give_back(connection);
        }
        Ok((answer.status, body))
    }

    /// The request line and the headers that all requests share, each ended. Holds the key.
    pub(crate) fn request_head(&self, method: &str, below: &str) -> Vec<u8> {
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: breakeven/{}\r\nAccept-Encoding: identity\r\n",
            self.endpoint.target(below),
            self.endpoint.authority(),
            env!("CARGO_PKG_VERSION")
        );
        if let Some(key) = &self.key {
            head.push_str("Authorization: Bearer ");
            head.push_str(key.expose());
            head.push_str("\r\n");
        }
        head.into_bytes()
    }

    /// `text` without the key.
    pub(crate) fn scrub(&self, text: String) -> String {
        match &self.key {
            Some(key) => key.scrub(&text),
            None => text,
        }
    }
}

/// A connection is a file, and shells commonly allow 1,024: takes what the system lets this process have.
#[cfg(unix)]
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it is refused the old limit stays, and a connection over it is a recorded failure.
        let _refused = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(not(unix))]
fn raise_file_limit() {}

/// A body up to a limit, and whether that was all of it.
pub(crate) async fn read_up_to(
    connection: &mut Connection,
    head: &Head,
    limit: usize,
) -> Result<(Vec<u8>, bool), Fault> {
    let mut framing = head.framing;
    let mut body = Vec::new();
    while let Some((piece, _)) = connection.body(&mut framing).await? {
        body.extend_from_slice(piece);
        if body.len() > limit {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}

fn tls_of(endpoint: &Endpoint) -> Result<(TlsConnector, ServerName<'static>), ClientError> {
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| ClientError::ServerName(endpoint.host.clone()))?;
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    // What cannot be read is left out: a server whose certificate needs it fails the handshake and says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsConnector::from(Arc::new(config)), name))
}
