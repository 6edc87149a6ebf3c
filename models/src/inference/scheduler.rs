//! Continuous batching: which tokens of which sequences go into the next step.
//!
//! Decoding sequences come first, one token each, so that running answers keep their pace; what is left of
//! the token budget goes to prompts in order of arrival, cut into chunks (Sarathi-Serve, arXiv:2403.02310).
//! A slot holds a whole context, so a running sequence never has to be put out again.
//!
//! With the prefix cache on, a slot's tokens are remembered after its sequence has left. A sequence that is
//! admitted takes over the free slot that shares the longest beginning with it, or gets a copy of the
//! beginning of a running one, and computes only the rest.

use std::collections::VecDeque;

use super::batch::{SlotShape, StepBatch};
use super::steps::StepRecord;

/// Shorter common beginnings are computed anew: a chat template alone makes some.
const SHORTEST_PREFIX: usize = 16;

/// Keys and values to copy before the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotCopy {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) tokens: usize,
}

/// A sequence as the scheduler sees it; `T` is whatever its owner needs to go on with it.
#[derive(Debug)]
pub(crate) struct Sequence<T> {
    /// Prompt, then what was generated.
    pub(crate) tokens: Vec<u32>,
    /// Tokens whose keys and values are in the slot.
    computed: usize,
    /// Of these, found in a slot when the sequence was admitted.
    pub(crate) cached: usize,
    slot: usize,
    priority: u8,
    pub(crate) owner: T,
}

impl<T> Sequence<T> {
    /// Tokens not in the slot yet. One, when the sequence decodes: the token sampled last.
    fn pending(&self) -> &[u32] {
        self.tokens.get(self.computed..).unwrap_or_default()
    }
}

/// Waiting and running sequences.
#[derive(Debug)]
pub(crate) struct Scheduler<T> {
    waiting: VecDeque<Sequence<T>>,
    running: Vec<Sequence<T>>,
    free_slots: Vec<usize>,
    token_budget: usize,
    /// Tokens left behind in each free slot, where the prefix cache is on.
    left_behind: Option<Vec<Vec<u32>>>,
    copies: Vec<SlotCopy>,
}

/// What to do with a sequence after its token was sampled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It got a token and goes on.
    Continue(u32),
    /// It leaves, and its slot is free.
    Leave,
}

impl<T> Scheduler<T> {
    pub(crate) fn new(shape: SlotShape, token_budget: usize, prefix_cache: bool) -> Self {
        Self {
            waiting: VecDeque::new(),
            running: Vec::new(),
            free_slots: (0..shape.slots).rev().collect(),
            token_budget,
            left_behind: prefix_cache.then(|| vec![Vec::new(); shape.slots]),
            copies: Vec::new(),
        }
    }

    /// Puts a sequence into the queue, behind all of its priority and higher ones.
    pub(crate) fn enqueue(&mut self, tokens: Vec<u32>, priority: u8, owner: T) {
        let at = self.waiting.partition_point(|waiting| waiting.priority >= priority);
        let slot = usize::MAX;
        self.waiting.insert(at, Sequence { tokens, computed: 0, cached: 0, slot, priority, owner });
    }

