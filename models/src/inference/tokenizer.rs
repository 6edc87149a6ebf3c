//! Text to tokens and back, from the vocabulary inside a GGUF file.
//!
//! Encoding is Hugging Face's `tokenizers`; the pre-tokenizer is chosen by the name in the header, as
//! llama.cpp does. Decoding is a table of bytes, so that a stream can be cut at any token without
//! inventing replacement characters.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{NFC, NormalizerWrapper, Prepend, Replace, Sequence as NormalizerSequence};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::gguf::{Header, Value};
use super::load::LoadError;

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Texts that end a turn in the families we run, where the header names none.
const TURN_ENDS: [&str; 6] =
    ["<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>", "<|end|>"];

/// Kinds of vocabulary entries (`tokenizer.ggml.token_type`).
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// Encodes and decodes the text of one model.
#[derive(Debug)]
pub struct TextCodec {
    /// `None`: one token a byte, for models without a vocabulary.
    tokenizer: Option<Box<Tokenizer>>,
    pieces: Vec<u8>,
    /// Piece of token `i` is `pieces[ends[i - 1]..ends[i]]`.
    ends: Vec<usize>,
    bos: Option<u32>,
    stops: Vec<u32>,
    vocabulary: usize,
}

impl TextCodec {
    /// The tokenizer of a model: a `tokenizer.json` in the hub's layout, or the one inside a GGUF file.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
            return Self::from_header(&Header::read(path)?, usize::MAX);
        }
        let text =
            fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        Self::from_tokenizer_json(&text, usize::MAX, &[])
            .map_err(|fault| LoadError::Weights { path: path.to_owned(), fault })
    }

    /// One token a byte; ids are reduced to the vocabulary by whoever generates them.
    pub(crate) fn bytes(vocabulary: usize) -> Result<Self, LoadError> {
        if vocabulary < 256 {
            return Err(LoadError::Unsuitable(format!(
                "the vocabulary has {vocabulary} entries, expected at least 256 for byte-by-byte text"
            )));
        }
        // Ids beyond the bytes decode to a letter: what random weights say is noise, but it is streamed.
        let pieces: Vec<u8> = (0..vocabulary).map(|id| u8::try_from(id).unwrap_or(b'x') & 0x7f).collect();
        let ends = (1..=vocabulary).collect();
        Ok(Self { tokenizer: None, pieces, ends, bos: None, stops: Vec::new(), vocabulary })
    }

    /// The vocabulary of a GGUF header, which must have `vocabulary` entries at most.
    pub(crate) fn from_header(header: &Header, vocabulary: usize) -> Result<Self, LoadError> {
        // llama.cpp's word for a model that only knows ids: what our own tool writes for comparisons.
        if matches!(header.text("tokenizer.ggml.model")?, Some("none" | "no_vocab")) {
            return Self::bytes(vocabulary);
        }
        let Some(Value::Texts(tokens)) = header.metadata.get("tokenizer.ggml.tokens") else {
            return Err(header.fault("`tokenizer.ggml.tokens` is missing or not a list of texts"));
        };
        if tokens.is_empty() || tokens.len() > vocabulary {
            return Err(header.fault(format!(
                "the tokenizer has {} entries, expected 1 to the embedding's {vocabulary}",
                tokens.len()
            )));
        }
        let kinds: &[i32] = match header.metadata.get("tokenizer.ggml.token_type") {
            Some(Value::Integers(kinds)) => kinds,
            _ => &[],
        };
        let kind = |id: usize| kinds.get(id).copied().unwrap_or(1);
        let model = header.text("tokenizer.ggml.model")?.unwrap_or("gpt2");
        let mut tokenizer = match model {
            "gpt2" => byte_level(header, tokens)?,
            "llama" => sentence_piece(header, tokens)?,
            other => {
                return Err(header.fault(format!("tokenizer model is `{other}`, expected `gpt2` or `llama`")));
            }
        };
        let specials: Vec<AddedToken> = tokens
            .iter()
            .enumerate()
            .filter(|(id, text)| matches!(kind(*id), CONTROL | USER_DEFINED) && !text.is_empty())
            .map(|(id, text)| AddedToken::from(text.clone(), kind(id) == CONTROL).normalized(false))
            .collect();
        tokenizer
            .add_special_tokens(specials)
            .map_err(|error| header.fault(format!("cannot add the special tokens: {error}")))?;

        let mut pieces = Vec::new();
        let mut ends = Vec::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            match kind(id) {
                CONTROL => {}
                USER_DEFINED => pieces.extend_from_slice(token.as_bytes()),
                BYTE => pieces.extend(byte_token(token)),
                _ if model == "llama" => pieces.extend(token.replace('\u{2581}', " ").bytes()),
                _ => push_byte_level(token, &mut pieces),
            }
            ends.push(pieces.len());
        }
        let id_of = |key: &str| -> Result<Option<u32>, LoadError> {
            let id = header.unsigned(key)?.and_then(|id| u32::try_from(id).ok());
            Ok(id.filter(|id| (*id as usize) < tokens.len()))
        };
        let bos = id_of("tokenizer.ggml.bos_token_id")?;
        // Absent, the flag means yes for SentencePiece and Llama 3, no for the rest, as in llama.cpp.
        let pre = header.text("tokenizer.ggml.pre")?.unwrap_or("default");
        let add_bos =
            header.flag("tokenizer.ggml.add_bos_token").unwrap_or(model == "llama" || pre == "llama-bpe");
        let mut stops: Vec<u32> = Vec::new();
        for key in
            ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"]
        {
            stops.extend(id_of(key)?);
        }
        for (id, token) in tokens.iter().enumerate() {
            if kind(id) == CONTROL && TURN_ENDS.contains(&token.as_str()) {
                stops.extend(u32::try_from(id));
            }
        }
        stops.sort_unstable();
        stops.dedup();
        Ok(Self {
            tokenizer: Some(Box::new(tokenizer)),
            pieces,
            ends,
            bos: bos.filter(|_| add_bos),
            stops,
            vocabulary: tokens.len(),
        })
    }

    /// The vocabulary of a `tokenizer.json`, which must have `vocabulary` entries at most. Its own post-processor says
    /// whether texts begin with a token; `stops` are ids that end an answer beside the families' own.
    pub(crate) fn from_tokenizer_json(text: &str, vocabulary: usize, stops: &[u32]) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        // A damaged file may make the library panic: that is an error of the file like any other.
        let tokenizer = catch_unwind(|| Tokenizer::from_bytes(text))
            .map_err(|_| "the tokenizer cannot be built from it".to_owned())?
            .map_err(|error| error.to_string())?;
        let entries = tokenizer.get_vocab(true).into_values().max().map_or(0, |last| last as usize + 1);
        if entries == 0 || entries > vocabulary {
            return Err(format!(
                "the tokenizer has ids up to {entries}, expected 1 to the embedding's {vocabulary}"
            ));
        }
        // How entries are spelt shows in the decoder: GPT-2's byte alphabet, or SentencePiece's.
        let byte_level =
            value.get("decoder").is_some_and(|decoder| decoder.to_string().contains("\"ByteLevel\""));
        let added = tokenizer.get_added_tokens_decoder();
        let mut pieces = Vec::new();
        let mut ends = Vec::with_capacity(entries);
        let mut all_stops = stops.to_vec();
        for id in 0..entries {
            let Ok(id) = u32::try_from(id) else { break };
            match (added.get(&id), tokenizer.id_to_token(id)) {
                (Some(added), _) => {
                    if added.special {
                        all_stops.extend(TURN_ENDS.contains(&added.content.as_str()).then_some(id));
                    } else {
                        pieces.extend_from_slice(added.content.as_bytes());
                    }
                }
                (None, None) => {}
                (None, Some(token)) if byte_level => push_byte_level(&token, &mut pieces),
                (None, Some(token)) => match byte_token(&token) {
                    Some(byte) => pieces.push(byte),
                    None => pieces.extend(token.replace('\u{2581}', " ").bytes()),
                },
            }
            ends.push(pieces.len());
        }
        all_stops.sort_unstable();
        all_stops.dedup();
        let start = catch_unwind(AssertUnwindSafe(|| tokenizer.encode_fast("", true)))
            .map_err(|_| "the tokenizer cannot encode".to_owned())?
            .map_err(|error| error.to_string())?;
        let bos = start.get_ids().first().copied().filter(|id| (*id as usize) < entries);
        Ok(Self {
            tokenizer: Some(Box::new(tokenizer)),
            pieces,
            ends,
            // A family that ends texts with a token (and begins them with none) would show that one here.
            bos: bos.filter(|id| !all_stops.contains(id) || start.get_ids().len() > 1),
            stops: all_stops,
            vocabulary: entries,
        })
    }

    /// Tokens of a text; `start` puts the model's begin token first where it wants one.
    pub fn encode(&self, text: &str, start: bool) -> Result<Vec<u32>, String> {
        let Some(tokenizer) = &self.tokenizer else {
            return Ok(text.bytes().map(u32::from).collect());
        };
        let encoding = tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
        let begin = self.bos.filter(|_| start);
        Ok(begin.into_iter().chain(encoding.get_ids().iter().copied()).collect())
    }

    /// The bytes a token stands for; none for control tokens and ids outside the vocabulary.
    pub fn piece(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(id).copied().unwrap_or(start);
        self.pieces.get(start..end).unwrap_or_default()
    }

    /// The text of some tokens, control tokens left out.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|id| self.piece(*id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether a token ends the answer.
    pub fn is_stop(&self, id: u32) -> bool {
        self.stops.binary_search(&id).is_ok()
    }

    /// Number of entries.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }
}

