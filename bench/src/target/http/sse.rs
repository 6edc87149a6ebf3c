//! Server-sent events from bytes, by the WHATWG rules, in whatever pieces they arrive.
//!
//! Nothing is copied or allocated where an event of one line arrives whole, which is nearly always. Lenient where servers
//! are: a last event without its blank line counts, and the field `error` of older llama.cpp is data that says error.

use std::{mem, ops::ControlFlow};

/// A line, or an event, longer than this is a server gone mad; real ones stay below a few hundred kilobytes.
const LONGEST_BYTES: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// Its data lines, joined by line feeds.
    pub(crate) data: &'a [u8],
    /// Whether it calls itself an error (`event: error`, or the field `error`).
    pub(crate) is_error: bool,
}

/// A line or event beyond [`LONGEST_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {} MiB", LONGEST_BYTES >> 20)]
pub(crate) struct TooLong;

/// Parses a stream; one for each response.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about what came before")]
pub(crate) struct Parser {
    /// Start of a line whose end has not come.
    line: Vec<u8>,
    /// Data lines of the event so far, where they could not stay in the input.
    data: Vec<u8>,
    has_data: bool,
    is_error: bool,
    after_carriage_return: bool,
    after_byte_order_mark: bool,
}

/// Data of an event so far: still in the input, or copied.
enum Held<'a> {
    Nothing,
    Slice(&'a [u8]),
    Copied,
}

impl Parser {
    /// Takes the next bytes and hands over each event that they complete. A break ends the parsing.
    pub(crate) fn feed<B>(
        &mut self,
        bytes: &[u8],
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, TooLong> {
        let mut rest = bytes;
        let mut held = if self.has_data { Held::Copied } else { Held::Nothing };
        while !rest.is_empty() {
            if mem::take(&mut self.after_carriage_return)
                && let Some(after) = rest.strip_prefix(b"\n")
            {
                rest = after;
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.line.extend_from_slice(rest);
                break;
            };
            let (line, after) = rest.split_at(end);
            self.after_carriage_return = after.first() == Some(&b'\r');
            rest = after.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                let line = self.without_byte_order_mark(line);
                if line.is_empty() {
                    let data = match held {
                        Held::Nothing => None,
                        Held::Slice(slice) => Some(slice),
                        Held::Copied => Some(self.data.as_slice()),
                    };
                    let event = data.map(|data| Event { data, is_error: self.is_error });
                    let flow = event.map_or(ControlFlow::Continue(()), &mut *on_event);
                    self.reset();
                    held = Held::Nothing;
                    if flow.is_break() {
                        return Ok(flow);
                    }
                } else if let Some(value) = self.field(line) {
                    held = match held {
                        Held::Nothing => Held::Slice(value),
                        Held::Slice(first) => {
                            self.data.extend_from_slice(first);
                            self.append(value)
                        }
                        Held::Copied => self.append(value),
                    };
                }
            } else {
                // The line began in an earlier piece; its buffer is taken out and given back to keep its room.
                let mut whole = mem::take(&mut self.line);
                whole.extend_from_slice(line);
                if let Some(value) = self.field(self.without_byte_order_mark(&whole)) {
                    match held {
                        Held::Nothing => self.data.extend_from_slice(value),
                        Held::Slice(first) => {
                            self.data.extend_from_slice(first);
                            self.append(value);
                        }
                        Held::Copied => {
                            self.append(value);
                        }
                    }
                    held = Held::Copied;
                }
                whole.clear();
                self.line = whole;
            }
            self.after_byte_order_mark = true;
            if self.data.len() > LONGEST_BYTES {
                return Err(TooLong);
            }
        }
        if let Held::Slice(first) = held {
            self.data.extend_from_slice(first);
            held = Held::Copied;
        }
        self.has_data = matches!(held, Held::Copied);
        if self.line.len().max(self.data.len()) > LONGEST_BYTES {
            return Err(TooLong);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The stream has ended: hands over what its last blank line would have.
    pub(crate) fn finish<B>(
        &mut self,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, TooLong> {
        self.after_carriage_return = false;
        let ending: &[u8] = if self.line.is_empty() { b"\n" } else { b"\n\n" };
        self.feed(ending, on_event)
    }

    fn without_byte_order_mark<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        if self.after_byte_order_mark { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) }
    }

    /// The value where the line is data; other fields are noted or ignored.
    fn field<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let (name, value) = match memchr::memchr(b':', line) {
            // A comment: a keep-alive.
            Some(0) => return None,
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, [].as_slice()),
        };
        match name {
            b"data" => Some(value),
            b"error" => {
                self.is_error = true;
                Some(value)
            }
            b"event" => {
                self.is_error |= value == b"error";
                None
            }
            _ => None,
        }
    }

    fn append<'a>(&mut self, value: &[u8]) -> Held<'a> {
        self.data.push(b'\n');
        self.data.extend_from_slice(value);
        Held::Copied
    }

    fn reset(&mut self) {
        self.data.clear();
        self.has_data = false;
        self.is_error = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<(String, bool)> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        let mut note = |event: Event<'_>| {
            found.push((String::from_utf8_lossy(event.data).into_owned(), event.is_error));
            ControlFlow::<()>::Continue(())
        };
        for piece in pieces {
            assert!(parser.feed(piece, &mut note).unwrap().is_continue());
        }
        assert!(parser.finish(&mut note).unwrap().is_continue());
        found
    }

    fn texts(stream: &str) -> Vec<String> {
        events(&[stream.as_bytes()]).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn lines_end_in_lf_cr_or_both() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = format!("data: a{end}{end}data: b{end}data: c{end}{end}");
            assert_eq!(texts(&stream), ["a", "b\nc"], "{end:?}");
        }
    }

    #[test]
    fn comments_other_fields_and_a_byte_order_mark_are_not_data() {
        let stream =
            "\u{feff}data:no space\n: keep-alive\n\n: OPENROUTER PROCESSING\n\nid: 7\nretry: 10\n\ndata\n\n";
        assert_eq!(texts(stream), ["no space", ""]);
    }

    #[test]
    fn errors_say_so_in_both_ways() {
        let found = events(&[b"event: error\ndata: x\n\nerror: {\"code\":500}\n\ndata: y\n\n"]);
        assert_eq!(
            found,
            [("x".to_owned(), true), ("{\"code\":500}".to_owned(), true), ("y".to_owned(), false)]
        );
    }

    #[test]
    fn a_last_event_without_its_blank_line_counts() {
        assert_eq!(texts("data: a\n\ndata: [DONE]"), ["a", "[DONE]"]);
        assert_eq!(texts("data: a\n\ndata: [DONE]\n"), ["a", "[DONE]"]);
    }

    #[test]
    fn a_line_without_end_is_refused_before_memory_is() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let mut note = |_: Event<'_>| ControlFlow::<()>::Continue(());
        let fed = (0..20).find_map(|_| parser.feed(&piece, &mut note).err());
        assert_eq!(fed, Some(TooLong));
    }

    proptest! {
        #[test]
        fn events_do_not_depend_on_the_pieces(
            lines in prop::collection::vec(
                prop::sample::select(vec!["data: é€😀", "data:x", "", "", ": c", "event: error", "data", "\r", "data: a\rdata: b"]),
                0..30,
            ),
            end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream = lines.join(end);
            let bytes = stream.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(events(&pieces), events(&[bytes]));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(events(&single), events(&[bytes]));
        }
    }
}
