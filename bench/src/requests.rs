//! What each request asks: a segment, lengths drawn from it, and a prompt no other request has.

use std::time::Duration;

use breakeven_measurement::{Segment, Workload};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::{target::Answer, texts, trace::TokenLengths};

/// Numbers from here on are those of a source beside the run's own.
pub(crate) const BESIDE: u64 = 1_000_000_000;

/// One request, ready to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Number in its run, unique.
    pub id: u64,
    /// Index of its segment in the workload.
    pub segment: usize,
    /// What was said before in the conversation, oldest first.
    pub past: Vec<Exchange>,
    /// The message as tokens of the target's model; empty for targets that take only lengths.
    pub prompt: Vec<u32>,
    /// Prompt length in tokens, what was said before included.
    pub input_tokens: u32,
    /// Answer length asked for, in tokens: generation goes on past the model's own end, so lengths are exact.
    pub output_tokens: u32,
    /// The turns that follow, the next one last.
    pub coming: Vec<Turn>,
    /// From the end of the answer to the next turn.
    pub think: Duration,
}

/// A message and its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The message.
    pub prompt: Vec<u32>,
    /// The target's own answer, or for a conversation that began before the run one we wrote.
    pub answer: Answer,
}

/// A turn still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Number of its request.
    id: u64,
    /// The message.
    prompt: Vec<u32>,
    /// Its length where it was not written.
    message_tokens: u32,
    /// Answer length asked for.
    output_tokens: u32,
}

impl Request {
    /// The prompt with all that was said before, as tokens.
    pub fn context(&self) -> Vec<u32> {
        let past =
            self.past.iter().flat_map(|exchange| exchange.prompt.iter().chain(&exchange.answer.tokens));
        past.chain(&self.prompt).copied().collect()
    }

    /// The request of the next turn, once this one was answered; `None` after the last.
    #[must_use]
    pub fn next_turn(mut self, answer: Answer, output_tokens: u32) -> Option<Self> {
        let Turn { id, prompt, message_tokens, output_tokens: wanted } = self.coming.pop()?;
        self.past.push(Exchange { prompt: std::mem::replace(&mut self.prompt, prompt), answer });
        let input_tokens = self.input_tokens.saturating_add(output_tokens).saturating_add(message_tokens);
        Some(Self { id, input_tokens, output_tokens: wanted, ..self })
    }
}

/// Why prompts cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode prompt text: {0}")]
pub struct EncodeError(pub String);

/// Draws the requests of a workload, reproducibly from its seed.
#[derive(Debug)]
pub struct RequestSource {
    workload: Workload,
    shares: Vec<f64>,
    session_shares: Vec<f64>,
    /// For each segment, the pieces of its text; empty for targets that do not read prompts.
    sentences: Vec<Vec<Vec<u32>>>,
    numerals: Vec<Vec<u32>>,
    random: ChaCha8Rng,
    next_id: u64,
}

impl RequestSource {
    /// A source whose prompts are real text in the tokens that `encode` gives.
    pub fn new(
        workload: &Workload,
        seed: u64,
        encode: &dyn Fn(&str) -> Result<Vec<u32>, String>,
    ) -> Result<Self, EncodeError> {
        let encoded = |text: &str| encode(text).map_err(EncodeError);
        let of_segment =
            |s: &Segment| texts::pieces(s.text).iter().map(|s| encoded(s)).collect::<Result<Vec<_>, _>>();
        let sentences = workload.segments.iter().map(of_segment).collect::<Result<Vec<_>, _>>()?;
        let numerals = NUMERALS.iter().map(|s| encoded(s)).collect::<Result<Vec<_>, _>>()?;
        if sentences.iter().flatten().chain(&numerals).any(Vec::is_empty) {
            return Err(EncodeError("the tokenizer gave no tokens for plain text".to_owned()));
        }
        Ok(Self { sentences, numerals, ..Self::lengths_only(workload, seed) })
    }

    /// A source of lengths without prompts, for targets that do not read them.
    pub fn lengths_only(workload: &Workload, seed: u64) -> Self {
        Self {
            workload: workload.clone(),
            shares: workload.shares(),
            session_shares: workload.session_shares(),
            sentences: Vec::new(),
            numerals: Vec::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
            next_id: 0,
        }
    }

    /// A source of the same workload with other draws, and numbers that this one never reaches: its prompts are not these.
    #[must_use]
    pub fn beside(&self, seed: u64) -> Self {
        self.numbered_from(BESIDE, seed)
    }