    /// What to copy before the step planned last, in this order.
    pub(crate) fn take_copies(&mut self) -> Vec<SlotCopy> {
        std::mem::take(&mut self.copies)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    pub(crate) fn queued(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Tokens held in the slots.
    pub(crate) fn kv_tokens(&self) -> usize {
        self.running.iter().map(|sequence| sequence.computed).sum()
    }

    /// Lets go of sequences, waiting or running, that nobody wants any more.
    pub(crate) fn drop_where(&mut self, unwanted: impl Fn(&T) -> bool) {
        self.waiting.retain(|sequence| !unwanted(&sequence.owner));
        let (free_slots, left_behind) = (&mut self.free_slots, &mut self.left_behind);
        self.running.retain(|sequence| {
            let gone = unwanted(&sequence.owner);
            if gone {
                free_slots.push(sequence.slot);
                leave(left_behind, sequence);
            }
            !gone
        });
    }

    /// Empties the slots; the sequences that ran are returned, those that wait stay.
    pub(crate) fn evict_running(&mut self) -> Vec<Sequence<T>> {
        self.free_slots.extend(self.running.iter().map(|sequence| sequence.slot));
        // The step that failed may have left anything in the slots.
        for left in self.left_behind.iter_mut().flatten() {
            left.clear();
        }
        self.copies.clear();
        std::mem::take(&mut self.running)
    }

    /// Everything, in order of arrival; used when the engine stops.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Sequence<T>> {
        self.evict_running().into_iter().chain(std::mem::take(&mut self.waiting))
    }

    /// Plans a step: fills `batch`, admits what there is room for. `None` when there is nothing to do.
    pub(crate) fn plan(&mut self, batch: &mut StepBatch) -> Option<StepRecord> {
        batch.tokens.clear();
        batch.runs.clear();
        let mut record = StepRecord {
            prefill_tokens: 0,
            decoding_sequences: 0,
            context_tokens: 0,
            queued: 0,
            seconds: 0.0,
            decoder_seconds: 0.0,
        };
        for sequence in self.running.iter().filter(|sequence| sequence.pending().len() == 1) {
            batch.push(sequence.slot, sequence.computed, sequence.pending(), true);
            record.context_tokens += sequence.computed + 1;
            record.decoding_sequences += 1;
        }
        let mut left = self.token_budget.saturating_sub(record.decoding_sequences);
        let mut at = 0;
        while left > 0 {
            if at == self.running.len() && !self.admit() {
                break;
            }
            let Some(sequence) = self.running.get(at) else { break };
            at += 1;
            let pending = sequence.pending();
            if batch.runs.iter().any(|run| run.slot == sequence.slot) {
                continue;
            }
            let count = pending.len().min(left);
            let chunk = pending.get(..count).unwrap_or_default();
            batch.push(sequence.slot, sequence.computed, chunk, count == pending.len());
            record.prefill_tokens += count;
            record.context_tokens += sequence.computed + count;
            left -= count;
        }
        record.queued = self.waiting.len();
        (!batch.runs.is_empty()).then_some(record)
    }

    /// Gives the first waiting sequence a slot.
    fn admit(&mut self) -> bool {
        if self.free_slots.is_empty() {
            return false;
        }
        let Some(mut sequence) = self.waiting.pop_front() else { return false };
        let (from, cached) = self.longest_prefix(&sequence.tokens);
        let at = self.free_slots.iter().position(|slot| Some(*slot) == from);
        let at = at.unwrap_or_else(|| self.least_worth_keeping());
        // The slot last given back goes out first, as it is the one whose memory is near.
        let slot = self.free_slots.remove(at);
        if let Some(from) = from.filter(|from| *from != slot) {
            self.copies.push(SlotCopy { from, to: slot, tokens: cached });
        }
        if let Some(left) = self.left_behind.as_mut().and_then(|left| left.get_mut(slot)) {
            left.clear();
        }
        sequence.computed = cached;
        sequence.cached = cached;
        self.running.push(Sequence { slot, ..sequence });
        true
    }

    /// The slot, free or running, that begins with the most of these tokens, and how many. One token is always left
    /// to compute, since its logits are wanted.
    fn longest_prefix(&self, tokens: &[u32]) -> (Option<usize>, usize) {
        let Some(left_behind) = &self.left_behind else { return (None, 0) };
        let free =
            self.free_slots.iter().filter_map(|slot| Some((*slot, left_behind.get(*slot)?.as_slice())));
        let running = self
            .running
            .iter()
            .filter_map(|sequence| Some((sequence.slot, sequence.tokens.get(..sequence.computed)?)));
        let most = tokens.len().saturating_sub(1);
        let common = |held: &[u32]| held.iter().zip(tokens).take_while(|(a, b)| a == b).count().min(most);
        free.chain(running)
            .map(|(slot, held)| (Some(slot), common(held)))
            .filter(|(_, count)| *count >= SHORTEST_PREFIX)
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .unwrap_or((None, 0))
    }

    /// Index of the free slot that holds least; among equals the one given back last.
    fn least_worth_keeping(&self) -> usize {
        let held =
            |slot: usize| self.left_behind.as_ref().and_then(|left| left.get(slot)).map_or(0, Vec::len);
        let indexed = self.free_slots.iter().enumerate().rev();
        indexed.min_by_key(|(_, slot)| held(**slot)).map_or(0, |(at, _)| at)
    }

    /// Whose logits a step computed, each with the number of its row.
    pub(crate) fn owners_of_rows<'a>(
        &'a mut self,
        batch: &'a StepBatch,
    ) -> impl Iterator<Item = (usize, &'a mut T)> {
        let row = |slot| batch.runs.iter().filter(|run| run.wants_logits).position(|run| run.slot == slot);
        self.running.iter_mut().filter_map(move |sequence| Some((row(sequence.slot)?, &mut sequence.owner)))
    }

