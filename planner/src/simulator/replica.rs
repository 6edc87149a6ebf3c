//! One replica: a continuous-batching scheduler on the step model.
//!
//! Steps are planned as the engine plans them (`models/src/inference/scheduler.rs`): every decoding sequence takes one
//! token of the budget, what is left goes to prompts in order of arrival.

#![expect(
    clippy::indexing_slicing,
    reason = "slots are handed out by this file and stay below the slab's length"
)]

use std::collections::VecDeque;

use super::{Request, prefix_cache::PrefixCache, run::Run, settings::ReplicaSettings};
use crate::step_model::StepModel;

/// A finished request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) arrived: f64,
    pub(crate) admitted: f64,
    pub(crate) first_token: f64,
    pub(crate) output_tokens: u32,
}

/// A request on a replica.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    request: Request,
    admitted: Option<f64>,
    first_token: Option<f64>,
    /// Answer tokens made.
    made: u32,
    /// Tokens still to be computed before the next can be made.
    pending: u32,
    /// Of its tokens, those that lie in the prefix cache.
    cached: u32,
}

impl Sequence {
    /// Prompt and answer so far.
    fn tokens(&self) -> u64 {
        u64::from(self.request.prompt_tokens) + u64::from(self.made)
    }
}

/// A decoding sequence: when it ends, in steps of the replica's life.
#[derive(Debug, Clone, Copy)]
struct Decoding {
    slot: u32,
    admission: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Replica {
    settings: ReplicaSettings,
    model: StepModel,
    slab: Vec<Sequence>,
    free: Vec<u32>,
    waiting: VecDeque<u32>,
    prefilling: VecDeque<u32>,
    decoding: Vec<Decoding>,
    /// For each decoding sequence, the decode step after which it is done.
    ends: Vec<u64>,
    next_end: u64,
    decode_steps: u64,
    admissions: u64,
    /// Tokens that decoding sequences attend to.
    context: u64,
    /// Tokens of KV memory in use.
    kv: u64,
    cache: PrefixCache,
    run: Option<Run>,
    busy_seconds: f64,
    occupied_seconds: f64,
    pub(crate) preemptions: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) steps: u64,
}

impl Replica {
    pub(crate) fn new(settings: ReplicaSettings, model: StepModel) -> Self {
        Self {
            settings,
            model,
            slab: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            prefilling: VecDeque::new(),
            decoding: Vec::new(),
            ends: Vec::new(),
            next_end: u64::MAX,
            decode_steps: 0,
            admissions: 0,
            context: 0,
            kv: 0,
            cache: PrefixCache::new(settings.prefix_cache_tokens),
            run: None,
            busy_seconds: 0.0,
            occupied_seconds: 0.0,
            preemptions: 0,
            cached_tokens: 0,
            steps: 0,
        }
    }

    /// Requests that wait.
    pub(crate) fn queued(&self) -> usize {
        self.waiting.len()
    }