    /// The same for a run's calibration, whose requests depend on the clock: the levels draw the same whatever it drew.
    #[must_use]
    pub fn for_calibration(&self, seed: u64) -> Self {
        self.numbered_from(2 * BESIDE, seed)
    }

    fn numbered_from(&self, number: u64, seed: u64) -> Self {
        Self {
            workload: self.workload.clone(),
            shares: self.shares.clone(),
            session_shares: self.session_shares.clone(),
            sentences: self.sentences.clone(),
            numerals: self.numerals.clone(),
            random: ChaCha8Rng::seed_from_u64(seed),
            next_id: self.next_id + number,
        }
    }

    /// Mean requests of a conversation; 1 without conversations.
    pub fn mean_turns(&self) -> f64 {
        self.workload.mean_turns()
    }

    /// How long before a run conversations began that still go on in it.
    pub fn longest_thinking(&self) -> Duration {
        Duration::try_from_secs_f64(self.workload.longest_thinking_seconds()).unwrap_or_default()
    }

    /// The next request alone: of a conversation any one turn, with what was said before made up.
    pub fn draw(&mut self) -> Request {
        let segment = pick(&self.shares, self.random.random());
        let turns = self.workload.segments.get(segment).map_or(1, Segment::turns);
        let said = if turns > 1 { self.random.random_range(0..turns) } else { 0 };
        let mut request = self.conversation(segment, said);
        request.coming.clear();
        request
    }

    /// The next request, of given lengths instead of its segment's, and of no conversation.
    pub fn draw_of(&mut self, lengths: Option<TokenLengths>) -> Request {
        let Some(lengths) = lengths else { return self.draw() };
        let segment = pick(&self.shares, self.random.random());
        let id = self.number();
        let prompt = self.write_prompt(segment, id, lengths.input, true);
        Request {
            id,
            segment,
            prompt,
            input_tokens: lengths.input,
            output_tokens: lengths.output,
            ..Request::default()
        }
    }

    /// A conversation that is due at `due` from the start of its run, or began so long before it: the turn that is next and when.
    /// `None` where it is over by then. A single request is a conversation of one turn.
    pub fn draw_conversation(&mut self, due: SignedDue) -> Option<(Duration, Request)> {
        let segment = pick(&self.session_shares, self.random.random());
        let (at, said) = match due {
            SignedDue::In(at) => (at, 0),
            SignedDue::Ago(ago) => {
                let session = self.workload.segments.get(segment)?.session?;
                let think = Duration::try_from_secs_f64(session.think_seconds).ok()?;
                let said = u32::try_from(ago.as_nanos().div_ceil(think.as_nanos().max(1))).ok()?;
                ((think.checked_mul(said)?).saturating_sub(ago), said)
            }
        };
        if said >= self.workload.segments.get(segment).map_or(1, Segment::turns) {
            return None;
        }
        Some((at, self.conversation(segment, said)))
    }

    /// A conversation of which `said` turns are over.
    fn conversation(&mut self, segment: usize, said: u32) -> Request {
        let turns = self.workload.segments.get(segment).map_or(1, Segment::turns);
        let session = self.workload.segments.get(segment).and_then(|s| s.session);
        let mut request: Option<Request> = None;
        let mut coming = Vec::new();
        for turn in 0..turns {
            let (message, output) = self.draw_lengths(segment);
            let id = self.number();
            let prompt = self.write_prompt(segment, id, message, turn == 0);
            match request.take() {
                None => {
                    let think = session.map_or(0.0, |session| session.think_seconds);
                    request = Some(Request {
                        id,
                        segment,
                        prompt,
                        input_tokens: message,
                        output_tokens: output,
                        think: Duration::try_from_secs_f64(think).unwrap_or_default(),
                        ..Request::default()
                    });
                }
                Some(mut before) if turn <= said => {
                    let tokens = self.write_answer(segment, before.output_tokens);
                    let answered = before.output_tokens;
                    before.coming.push(Turn { id, prompt, message_tokens: message, output_tokens: output });
                    request = before.next_turn(Answer { tokens, ..Answer::default() }, answered);
                }
                some => {
                    request = some;
                    coming.push(Turn { id, prompt, message_tokens: message, output_tokens: output });
                }
            }
        }
        coming.reverse();
        let mut request = request.unwrap_or_default();
        request.coming = coming;
        request
    }

    fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn draw_lengths(&mut self, segment: usize) -> (u32, u32) {
        let Some(s) = self.workload.segments.get(segment) else { return (1, 1) };
        let mut deviate = || -> f64 { StandardNormal.sample(&mut self.random) };
        (s.input_tokens.at_deviate(deviate()), s.output_tokens.at_deviate(deviate()))
    }

    /// Tokens that requests have in common, then the request's number in words, then pieces of the segment's text.
    fn write_prompt(&mut self, segment: usize, id: u64, tokens: u32, first: bool) -> Vec<u32> {
        let (Some(pieces), Some(s)) = (self.sentences.get(segment), self.workload.segments.get(segment))
        else {
            return Vec::new();
        };
        let share = if first { s.shared_prefix.get() } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a u32 length"
        )]
        let shared = (share * f64::from(tokens)) as usize;
        let tokens = tokens as usize;
        let mut prompt = Vec::with_capacity(tokens + 32);
        if shared > 0 {
            // Each prefix of the pool begins with its own number: none is the beginning of another.
            let prefix = if s.prefix_pool > 1 { self.random.random_range(0..s.prefix_pool) } else { 0 };
            if s.prefix_pool > 1 {
                number_words(&self.numerals, prefix.into(), &mut prompt);
            }
            let start = prefix as usize % pieces.len().max(1);
            prompt.extend(pieces.iter().cycle().skip(start).flatten().copied().take(shared));
            prompt.truncate(shared);
        }
        // Number words first: a prefix cache that nobody declared finds nothing to reuse.
        number_words(&self.numerals, id, &mut prompt);
        while prompt.len() < tokens {
            let pick = self.random.random_range(0..pieces.len());
            prompt.extend(pieces.get(pick).into_iter().flatten());
        }
        prompt.truncate(tokens);
        prompt
    }

    /// An answer for a conversation that began before the run.
    fn write_answer(&mut self, segment: usize, tokens: u32) -> Vec<u32> {
        let Some(pieces) = self.sentences.get(segment) else { return Vec::new() };
        let start = self.random.random_range(0..pieces.len().max(1));
        pieces.iter().cycle().skip(start).flatten().copied().take(tokens as usize).collect()
    }
}

/// When a conversation begins, from the start of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedDue {
    /// In it.
    In(Duration),
    /// Before it.
    Ago(Duration),
}

fn pick(shares: &[f64], mut left: f64) -> usize {
    for (index, share) in shares.iter().enumerate() {
        left -= share;
        if left < 0.0 {
            return index;
        }
    }
    shares.len().saturating_sub(1)
}

fn number_words(numerals: &[Vec<u32>], number: u64, into: &mut Vec<u32>) {
    let mut rest = number;
    loop {
        let digit = usize::try_from(rest % 10).unwrap_or(0);
        into.extend(numerals.get(digit).into_iter().flatten());
        rest /= 10;
        if rest == 0 {
            return;
        }
    }
}

