//! The null targets: they answer at once and by script, so that what is measured is the load generator itself.
//!
//! [`NullTarget`] answers in process. [`NullServer`] speaks HTTP over loopback and keeps its own log of when each byte left:
//! the truth that our clocks are held against.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use breakeven_measurement::level::TokenSource;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};

use crate::{
    requests::Request,
    target::{Attempting, Outcome, Target, Trace, Usage},
};

/// Answers with as many tokens as were asked for, in no time.
#[derive(Debug, Clone, Copy)]
pub struct NullTarget;

impl Target for NullTarget {
    fn attempt<'a>(&'a self, request: &'a Request, trace: &'a mut Trace) -> Attempting<'a> {
        Box::pin(async move {
            for _ in 0..request.output_tokens {
                trace.chunk(Instant::now(), 1);
            }
            Outcome::Completed(Usage {
                input_tokens: request.input_tokens.into(),
                cached_tokens: 0,
                output_tokens: request.output_tokens.into(),
                source: TokenSource::Usage,
            })
        })
    }
}

/// How the server answers every request.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// From the request's last byte to the first token.
    pub ttft: Duration,
    /// Between tokens; zero sends the whole answer at once.
    pub itl: Duration,
    /// Tokens of each answer, one an event.
    pub tokens: u32,
    /// Nothing leaves between these times, counted from the server's start.
    pub stall: Option<(Duration, Duration)>,
}

/// What the server knows of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    /// The request's number, as the client gave it.
    pub id: u64,
    /// When its last byte was read.
    pub received: Instant,
    /// When the first token was handed to the kernel.
    pub first: Instant,
    /// When the last was.
    pub last: Instant,
}

/// An OpenAI-compatible server of scripted timing. Lives on the runtime that it is served on.
#[derive(Debug)]
pub struct NullServer {
    listener: TcpListener,
    address: SocketAddr,
    answers: Arc<Answers>,
}

#[derive(Debug)]
struct Answers {
    script: Script,
    start: Instant,
    head: &'static [u8],
    token: Vec<u8>,
    end: Vec<u8>,
    whole: Vec<u8>,
    log: Mutex<Vec<Truth>>,
}

/// Reads the server's log, also after it was stopped.
#[derive(Debug, Clone)]
pub struct TruthLog(Arc<Answers>);

impl TruthLog {
    /// Takes what was logged so far.
    pub fn take(&self) -> Vec<Truth> {
        std::mem::take(&mut *self.0.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl NullServer {
    /// Listens on a free port of the loopback interface.
    pub async fn bind(script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let chunk = |data: &str| format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8);
        let object = r#""id":"chatcmpl-null","object":"chat.completion.chunk","created":1,"model":"null""#;
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let token = chunk(&format!(
            r#"{{{object},"choices":[{{"index":0,"delta":{{"content":" token"}},"finish_reason":null}}]}}"#
        ));
        let finish = chunk(&format!(
            r#"{{{object},"choices":[{{"index":0,"delta":{{}},"finish_reason":"length"}}]}}"#
        ));
        let tokens = script.tokens;
        let usage = chunk(&format!(
            r#"{{{object},"choices":[],"usage":{{"prompt_tokens":1,"completion_tokens":{tokens},"total_tokens":{}}}}}"#,
            u64::from(tokens) + 1
        ));
        let end = format!("{finish}{usage}{}0\r\n\r\n", chunk("[DONE]"));
        let whole = [head, token.repeat(tokens as usize).as_bytes(), end.as_bytes()].concat();
        let answers = Answers {
            script,
            start: Instant::now(),
            head,
            token: token.into_bytes(),
            end: end.into_bytes(),
            whole,
            log: Mutex::default(),
        };
        Ok(Self { listener, address, answers: Arc::new(answers) })
    }

    /// Base address for clients.
    pub fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// When the script's stall counts from.
    pub fn start(&self) -> Instant {
        self.answers.start
    }

    /// Its log.
    pub fn log(&self) -> TruthLog {
        TruthLog(Arc::clone(&self.answers))
    }

    /// Serves until the future is dropped.
    pub async fn serve(self) {
        loop {
            // Out of file descriptors, say: those who wait time out, those who are served go on.
            let Ok((stream, _)) = self.listener.accept().await else { continue };
            drop(stream.set_nodelay(true));
            let answers = Arc::clone(&self.answers);
            tokio::spawn(async move {
                // A client that leaves ends only its own connection.
                drop(answers.connection(stream).await);
            });
        }
    }
}

impl Answers {
    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(4 << 10);
        loop {
            let asked = loop {
                match parse(&buffer) {
                    Some(asked) if asked.length <= buffer.len() => break asked,
                    _ if buffer.len() > 16 << 20 => return Ok(()),
                    _ => {}
                }
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
            };
            let received = Instant::now();
            buffer.drain(..asked.length);
            if asked.lists_models {
                let list = r#"{"object":"list","data":[{"id":"null","object":"model"}]}"#;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{list}",
                    list.len()
                );
                stream.write_all(answer.as_bytes()).await?;
                continue;
            }
            let (first, last) = self.answer(&mut stream, received).await?;
            if let Some(id) = asked.id {
                let truth = Truth { id, received, first, last };
                self.log.lock().unwrap_or_else(PoisonError::into_inner).push(truth);
            }
        }
    }

    async fn answer(&self, stream: &mut TcpStream, received: Instant) -> io::Result<(Instant, Instant)> {
        let Script { ttft, itl, tokens, .. } = self.script;
        if itl.is_zero() && self.script.stall.is_none() {
            self.due(received + ttft).await;
            let now = Instant::now();
            stream.write_all(&self.whole).await?;
            return Ok((now, now));
        }
        stream.write_all(self.head).await?;
        let (mut first, mut last) = (received, received);
        for index in 0..tokens {
            self.due(received + ttft + itl * index).await;
            last = Instant::now();
            if index == 0 {
                first = last;
            }
            stream.write_all(&self.token).await?;
        }
        stream.write_all(&self.end).await?;
        Ok((first, last))
    }

    /// Waits for a time, and through the stall where it falls into it.
    async fn due(&self, at: Instant) {
        if at > Instant::now() {
            sleep_until(at).await;
        }
        if let Some((from, until)) = self.script.stall
            && (self.start + from..self.start + until).contains(&Instant::now())
        {
            sleep_until(self.start + until).await;
        }
    }
}

/// What matters of a request.
struct Asked {
    length: usize,
    id: Option<u64>,
    lists_models: bool,
}

fn parse(bytes: &[u8]) -> Option<Asked> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(head)) = request.parse(bytes) else { return None };
    let number = |name: &str| {
        let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok()?.trim().parse::<u64>().ok()
    };
    let body = number("content-length").and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let lists_models = request.path.is_some_and(|path| path.ends_with("/models"));
    Some(Asked { length: head.checked_add(body)?, id: number("x-breakeven-request"), lists_models })
}