    /// Requests that wait or run.
    pub(crate) fn outstanding(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// When something happens next here; infinity while idle.
    pub(crate) fn next_event(&self) -> f64 {
        self.run.map_or(f64::INFINITY, |run| run.end())
    }

    /// Seconds spent in steps up to `now`.
    pub(crate) fn busy_seconds(&self, now: f64) -> f64 {
        self.busy_seconds + self.run.map_or(0.0, |run| (now - run.start).max(0.0))
    }

    /// Sequence-seconds spent in steps.
    pub(crate) fn occupied_seconds(&self) -> f64 {
        self.occupied_seconds
    }

    /// Takes a request at `now`; what was due before has been done.
    pub(crate) fn take(&mut self, request: Request, now: f64) {
        let sequence =
            Sequence { request, admitted: None, first_token: None, made: 0, pending: 0, cached: 0 };
        let slot = if let Some(slot) = self.free.pop() {
            self.slab[slot as usize] = sequence;
            slot
        } else {
            self.slab.push(sequence);
            u32::try_from(self.slab.len() - 1).unwrap_or(u32::MAX)
        };
        self.waiting.push_back(slot);
        match &mut self.run {
            None => self.plan(now),
            Some(run) if run.joinable => {
                run.steps = run.steps_by(now);
                run.joinable = false;
            }
            Some(_) => {}
        }
    }

    /// Ends the run that is due at `now` and plans the next.
    pub(crate) fn advance(&mut self, now: f64, done: &mut impl FnMut(Finished)) {
        let Some(run) = self.run.take() else { return };
        let seconds = run.seconds_of(run.steps);
        self.busy_seconds += seconds;
        self.occupied_seconds += seconds * run.occupancy as f64;
        self.steps += run.steps;
        let tokens = run.decoding * run.steps;
        if run.decoding > 0 {
            self.decode_steps += run.steps;
            self.context += tokens;
            self.kv += tokens;
        }
        // New sequences join after the old ones are looked at: they have made their token already.
        let joining = self.work_on_prompts(&run, now, done);
        if self.decode_steps >= self.next_end {
            self.finish_decoding(now, done);
        }
        for slot in joining {
            self.join(slot);
        }
        self.plan(now);
    }

    /// Goes down: gives back every request it had, oldest first.
    pub(crate) fn fail(&mut self, now: f64) -> Vec<Request> {
        if let Some(run) = self.run.take() {
            let seconds = (now - run.start).max(0.0);
            self.busy_seconds += seconds;
            self.occupied_seconds += seconds * run.occupancy as f64;
        }
        let running = self.decoding.drain(..).map(|d| d.slot).chain(self.prefilling.drain(..));
        let slots: Vec<u32> = running.chain(self.waiting.drain(..)).collect();
        let mut lost: Vec<Request> = slots.into_iter().map(|slot| self.slab[slot as usize].request).collect();
        lost.sort_by(|a, b| a.at_seconds.total_cmp(&b.at_seconds));
        self.slab.clear();
        self.free.clear();
        self.ends.clear();
        self.next_end = u64::MAX;
        (self.context, self.kv) = (0, 0);
        self.cache.clear();
        lost
    }

    /// Books the prompt tokens of a run; returns the sequences that made a token and go on decoding.
    fn work_on_prompts(&mut self, run: &Run, now: f64, done: &mut impl FnMut(Finished)) -> Vec<u32> {
        let Some(&head) = self.prefilling.front() else { return Vec::new() };
        if run.head_tokens > 0 {
            let tokens = u32::try_from(run.head_tokens * run.steps).unwrap_or(u32::MAX);
            let pending = &mut self.slab[head as usize].pending;
            *pending = pending.saturating_sub(tokens);
            return Vec::new();
        }
        let chunked = self.settings.chunked_prefill;
        let mut left = self.prompt_budget(run.decoding);
        let mut joining = Vec::new();
        let mut first = true;
        while let Some(&slot) = self.prefilling.front() {
            let sequence = &mut self.slab[slot as usize];
            let whole = sequence.pending <= left || (!chunked && first);
            let count = if whole {
                sequence.pending
            } else if chunked {
                left
            } else {
                0
            };
            first = false;
            left = left.saturating_sub(count);
            sequence.pending -= count;
            if !whole {
                break;
            }
            self.prefilling.pop_front();
            sequence.made += 1;
            sequence.first_token.get_or_insert(now);
            if let Some(prefix) = sequence.request.prefix {
                self.cache.keep(prefix);
            }
            if sequence.made >= sequence.request.output_tokens {
                self.leave(slot, now, done);
            } else {
                joining.push(slot);
            }
        }
        joining
    }

    fn join(&mut self, slot: u32) {
        let sequence = &self.slab[slot as usize];
        let end = self.decode_steps + u64::from(sequence.request.output_tokens - sequence.made);
        self.context += sequence.tokens();
        self.ends.push(end);
        self.next_end = self.next_end.min(end);
        self.admissions += 1;
        self.decoding.push(Decoding { slot, admission: self.admissions });
    }

    fn finish_decoding(&mut self, now: f64, done: &mut impl FnMut(Finished)) {
        let mut at = 0;
        while at < self.ends.len() {
            if self.ends[at] > self.decode_steps {
                at += 1;
                continue;
            }
            self.ends.swap_remove(at);
            let slot = self.decoding.swap_remove(at).slot;
            let sequence = &mut self.slab[slot as usize];
            sequence.made = sequence.request.output_tokens;
            self.context -= sequence.tokens();
            self.leave(slot, now, done);
        }
        self.next_end = self.ends.iter().copied().min().unwrap_or(u64::MAX);
    }

    fn leave(&mut self, slot: u32, now: f64, done: &mut impl FnMut(Finished)) {
        let sequence = self.slab[slot as usize];
        self.kv -= sequence.tokens() - u64::from(sequence.cached);
        self.free.push(slot);
        done(Finished {
            arrived: sequence.request.at_seconds,
            admitted: sequence.admitted.unwrap_or(now),
            first_token: sequence.first_token.unwrap_or(now),
            output_tokens: sequence.request.output_tokens,
        });
    }

    /// Tokens of a step that prompts may have.
    fn prompt_budget(&self, decoding: u64) -> u32 {
        let taken = u32::try_from(decoding).unwrap_or(u32::MAX);
        self.settings.token_budget.saturating_sub(taken)
    }

    fn plan(&mut self, now: f64) {
        self.make_room();
        self.admit(now);
        let decoding = self.decoding.len() as u64;
        let Some(&head) = self.prefilling.front() else {
            if decoding == 0 {
                return;
            }
            let joinable = self.waiting.is_empty()
                && self.decoding.len() < self.settings.max_sequences as usize
                && self.prompt_budget(decoding) > 0;
            let steps = self.steps_ahead(decoding);
            self.start(now, steps, decoding, (0, 0, 0), decoding, joinable);
            return;
        };
        let occupancy = decoding + self.prefilling.len() as u64;
        if !self.settings.chunked_prefill {
            let (mut tokens, mut context, mut count) = (0, 0, 0);
            for &slot in &self.prefilling {
                let sequence = &self.slab[slot as usize];
                if count > 0 && tokens + sequence.pending > self.settings.token_budget {
                    break;
                }
                (tokens, context, count) =
                    (tokens + sequence.pending, context + sequence.tokens(), count + 1);
            }
            self.start(now, 1, 0, (u64::from(tokens), context, 0), count, false);
            return;
        }
        let budget = self.prompt_budget(decoding);
        let first = &self.slab[head as usize];
        if budget > 0 && first.pending > budget {
            // The head takes all of the budget until less than a step's worth is left of it.
            let steps = u64::from((first.pending - 1) / budget).min(self.steps_ahead(decoding));
            let context = first.tokens() - u64::from(first.pending) + u64::from(budget);
            let tokens = u64::from(budget);
            self.start(now, steps, decoding, (tokens, context, tokens), occupancy, false);
            return;
        }
        let (mut left, mut context) = (budget, 0);
        for &slot in &self.prefilling {
            let sequence = &self.slab[slot as usize];
            let count = sequence.pending.min(left);
            left -= count;
            context += sequence.tokens() - u64::from(sequence.pending - count);
        }
        self.start(now, 1, decoding, (u64::from(budget - left), context, 0), occupancy, false);
    }

    /// Steps until a decoding sequence ends or the KV memory is full.
    fn steps_ahead(&self, decoding: u64) -> u64 {
        if decoding == 0 {
            return u64::MAX;
        }
        let to_end = self.next_end - self.decode_steps;
        let to_full =
            self.settings.kv_tokens.map_or(u64::MAX, |limit| (limit - self.kv.min(limit)) / decoding);
        to_end.min(to_full).max(1)
    }

    /// `prompt` is the prompt tokens of a step, the context tokens of prompts in the first step, and, where one prompt has
    /// the whole budget of many steps, its tokens a step.
    fn start(
        &mut self,
        now: f64,
        steps: u64,
        decoding: u64,
        prompt: (u64, u64, u64),
        occupancy: u64,
        joinable: bool,
    ) {
        let (prompt_tokens, prompt_context, head_tokens) = prompt;
        // The token made last is written to the KV memory in this step: it is in the count already.
        let decode_context = if decoding > 0 { self.context } else { 0 };
        let context = (decode_context + prompt_context) as f64;
        let first = self.model.seconds(prompt_tokens as f64, decoding as f64, context);
        let [.., by_context] = self.model.coefficients();
        let growth = by_context * (decoding + head_tokens) as f64;
        self.run = Some(Run { start: now, steps, first, growth, joinable, head_tokens, decoding, occupancy });
    }

    fn admit(&mut self, now: f64) {
        let sharing = if self.settings.chunked_prefill { self.decoding.len() as u64 } else { 0 };
        let mut left = self.prompt_budget(sharing);
        for &slot in &self.prefilling {
            left = left.saturating_sub(self.slab[slot as usize].pending);
        }
        while left > 0 && self.decoding.len() + self.prefilling.len() < self.settings.max_sequences as usize {
            let Some(&slot) = self.waiting.front() else { break };
            let mut sequence = self.slab[slot as usize];
            let prompt = u64::from(sequence.request.prompt_tokens);
            let cached = sequence.request.prefix.map_or(0, |prefix| self.cache.find(prefix));
            // The last token of a prompt is always computed: its logits are the first answer token.
            sequence.cached = u32::try_from(u64::from(cached).min(prompt.saturating_sub(1))).unwrap_or(0);
            let computed = sequence.tokens() - u64::from(sequence.cached);
            sequence.pending = u32::try_from(computed).unwrap_or(u32::MAX);
            if !self.fits(computed + 1) {
                break;
            }
            if !self.settings.chunked_prefill && !self.prefilling.is_empty() && sequence.pending > left {
                break;
            }
            sequence.admitted.get_or_insert(now);
            left = left.saturating_sub(sequence.pending);
            self.kv += computed + 1;
            self.cached_tokens += u64::from(sequence.cached);
            self.slab[slot as usize] = sequence;
            self.waiting.pop_front();
            self.prefilling.push_back(slot);
        }
    }

    /// Whether so many more tokens fit. Beside others, a hundredth is kept free and room for their next step, so that
    /// what was just thrown out does not come straight back.
    fn fits(&self, tokens: u64) -> bool {
        let Some(limit) = self.settings.kv_tokens else { return true };
        let running = (self.decoding.len() + self.prefilling.len()) as u64;
        let kept = if running > 0 { limit / 100 + running } else { 0 };
        self.kv + tokens + kept <= limit
    }

    /// Throws out the latest sequences until each that decodes has room for one more token.
    fn make_room(&mut self) {
        let Some(limit) = self.settings.kv_tokens else { return };
        while self.kv + self.decoding.len() as u64 > limit {
            let slot = if let Some(slot) = self.prefilling.pop_back() {
                let sequence = &self.slab[slot as usize];
                // Room for the token it was to make was set aside with it.
                self.kv -= sequence.tokens() + 1 - u64::from(sequence.cached);
                slot
            } else {
                let latest = self.decoding.iter().enumerate().max_by_key(|(_, d)| d.admission);
                let Some((at, _)) = latest else { return };
                let slot = self.decoding.swap_remove(at).slot;
                let end = self.ends.swap_remove(at);
                let sequence = &mut self.slab[slot as usize];
                let left = u32::try_from(end - self.decode_steps).unwrap_or(u32::MAX);
                sequence.made = sequence.request.output_tokens - left;
                self.context -= sequence.tokens();
                self.kv -= sequence.tokens() - u64::from(sequence.cached);
                self.next_end = self.ends.iter().copied().min().unwrap_or(u64::MAX);
                slot
            };
            self.preemptions += 1;
            self.waiting.push_front(slot);
        }
    }
}
