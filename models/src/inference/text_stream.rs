//! The text of an answer as it grows: never half a character, never part of a stop text.

/// Turns token bytes into text that can be shown at once.
#[derive(Debug, Default)]
pub(crate) struct TextStream {
    stops: Vec<String>,
    /// Bytes of a character that is not complete yet.
    partial: Vec<u8>,
    /// Text that may turn out to begin a stop text.
    held: String,
}

/// What a token added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Addition {
    pub(crate) text: String,
    /// A stop text is complete; `text` ends before it.
    pub(crate) stopped: bool,
}

impl TextStream {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), ..Self::default() }
    }

    /// Adds a token's bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Addition {
        self.partial.extend_from_slice(bytes);
        self.take_whole_characters();
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            let text = self.held.get(..at).unwrap_or_default().to_owned();
            self.held.clear();
            self.partial.clear();
            return Addition { text, stopped: true };
        }
        let keep = self.longest_beginning();
        let rest = self.held.split_off(self.held.len() - keep);
        Addition { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What is left when the answer ends.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = std::mem::take(&mut self.held);
        text.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.partial)));
        text
    }

    fn take_whole_characters(&mut self) {
        loop {
            match std::str::from_utf8(&self.partial) {
                Ok(text) => {
                    self.held.push_str(text);
                    self.partial.clear();
                    return;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    let (whole, rest) = self.partial.split_at(valid);
                    self.held.push_str(&String::from_utf8_lossy(whole));
                    // An error with a length is a byte that can never be part of a character.
                    let Some(bad) = error.error_len() else {
                        self.partial = rest.to_vec();
                        return;
                    };
                    self.held.push(char::REPLACEMENT_CHARACTER);
                    self.partial = rest.get(bad..).unwrap_or_default().to_vec();
                }
            }
        }
    }

    /// Bytes at the end of `held` that begin a stop text.
    fn longest_beginning(&self) -> usize {
        self.stops
            .iter()
            .flat_map(|stop| stop.char_indices().skip(1).map(|(end, _)| stop.get(..end).unwrap_or_default()))
            .filter(|beginning| self.held.ends_with(beginning))
            .map(str::len)
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(stops: &[&str], pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let mut stream = TextStream::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut texts = Vec::new();
        for piece in pieces {
            let addition = stream.push(piece);
            texts.push(addition.text);
            if addition.stopped {
                return (texts, true);
            }
        }
        texts.push(stream.finish());
        (texts, false)
    }

    #[test]
    fn a_character_split_over_tokens_comes_once_and_whole() {
        let (texts, _) = stream(&[], &[b"a\xe2", b"\x82", b"\xac!"]);
        assert_eq!(texts, ["a", "", "€!", ""]);
    }

    #[test]
    fn broken_bytes_become_replacement_characters() {
        let (texts, _) = stream(&[], &[b"\xff", b"b\xe2\x82"]);
        assert_eq!(texts.concat(), "\u{fffd}b\u{fffd}");
    }

    #[test]
    fn a_stop_text_is_cut_even_across_tokens_and_near_misses_are_shown() {
        assert_eq!(
            stream(&["END"], &[b"oneE", b"N", b"Dtwo"]),
            (vec!["one".into(), String::new(), String::new()], true)
        );
        let (texts, stopped) = stream(&["END"], &[b"oneE", b"N", b"?"]);
        assert_eq!((texts.concat().as_str(), stopped), ("oneEN?", false));
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_text(text in "[a-zé€😀]{0,24}", cuts in prop::collection::vec(0usize..80, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (texts, _) = stream(&["zzz-not-there"], &pieces);
            prop_assert_eq!(texts.concat(), text);
        }
    }
}
