//! Prompts for servers that take text: the words of [`crate::requests`], counted as one token a word or mark.
//!
//! Without the server's tokenizer a length is an estimate; common English words are one token in nearly every vocabulary. The
//! server's usage says what it was, and that is what is recorded.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Words and marks, numbered as they come.
#[derive(Debug, Default)]
pub struct Words {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<String, u32>,
    words: Vec<String>,
}

impl Words {
    /// The words and marks of a text, each with the space before it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        pieces(text).map(|piece| known.number(piece)).collect()
    }

    /// The text of some words.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.iter().filter_map(|token| known.words.get(*token as usize)).map(String::as_str).collect()
    }
}

impl Known {
    fn number(&mut self, piece: &str) -> u32 {
        if let Some(number) = self.numbers.get(piece) {
            return *number;
        }
        let number = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        self.words.push(piece.to_owned());
        self.numbers.insert(piece.to_owned(), number);
        number
    }
}

/// Cuts before each space and before each mark that ends a word.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut letters = rest.char_indices().skip(1);
        let end = letters.find(|(_, c)| !c.is_alphanumeric() && *c != '\'').map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at_checked(end).filter(|(piece, _)| !piece.is_empty())?;
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_the_text_they_were() {
        let words = Words::default();
        let text = " My order hasn't arrived, ten of them can see the calendar. Was \"it\" lost?";
        let tokens = words.encode(text);
        assert_eq!(words.decode(&tokens), text);
        assert_eq!(tokens.len(), 19);
        assert_eq!(words.encode(" order"), tokens[1..2]);
        assert!(words.encode("").is_empty() && words.decode(&[9_999]).is_empty());
    }
}
