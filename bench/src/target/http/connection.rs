//! One HTTP/1.1 connection: written by hand so that bytes are stamped as they arrive, before anything looks at them, and so
//! that a chunk costs no allocation.

use std::io;

use breakeven_measurement::FailureCause;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use super::{
    body::{Chunk, Framing, Step},
    fault::Fault,
};

/// Buffer at first: most streams deliver a few hundred bytes at a time, and a thousand connections should stay small.
const FIRST_BUFFER: usize = 4 << 10;
/// Buffer at most, for large answers; and the longest head accepted.
const LARGEST_BUFFER: usize = 64 << 10;
/// Most header fields accepted.
const MOST_HEADERS: usize = 128;

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn reader(&mut self) -> &mut (dyn AsyncRead + Unpin + Send) {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }

    fn writer(&mut self) -> &mut (dyn AsyncWrite + Unpin + Send) {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// An open connection and what of its input has not been used.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    arrived: Instant,
    /// What is written next; kept for its room.
    pub(crate) outgoing: Vec<u8>,
    /// Whether it has carried an exchange before.
    pub(crate) reused: bool,
}

/// The part of a response head that matters here.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) keeps_alive: bool,
    pub(crate) content_type: String,
    pub(crate) content_encoding: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) retry_after_ms: Option<String>,
    pub(crate) location: Option<String>,
}

/// Why no head came.
#[derive(Debug)]
pub(crate) enum NoHead {
    /// The connection ended before the first byte: a kept-alive one may simply have expired.
    Gone(Fault),
    /// Anything else.
    Fault(Fault),
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            buffer: vec![0; FIRST_BUFFER],
            from: 0,
            to: 0,
            arrived: Instant::now(),
            outgoing: Vec::new(),
            reused: false,
        }
    }

    /// Whether an idle connection can carry another exchange: the server has neither closed it nor said anything.
    pub(crate) fn is_idle(&self) -> bool {
        let mut byte = [0];
        let silent = match self.stream.tcp().try_read(&mut byte) {
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        silent && self.from == self.to
    }

    /// Writes `outgoing`.
    pub(crate) async fn send(&mut self) -> io::Result<()> {
        let writer = self.stream.writer();
        writer.write_all(&self.outgoing).await?;
        writer.flush().await
    }

    /// Waits for the next bytes and stamps them. Returns how many came; 0 at the end of the connection.
    async fn fill(&mut self) -> io::Result<usize> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
        if self.to == self.buffer.len() {
            if self.from > 0 {
                self.buffer.copy_within(self.from..self.to, 0);
                (self.from, self.to) = (0, self.to - self.from);
            } else {
                self.buffer.resize((self.buffer.len() * 4).min(LARGEST_BUFFER), 0);
            }
        }
        let room = self.buffer.get_mut(self.to..).unwrap_or_default();
        let room_size = room.len();
        let count = self.stream.reader().read(room).await?;
        self.arrived = Instant::now();
        self.to += count;
        if count == room_size && self.buffer.len() < LARGEST_BUFFER {
            self.buffer.resize(self.buffer.len() * 4, 0);
        }
        Ok(count)
    }

    fn unused(&self) -> &[u8] {
        self.buffer.get(self.from..self.to).unwrap_or_default()
    }

    /// Reads the head of the response, passing over interim ones (1xx).
    pub(crate) async fn head(&mut self) -> Result<Head, NoHead> {
        let mut any = false;
        loop {
            if !self.unused().is_empty() {
                any = true;
                match parse_head(self.unused()).map_err(NoHead::Fault)? {
                    Some((length, head)) => {
                        self.from += length;
                        if (100..200).contains(&head.status) {
                            continue;
                        }
                        return Ok(head);
                    }
                    None if self.to - self.from >= LARGEST_BUFFER => {
                        return Err(NoHead::Fault(Fault::malformed("a response head of more than 64 KiB")));
                    }
                    None => {}
                }
            }
            match self.fill().await {
                Ok(0) if any => {
                    return Err(NoHead::Fault(Fault::new(
                        FailureCause::Connection,
                        "the connection ended in the response head",
                    )));
                }
                Ok(0) => {
                    return Err(NoHead::Gone(Fault::new(
                        FailureCause::Connection,
                        "the server closed the connection without an answer",
                    )));
                }
                Ok(_) => {}
                Err(error) => {
                    let fault = Fault::connection("waiting for the answer", &error);
                    return Err(if any { NoHead::Fault(fault) } else { NoHead::Gone(fault) });
                }
            }
        }
    }

    /// The next piece of body and when it arrived; `None` at its end.
    pub(crate) async fn body(&mut self, framing: &mut Framing) -> Result<Option<(&[u8], Instant)>, Fault> {
        loop {
            let step = framing.step(self.unused()).map_err(|error| Fault::malformed(error.to_string()))?;
            match step {
                Step::Data { from, to } => {
                    let start = self.from + from;
                    self.from += to;
                    let piece = self.buffer.get(start..self.from).unwrap_or_default();
                    return Ok(Some((piece, self.arrived)));
                }
                Step::End(used) => {
                    self.from += used;
                    return Ok(None);
                }
                Step::More => self.from = self.to,
            }
            match self.fill().await {
                Ok(0) if framing.may_end_here() => return Ok(None),
                Ok(0) => {
                    return Err(Fault::new(
                        FailureCause::Connection,
                        "the connection ended before the answer did",
                    ));
                }
                Ok(_) => {}
                Err(error) => return Err(Fault::connection("reading the answer", &error)),
            }
        }
    }
}