fn vocabulary_of(header: &Header, tokens: &[String]) -> Result<Vocab, LoadError> {
    tokens
        .iter()
        .enumerate()
        .map(|(id, text)| {
            u32::try_from(id)
                .map(|id| (text.clone(), id))
                .map_err(|_| header.fault(format!("token id {id} does not fit 32 bits")))
        })
        .collect()
}

fn byte_level(header: &Header, tokens: &[String]) -> Result<Tokenizer, LoadError> {
    let Some(Value::Texts(merges)) = header.metadata.get("tokenizer.ggml.merges") else {
        return Err(header.fault("`tokenizer.ggml.merges` is missing or not a list of texts"));
    };
    let vocabulary = vocabulary_of(header, tokens)?;
    let merges = merges
        .iter()
        .map(|merge| match merge.split_once(' ') {
            // The builder below panics on a merge longer than every entry, so each is looked up first.
            Some((left, right)) if vocabulary.contains_key(&[left, right].concat()) => {
                Ok((left.to_owned(), right.to_owned()))
            }
            _ => Err(header.fault(format!("merge `{merge}` is not two texts that make a known token"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let pre = header.text("tokenizer.ggml.pre")?.unwrap_or("default");
    let (pipeline, normalizer) = pre_tokenizer(pre)
        .map_err(|fault| header.fault(format!("`tokenizer.ggml.pre` is `{pre}`, {fault}")))?;
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(pre == "llama-bpe")
        .build()
        .map_err(|error| {
        header.fault(format!("the tokenizer's merges do not fit its vocabulary: {error}"))
    })?;
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(pipeline));
    tokenizer
        .with_normalizer(normalizer)
        .map_err(|error| header.fault(format!("cannot set up the tokenizer: {error}")))?;
    Ok(tokenizer)
}

type Pipeline = (PreTokenizerWrapper, Option<NormalizerWrapper>);

/// What llama.cpp does for each name of `tokenizer.ggml.pre`.
fn pre_tokenizer(name: &str) -> Result<Pipeline, String> {
    let split = |pattern: &str| -> Result<PreTokenizerWrapper, String> {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|error| error.to_string())?;
        Ok(Sequence::new(vec![split.into(), ByteLevel::new(false, false, false).into()]).into())
    };
    match name {
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => {
            let digits = Digits::new(true);
            Ok((Sequence::new(vec![digits.into(), ByteLevel::new(false, true, true).into()]).into(), None))
        }
        "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" => Ok((split(LLAMA3)?, None)),
        "qwen2" | "deepseek-r1-qwen" => Ok((split(QWEN2)?, Some(NFC.into()))),
        "gpt-2" | "gpt2" | "default" | "phi-2" | "olmo" => {
            Ok((ByteLevel::new(false, true, true).into(), None))
        }
        _ => Err("expected one of smollm, starcoder, llama-bpe, smaug-bpe, qwen2, gpt-2, default".to_owned()),
    }
}

/// `SentencePiece` BPE: merges are implied by the pieces, best score first.
fn sentence_piece(header: &Header, tokens: &[String]) -> Result<Tokenizer, LoadError> {
    let scores: &[f32] = match header.metadata.get("tokenizer.ggml.scores") {
        Some(Value::Floats(scores)) if scores.len() == tokens.len() => scores,
        _ => return Err(header.fault("`tokenizer.ggml.scores` is missing or not one number a token")),
    };
    let vocabulary = vocabulary_of(header, tokens)?;
    let mut merges: Vec<(f32, u32, u32, String, String)> = Vec::new();
    for (token, score) in tokens.iter().zip(scores) {
        for (cut, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(cut);
            if let (Some(first), Some(second)) = (vocabulary.get(left), vocabulary.get(right)) {
                merges.push((*score, *first, *second, left.to_owned(), right.to_owned()));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let merges = merges.into_iter().map(|(_, _, _, left, right)| (left, right)).collect::<Vec<_>>();
    let unknown = header
        .unsigned("tokenizer.ggml.unknown_token_id")?
        .and_then(|id| usize::try_from(id).ok())
        .and_then(|id| tokens.get(id));
    let mut builder = BPE::builder().vocab_and_merges(vocabulary, merges).byte_fallback(true).fuse_unk(true);
    if let Some(unknown) = unknown {
        builder = builder.unk_token(unknown.clone());
    }
    let bpe = builder.build().map_err(|error| {
        header.fault(format!("the tokenizer's pieces do not fit its vocabulary: {error}"))
    })?;
    let mut tokenizer = Tokenizer::new(bpe);
    let spaces = Replace::new(" ", "\u{2581}")
        .map_err(|error| header.fault(format!("cannot set up the tokenizer: {error}")))?;
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if header.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true) {
        steps.push(Prepend::new("\u{2581}".to_owned()).into());
    }
    steps.push(spaces.into());
    tokenizer
        .with_normalizer(Some(NormalizerWrapper::Sequence(NormalizerSequence::new(steps))))
        .map_err(|error| header.fault(format!("cannot set up the tokenizer: {error}")))?;
    Ok(tokenizer)
}

/// `<0x0A>` stands for the byte 10.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

/// Undoes GPT-2's byte alphabet: printable bytes stand for themselves, the others were moved to U+0100 on.
fn push_byte_level(token: &str, bytes: &mut Vec<u8>) {
    for character in token.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.to_string().as_bytes()),
        }
    }
}

fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => u8::try_from(code).ok(),
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_covers_every_byte_once() {
        let mut bytes: Vec<u8> = (0x21u32..=0x143).filter_map(char::from_u32).filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn byte_text_round_trips() {
        let codec = TextCodec::bytes(256).unwrap();
        let tokens = codec.encode("plain text", true).unwrap();
        assert_eq!(codec.decode(&tokens), "plain text");
        assert!(TextCodec::bytes(255).is_err());
    }
}
