//! What each request asks: a segment, lengths drawn from it, and a prompt no other request has.

use breakeven_measurement::Workload;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::trace::TokenLengths;

/// One request, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Number in its run, unique.
    pub id: u64,
    /// Index of its segment in the workload.
    pub segment: usize,
    /// The prompt as tokens of the target's model; empty for targets that take only lengths.
    pub prompt: Vec<u32>,
    /// Prompt length in tokens.
    pub input_tokens: u32,
    /// Answer length asked for, in tokens: generation goes on past the model's own end, so lengths are exact.
    pub output_tokens: u32,
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
    sentences: Vec<Vec<u32>>,
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
        let sentences = SENTENCES.iter().map(|s| encoded(s)).collect::<Result<Vec<_>, _>>()?;
        let numerals = NUMERALS.iter().map(|s| encoded(s)).collect::<Result<Vec<_>, _>>()?;
        if sentences.iter().chain(&numerals).any(Vec::is_empty) {
            return Err(EncodeError("the tokenizer gave no tokens for plain English".to_owned()));
        }
        Ok(Self { sentences, numerals, ..Self::lengths_only(workload, seed) })
    }

    /// A source of lengths without prompts, for targets that do not read them.
    pub fn lengths_only(workload: &Workload, seed: u64) -> Self {
        Self {
            workload: workload.clone(),
            shares: workload.shares(),
            sentences: Vec::new(),
            numerals: Vec::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
            next_id: 0,
        }
    }

    /// A source of the same workload with other draws, and numbers that this one never reaches: its prompts are not these.
    #[must_use]
    pub fn beside(&self, seed: u64) -> Self {
        Self {
            workload: self.workload.clone(),
            shares: self.shares.clone(),
            sentences: self.sentences.clone(),
            numerals: self.numerals.clone(),
            random: ChaCha8Rng::seed_from_u64(seed),
            next_id: self.next_id + 1_000_000_000,
        }
    }

    /// The next request.
    pub fn draw(&mut self) -> Request {
        self.draw_of(None)
    }

    /// The next request, of given lengths instead of its segment's.
    pub fn draw_of(&mut self, lengths: Option<TokenLengths>) -> Request {
        let id = self.next_id;
        self.next_id += 1;
        let segment = self.draw_segment();
        let (input_tokens, output_tokens, shared) = match self.workload.segments.get(segment) {
            Some(s) => {
                let mut deviate = || -> f64 { StandardNormal.sample(&mut self.random) };
                let (input, output) =
                    (s.input_tokens.at_deviate(deviate()), s.output_tokens.at_deviate(deviate()));
                let (input, output) = lengths.map_or((input, output), |l| (l.input, l.output));
                (input, output, s.shared_prefix.get() * f64::from(input))
            }
            None => (1, 1, 0.0),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a u32 length"
        )]
        let prompt = self.write_prompt(id, input_tokens as usize, shared as usize);
        Request { id, segment, prompt, input_tokens, output_tokens }
    }

    fn draw_segment(&mut self) -> usize {
        let mut left: f64 = self.random.random();
        for (index, share) in self.shares.iter().enumerate() {
            left -= share;
            if left < 0.0 {
                return index;
            }
        }
        self.shares.len().saturating_sub(1)
    }

    /// `shared` tokens that all requests have in common, then the request's number in words, then sentences.
    fn write_prompt(&mut self, id: u64, tokens: usize, shared: usize) -> Vec<u32> {
        if self.sentences.is_empty() {
            return Vec::new();
        }
        let mut prompt: Vec<u32> = self.sentences.iter().cycle().flatten().copied().take(shared).collect();
        // Number words first: a prefix cache that nobody declared finds nothing to reuse.
        let mut rest = id;
        loop {
            let digit = usize::try_from(rest % 10).unwrap_or(0);
            prompt.extend(self.numerals.get(digit).into_iter().flatten());
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        while prompt.len() < tokens {
            let pick = self.random.random_range(0..self.sentences.len());
            prompt.extend(self.sentences.get(pick).into_iter().flatten());
        }
        prompt.truncate(tokens);
        prompt
    }
}

const NUMERALS: [&str; 10] =
    [" zero", " one", " two", " three", " four", " five", " six", " seven", " eight", " nine"];

/// Our own sentences of everyday support traffic: real words cost what real prompts cost.
const SENTENCES: [&str; 24] = [
    " My order arrived yesterday but one of the boxes was open and a part is missing.",
    " I changed my address last week and the invoice still shows the old one.",
    " Could you tell me when the next delivery to my city is planned?",
    " The app asks me to sign in again every time I open it on my phone.",
    " I was charged twice for the same month and would like one payment back.",
    " How do I add a second person to our account without giving them the password?",
    " The printer prints the first page and then stops with an orange light.",
    " We need a copy of all receipts from March to June for our accountant.",
    " After the update the list of contacts is empty and the search finds nothing.",
    " Is it possible to pause the subscription while I am travelling in August?",
    " The coupon from your newsletter is not accepted at the checkout.",
    " Our office has twelve people and only ten of them can see the calendar.",
    " Please explain the difference between the basic plan and the plus plan.",
    " The heater makes a clicking noise when it starts and the room stays cold.",
    " I sent the form two weeks ago and have not heard anything since then.",
    " Which documents do I need to bring to the appointment on Tuesday morning?",
    " The tracking page says delivered, but nobody here has seen the parcel.",
    " Can I return a gift without the paper receipt if I have the card it was paid with?",
    " The video call freezes after a few minutes whenever I share my screen.",
    " Someone tried to sign in from another country and I want to be sure we are safe.",
    " The size chart says medium, yet the jacket is far too small for me.",
    " We moved our website to a new server and the emails go to the wrong place.",
    " What happens to my files if I cancel at the end of this month?",
    " The battery used to last two days and now it is empty before lunch.",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use breakeven_measurement::{Fraction, Lengths, Segment};
    use proptest::prelude::*;

    use super::*;

    fn workload(shared: f64) -> Workload {
        let segment = |name: &str, weight| Segment {
            name: name.to_owned(),
            weight,
            input_tokens: Lengths::new(40, 80, None).unwrap(),
            output_tokens: Lengths::new(10, 20, None).unwrap(),
            shared_prefix: Fraction::new(shared).unwrap(),
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