const NUMERALS: [&str; 10] =
    [" zero", " one", " two", " three", " four", " five", " six", " seven", " eight", " nine"];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use breakeven_measurement::{Fraction, Lengths, PromptText, Session};
    use proptest::prelude::*;

    use super::*;

    fn workload(shared: f64) -> Workload {
        let segment = |name: &str, weight| Segment {
            name: name.to_owned(),
            weight,
            input_tokens: Lengths::new(40, 80, None).unwrap(),
            output_tokens: Lengths::new(10, 20, None).unwrap(),
            shared_prefix: Fraction::new(shared).unwrap(),
            prefix_pool: 1,
            text: PromptText::Support,
            session: None,
        };
        Workload { segments: vec![segment("a", 3.0), segment("b", 1.0)] }
    }

    /// One token a word, numbered by its bytes: enough to see equality.
    #[expect(clippy::unnecessary_wraps, reason = "the shape of a real encoder")]
    fn words(text: &str) -> Result<Vec<u32>, String> {
        Ok(text
            .split_whitespace()
            .map(|w| w.bytes().fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(b.into())))
            .collect())
    }

    #[test]
    fn segments_come_in_their_shares_and_lengths_follow_their_median() {
        let mut source = RequestSource::lengths_only(&workload(0.0), 1);
        let drawn: Vec<_> = (0..20_000).map(|_| source.draw()).collect();
        let first = drawn.iter().filter(|r| r.segment == 0).count() as f64 / 20_000.0;
        assert!((first - 0.75).abs() < 0.01, "{first}");
        let short = drawn.iter().filter(|r| r.input_tokens <= 40).count() as f64 / 20_000.0;
        assert!((short - 0.5).abs() < 0.02, "{short}");
    }

    #[test]
    fn prompts_are_unique_and_share_only_what_is_declared() {
        let mut source = RequestSource::new(&workload(0.0), 3, &words).unwrap();
        let drawn: Vec<_> = (0..500).map(|_| source.draw()).filter(|r| r.input_tokens > 8).collect();
        let prompts: HashSet<_> = drawn.iter().map(|r| r.prompt.clone()).collect();
        assert_eq!(prompts.len(), drawn.len());
        let mut sharing = RequestSource::new(&workload(0.5), 3, &words).unwrap();
        let (a, b) = (sharing.draw(), sharing.draw());
        let common = a.prompt.iter().zip(&b.prompt).take_while(|(x, y)| x == y).count();
        assert!(common >= a.prompt.len().min(b.prompt.len()) / 2, "{common}");
    }

    #[test]
    fn a_conversation_carries_what_was_said() {
        let mut chat = workload(0.0);
        chat.segments.truncate(1);
        chat.segments[0].session = Some(Session { turns: 3, think_seconds: 2.0 });
        let mut source = RequestSource::new(&chat, 5, &words).unwrap();
        let (at, first) = source.draw_conversation(SignedDue::In(Duration::from_secs(7))).unwrap();
        assert_eq!((at.as_secs(), first.coming.len(), first.past.len()), (7, 2, 0));
        let (message, first_prompt) = (first.input_tokens, first.prompt.clone());
        let said = Answer { tokens: vec![1, 2, 3], ..Answer::default() };
        let second = first.next_turn(said, 3).unwrap();
        assert_eq!(second.input_tokens, message + 3 + u32::try_from(second.prompt.len()).unwrap());
        assert_eq!(second.context().len(), second.input_tokens as usize);
        assert!(second.context().starts_with(&first_prompt));
        let third = second.next_turn(Answer::default(), 0).unwrap();
        assert!(third.coming.is_empty() && third.next_turn(Answer::default(), 0).is_none());
    }

    #[test]
    fn a_conversation_from_before_the_run_goes_on_where_it_is() {
        let mut chat = workload(0.0);
        chat.segments.truncate(1);
        chat.segments[0].session = Some(Session { turns: 3, think_seconds: 2.0 });
        let mut source = RequestSource::new(&chat, 5, &words).unwrap();
        let ago = |s: f64| SignedDue::Ago(Duration::from_secs_f64(s));
        // Began 2.5 s ago: turns at -2.5, -0.5 and 1.5 s.
        let (at, request) = source.draw_conversation(ago(2.5)).unwrap();
        assert!((at.as_secs_f64() - 1.5).abs() < 1e-9);
        assert_eq!((request.past.len(), request.coming.len()), (2, 0));
        assert_eq!(request.context().len(), request.input_tokens as usize);
        assert!(source.draw_conversation(ago(4.5)).is_none(), "over by then");
        // The mean length of single draws is that of all turns.
        let mean = (0..4_000).map(|_| f64::from(source.draw().input_tokens)).sum::<f64>() / 4_000.0;
        assert!((mean / chat.mean_input_tokens() - 1.0).abs() < 0.04, "{mean} {}", chat.mean_input_tokens());
    }

    #[test]
    fn a_pool_has_as_many_prefixes_as_declared() {
        let mut pooled = workload(0.5);
        pooled.segments.truncate(1);
        pooled.segments[0].input_tokens = Lengths::constant(40).unwrap();
        pooled.segments[0].prefix_pool = 7;
        let mut source = RequestSource::new(&pooled, 1, &words).unwrap();
        let prefixes: HashSet<Vec<u32>> = (0..400).map(|_| source.draw().prompt[..20].to_vec()).collect();
        assert_eq!(prefixes.len(), 7);
    }

    proptest! {
        #[test]
        fn a_prompt_has_exactly_its_length(seed in any::<u64>()) {
            let mut source = RequestSource::new(&workload(0.3), seed, &words).unwrap();
            for _ in 0..20 {
                let request = source.draw();
                prop_assert_eq!(request.prompt.len(), request.input_tokens as usize);
            }
        }
    }
}
