//! The framing of an HTTP/1.1 body (RFC 9112, §6–7), as a machine over bytes that copies nothing.

/// Longest chunk-size line or trailer section accepted.
const LONGEST_LINE: usize = 16 << 10;

/// How a body ends, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `Transfer-Encoding: chunked`.
    Chunked(Chunk),
    /// `Content-Length`: bytes still to come.
    Length(u64),
    /// Until the connection closes.
    UntilClose,
}

/// Place within a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// In the size line: the value so far, whether a digit came, whether in an extension, length of the line.
    Size { value: u64, digits: bool, extension: bool, length: usize },
    /// In the data: bytes still to come.
    Data(u64),
    /// After the data: its line end.
    DataEnd,
    /// In the trailers after the last chunk: length of the line so far, and of all of them.
    Trailer { line: usize, length: usize },
    /// Past the end.
    End,
}

impl Chunk {
    /// Before the first size line.
    pub(crate) const START: Self = Self::Size { value: 0, digits: false, extension: false, length: 0 };
}

/// What some input turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// `input[from..to]` is body; all up to `to` is used up.
    Data {
        /// First body byte.
        from: usize,
        /// One past the last.
        to: usize,
    },
    /// All input is used up, and none of its rest was body.
    More,
    /// The body has ended after this many bytes of input.
    End(usize),
}

/// The framing was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("broken chunked encoding: {0}")]
pub(crate) struct BadFraming(&'static str);

impl Framing {
    /// Reads on in `input`, up to the next piece of body.
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Step, BadFraming> {
        match self {
            Self::UntilClose if input.is_empty() => Ok(Step::More),
            Self::UntilClose => Ok(Step::Data { from: 0, to: input.len() }),
            Self::Length(0) => Ok(Step::End(0)),
            Self::Length(_) if input.is_empty() => Ok(Step::More),
            Self::Length(left) => {
                let to = within(*left, input.len());
                *left -= to as u64;
                Ok(Step::Data { from: 0, to })
            }
            Self::Chunked(chunk) => chunk.step(input),
        }
    }

    /// Whether the end of the connection here is the end of the body.
    pub(crate) fn may_end_here(self) -> bool {
        matches!(self, Self::UntilClose | Self::Length(0) | Self::Chunked(Chunk::End))
    }
}

fn within(left: u64, available: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(available)
}

impl Chunk {
    fn step(&mut self, input: &[u8]) -> Result<Step, BadFraming> {
        let mut at = 0;
        loop {
            match self {
                Self::End => return Ok(Step::End(at)),
                Self::Data(left) if *left > 0 => {
                    let available = input.len() - at;
                    if available == 0 {
                        return Ok(Step::More);
                    }
                    let length = within(*left, available);
                    *left -= length as u64;
                    return Ok(Step::Data { from: at, to: at + length });
                }
                _ => {}
            }
            let Some(&byte) = input.get(at) else { return Ok(Step::More) };
            at += 1;
            *self = self.after(byte)?;
        }
    }

    fn after(self, byte: u8) -> Result<Self, BadFraming> {
        Ok(match (self, byte) {
            (Self::Size { value: 0, digits: true, .. }, b'\n') => Self::Trailer { line: 0, length: 0 },
            (Self::Size { value, digits: true, .. }, b'\n') => Self::Data(value),
            (Self::Size { digits: false, .. }, b'\n') => {
                return Err(BadFraming("a size line without a size"));
            }
            (Self::Size { length, .. } | Self::Trailer { length, .. }, _) if length > LONGEST_LINE => {
                return Err(BadFraming("an endless size line or trailer"));
            }
            (Self::Size { value, digits, extension, length }, byte) => {
                let length = length + 1;
                match char::from(byte).to_digit(16) {
                    Some(digit) if !extension => {
                        let value = value
                            .checked_mul(16)
                            .and_then(|value| value.checked_add(digit.into()))
                            .ok_or(BadFraming("a size beyond 64 bits"))?;
                        Self::Size { value, digits: true, extension, length }
                    }
                    None if !extension && !matches!(byte, b';' | b' ' | b'\t' | b'\r') => {
                        return Err(BadFraming("a size that is not hexadecimal"));
                    }
                    _ => Self::Size { value, digits, extension: true, length },
                }
            }
            (Self::Data(_), b'\r') => Self::DataEnd,
            (Self::Data(_) | Self::DataEnd, b'\n') => Self::START,
            (Self::Data(_) | Self::DataEnd, _) => return Err(BadFraming("a chunk longer than its size")),
            (Self::Trailer { line: 0, .. }, b'\n') | (Self::End, _) => Self::End,
            (Self::Trailer { length, .. }, b'\n') => Self::Trailer { line: 0, length: length + 1 },
            (Self::Trailer { line, length }, b'\r') => Self::Trailer { line, length: length + 1 },
            (Self::Trailer { line, length }, _) => Self::Trailer { line: line + 1, length: length + 1 },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body, and how many bytes of input it took.
    fn decode(mut framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<usize>), BadFraming> {
        let (mut body, mut used) = (Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
            loop {
                match framing.step(rest)? {
                    Step::Data { from, to } => {
                        body.extend_from_slice(&rest[from..to]);
                        rest = &rest[to..];
                        used += to;
                    }
                    Step::More => {
                        used += rest.len();
                        break;
                    }
                    Step::End(at) => return Ok((body, Some(used + at))),
                }
            }
        }
        Ok((body, None))
    }

    #[test]
    fn the_example_of_the_standard() {
        let stream = b"4\r\nWiki\r\n7;name=\"v\"\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\nTrailer: 1\r\n\r\nHTTP/1.1 200";
        let (body, end) = decode(Framing::Chunked(Chunk::START), &[stream]).unwrap();
        assert_eq!(body, b"Wikipedia in \r\nchunks.");
        assert_eq!(end, Some(stream.len() - 12));
    }

    #[test]
    fn nonsense_is_refused() {
        for stream in [&b"zz\r\n"[..], b"\r\n", b"2\r\nabc", b"fffffffffffffffff\r\n"] {
            assert!(decode(Framing::Chunked(Chunk::START), &[stream]).is_err(), "{stream:?}");
        }
        let endless = vec![b'1'; 64 << 10];
        assert!(decode(Framing::Chunked(Chunk::START), &[&endless]).is_err());
    }

    proptest! {
        #[test]
        fn a_body_survives_any_chunks_and_any_pieces(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cut in 1usize..50,
        ) {
            let mut stream = Vec::new();
            for chunk in &chunks {
                stream.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                stream.extend(chunk);
                stream.extend(b"\r\n");
            }
            stream.extend(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = stream.chunks(cut).collect();
            let (body, end) = decode(Framing::Chunked(Chunk::START), &pieces).unwrap();
            prop_assert_eq!(&body, &chunks.concat());
            prop_assert_eq!(end, Some(stream.len()));
            let all = chunks.concat();
            let pieces: Vec<&[u8]> = all.chunks(cut).collect();
            prop_assert_eq!(decode(Framing::Length(all.len() as u64), &pieces).unwrap().0, all);
        }
    }
}