    /// Books a finished step: `decide` gets each sequence whose logits were computed.
    pub(crate) fn complete(
        &mut self,
        batch: &StepBatch,
        mut decide: impl FnMut(&mut Sequence<T>) -> Verdict,
    ) {
        for run in &batch.runs {
            let Some(at) = self.running.iter().position(|sequence| sequence.slot == run.slot) else {
                continue;
            };
            let Some(sequence) = self.running.get_mut(at) else { continue };
            sequence.computed += run.count;
            if !run.wants_logits {
                continue;
            }
            match decide(sequence) {
                Verdict::Continue(token) => sequence.tokens.push(token),
                Verdict::Leave => {
                    self.free_slots.push(run.slot);
                    leave(&mut self.left_behind, sequence);
                    self.running.remove(at);
                }
            }
        }
    }
}

/// Remembers what a sequence that goes leaves in its slot.
fn leave<T>(left_behind: &mut Option<Vec<Vec<u32>>>, sequence: &Sequence<T>) {
    if let Some(left) = left_behind.as_mut().and_then(|left| left.get_mut(sequence.slot)) {
        left.clear();
        left.extend_from_slice(sequence.tokens.get(..sequence.computed).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: SlotShape = SlotShape { slots: 2, tokens: 64 };

    fn runs(batch: &StepBatch) -> Vec<(usize, usize, usize, bool)> {
        batch.runs.iter().map(|run| (run.slot, run.start, run.count, run.wants_logits)).collect()
    }

    fn step(scheduler: &mut Scheduler<usize>, batch: &StepBatch) {
        scheduler.complete(batch, |_| Verdict::Continue(9));
    }

    #[test]
    fn decoding_goes_first_and_prompts_fill_the_rest_in_order() {
        let mut scheduler = Scheduler::new(SHAPE, 4, false);
        let mut batch = StepBatch::default();
        scheduler.enqueue(vec![1, 2, 3], 0, 0);
        scheduler.enqueue(vec![1; 6], 0, 1);
        scheduler.enqueue(vec![1], 0, 2);
        let record = scheduler.plan(&mut batch).unwrap();
        assert_eq!(runs(&batch), [(0, 0, 3, true), (1, 0, 1, false)]);
        assert_eq!((record.prefill_tokens, record.decoding_sequences, record.context_tokens), (4, 0, 4));
        let rows: Vec<(usize, usize)> =
            scheduler.owners_of_rows(&batch).map(|(row, owner)| (row, *owner)).collect();
        assert_eq!(rows, [(0, 0)]);
        assert_eq!(record.queued, 1);
        step(&mut scheduler, &batch);
        let record = scheduler.plan(&mut batch).unwrap();
        assert_eq!(runs(&batch), [(0, 3, 1, true), (1, 1, 3, false)]);
        assert_eq!((record.prefill_tokens, record.decoding_sequences, record.context_tokens), (3, 1, 8));
        step(&mut scheduler, &batch);
        scheduler.plan(&mut batch).unwrap();
        assert_eq!(runs(&batch), [(0, 4, 1, true), (1, 4, 2, true)]);
        assert_eq!(scheduler.queued(), 1);
    }

    #[test]
    fn a_dropped_sequence_frees_its_slot_for_the_next() {
        let mut scheduler = Scheduler::new(SlotShape { slots: 1, tokens: 8 }, 8, false);
        let mut batch = StepBatch::default();
        scheduler.enqueue(vec![1, 2], 0, 0);
        scheduler.enqueue(vec![3], 0, 1);
        scheduler.plan(&mut batch);
        step(&mut scheduler, &batch);
        scheduler.drop_where(|owner| *owner == 0);
        assert_eq!(scheduler.kv_tokens(), 0);
        scheduler.plan(&mut batch).unwrap();
        assert_eq!((batch.tokens.as_slice(), runs(&batch)), (&[3][..], vec![(0, 0, 1, true)]));
    }

    #[test]
    fn higher_priority_waits_less_and_equals_keep_their_order() {
        let mut scheduler = Scheduler::new(SlotShape { slots: 9, tokens: 8 }, 9, false);
        for (priority, owner) in [(0, 0), (2, 1), (1, 2), (2, 3), (0, 4)] {
            scheduler.enqueue(vec![1], priority, owner);
        }
        let mut batch = StepBatch::default();
        scheduler.plan(&mut batch).unwrap();
        let owners: Vec<usize> = scheduler.drain().map(|sequence| sequence.owner).collect();
        assert_eq!(owners, [1, 3, 2, 0, 4]);
    }

    #[test]
    fn a_shared_beginning_is_computed_once() {
        let mut scheduler = Scheduler::new(SHAPE, 64, true);
        let mut batch = StepBatch::default();
        let prompt = |last: u32| (0..20).chain([last]).collect::<Vec<u32>>();
        scheduler.enqueue(prompt(50), 0, 0);
        scheduler.plan(&mut batch).unwrap();
        assert_eq!(runs(&batch), [(0, 0, 21, true)]);
        step(&mut scheduler, &batch);
        // The first runs on: the second gets a copy of what both begin with.
        scheduler.enqueue(prompt(51), 0, 1);
        scheduler.plan(&mut batch).unwrap();
        assert_eq!(scheduler.take_copies(), [SlotCopy { from: 0, to: 1, tokens: 20 }]);
        assert_eq!(runs(&batch), [(0, 21, 1, true), (1, 20, 1, true)]);
        step(&mut scheduler, &batch);
        // Both have left: the third goes on in either's slot, both begin with the same 20, and computes its own last token.
        scheduler.drop_where(|_| true);
        scheduler.enqueue(prompt(51), 0, 2);
        scheduler.plan(&mut batch).unwrap();
        assert_eq!(scheduler.take_copies(), []);
        assert!(matches!(runs(&batch)[..], [(_, 20, 1, true)]), "{:?}", runs(&batch));
        // After a failed step nothing is trusted.
        scheduler.evict_running();
        scheduler.enqueue(prompt(51), 0, 3);
        scheduler.plan(&mut batch).unwrap();
        assert_eq!(batch.tokens.len(), 21);
    }

    proptest! {
        #[test]
        fn every_sequence_gets_all_its_tokens_in_order(
            prompts in prop::collection::vec(1usize..12, 1..9),
            slots in 1usize..4,
            extra in 1usize..6,
        ) {
            let shape = SlotShape { slots, tokens: 32 };
            let mut scheduler = Scheduler::new(shape, slots + extra, false);
            let mut batch = StepBatch::default();
            for (owner, length) in prompts.iter().enumerate() {
                scheduler.enqueue(vec![5; *length], 0, owner);
            }
            let mut finished = Vec::new();
            let mut slot_tokens = vec![0; slots];
            while let Some(record) = scheduler.plan(&mut batch) {
                prop_assert!(batch.tokens.len() <= slots + extra);
                prop_assert_eq!(record.prefill_tokens + record.decoding_sequences, batch.tokens.len());
                for run in &batch.runs {
                    // A slot starts from nothing or goes on where it stopped.
                    prop_assert!(run.start == 0 || run.start == slot_tokens[run.slot]);
                    slot_tokens[run.slot] = run.start + run.count;
                }
                let mut used: Vec<usize> = batch.runs.iter().map(|run| run.slot).collect();
                used.sort_unstable();
                used.dedup();
                prop_assert_eq!(used.len(), batch.runs.len());
                scheduler.complete(&batch, |sequence| {
                    if sequence.tokens.len() >= prompts[sequence.owner] + 3 {
                        finished.push(sequence.owner);
                        Verdict::Leave
                    } else {
                        Verdict::Continue(7)
                    }
                });
            }
            finished.sort_unstable();
            prop_assert_eq!(finished, (0..prompts.len()).collect::<Vec<_>>());
            prop_assert!(scheduler.is_idle());
        }
    }
}