/// A head and its length in bytes; `None` where it is not complete.
fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Head)>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => {
            let start = super::fault::excerpt(bytes);
            return Err(Fault::malformed(format!("not an HTTP response ({error}): {start}")));
        }
    };
    let status = response.code.unwrap_or_default();
    let mut head = Head {
        status,
        framing: Framing::UntilClose,
        keeps_alive: response.version == Some(1),
        content_type: String::new(),
        content_encoding: None,
        retry_after: None,
        retry_after_ms: None,
        location: None,
    };
    let mut length_given = None;
    let mut chunked = false;
    for field in response.headers.iter() {
        let text = || String::from_utf8_lossy(field.value).trim().to_owned();
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-type") {
            head.content_type = text().to_ascii_lowercase();
        } else if is("content-length") {
            let value = text().parse::<u64>();
            length_given =
                Some(value.map_err(|_| Fault::malformed("a Content-Length that is not a number"))?);
        } else if is("transfer-encoding") {
            chunked = text().to_ascii_lowercase().ends_with("chunked");
        } else if is("connection") {
            let value = text().to_ascii_lowercase();
            head.keeps_alive = !value.contains("close") && (head.keeps_alive || value.contains("keep-alive"));
        } else if is("content-encoding") {
            head.content_encoding = Some(text()).filter(|coding| !coding.eq_ignore_ascii_case("identity"));
        } else if is("retry-after") {
            head.retry_after = Some(text());
        } else if is("retry-after-ms") {
            head.retry_after_ms = Some(text());
        } else if is("location") {
            head.location = Some(text());
        }
    }
    head.framing = match (status, chunked, length_given) {
        (100..=199 | 204 | 304, ..) => Framing::Length(0),
        (_, true, _) => Framing::Chunked(Chunk::START),
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => {
            head.keeps_alive = false;
            Framing::UntilClose
        }
    };
    Ok(Some((length, head)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        parse_head(text.as_bytes()).unwrap().unwrap().1
    }

    #[test]
    fn framing_follows_the_standard() {
        let chunked = head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(chunked.framing, Framing::Chunked(Chunk::START));
        assert_eq!(head("HTTP/1.1 204 No Content\r\n\r\n").framing, Framing::Length(0));
        let until_close = head("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!((until_close.framing, until_close.keeps_alive), (Framing::UntilClose, false));
        let old = head("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n");
        assert!(old.keeps_alive && !head("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").keeps_alive);
        assert!(!head("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\n").keeps_alive);
        assert!(parse_head(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap().is_none());
        assert!(parse_head(b"SSH-2.0-OpenSSH\r\n").is_err());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").is_err());
    }
}
