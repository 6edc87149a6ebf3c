//! Continuous batching: which tokens of which sequences go into the next step.
//!
//! Decoding sequences come first, one token each, so that running answers keep their pace; what is left of
//! the token budget goes to prompts in order of arrival, cut into chunks (Sarathi-Serve, arXiv:2403.02310).
//! A slot holds a whole context, so a running sequence never has to be put out again.

use std::collections::VecDeque;

use super::batch::{SlotShape, StepBatch};
use super::steps::StepRecord;

/// A sequence as the scheduler sees it; `T` is whatever its owner needs to go on with it.
#[derive(Debug)]
pub(crate) struct Sequence<T> {
    /// Prompt, then what was generated.
    pub(crate) tokens: Vec<u32>,
    /// Tokens whose keys and values are in the slot.
    computed: usize,
    slot: usize,
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
    pub(crate) fn new(shape: SlotShape, token_budget: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            running: Vec::new(),
            free_slots: (0..shape.slots).rev().collect(),
            token_budget,
        }
    }

    /// Puts a sequence at the end of the queue.
    pub(crate) fn enqueue(&mut self, tokens: Vec<u32>, owner: T) {
        self.waiting.push_back(Sequence { tokens, computed: 0, slot: usize::MAX, owner });
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
        let free_slots = &mut self.free_slots;
        self.running.retain(|sequence| {
            let gone = unwanted(&sequence.owner);
            if gone {
                free_slots.push(sequence.slot);
            }
            !gone
        });
    }

    /// Empties the slots; the sequences that ran are returned, those that wait stay.
    pub(crate) fn evict_running(&mut self) -> Vec<Sequence<T>> {
        self.free_slots.extend(self.running.iter().map(|sequence| sequence.slot));
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
        let Some(slot) = self.free_slots.pop() else { return false };
        let Some(sequence) = self.waiting.pop_front() else {
            self.free_slots.push(slot);
            return false;
        };
        self.running.push(Sequence { slot, ..sequence });
        true
    }

    /// Books a finished step: `decide` gets each sequence whose logits were computed, with its row.
    pub(crate) fn complete<'a>(
        &mut self,
        batch: &StepBatch,
        mut rows: impl Iterator<Item = &'a [f32]>,
        mut decide: impl FnMut(&mut Sequence<T>, &[f32]) -> Verdict,
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
            match decide(sequence, rows.next().unwrap_or_default()) {
                Verdict::Continue(token) => sequence.tokens.push(token),
                Verdict::Leave => {
                    self.free_slots.push(run.slot);
                    self.running.remove(at);
                }
            }
        }
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
        scheduler.complete(batch, std::iter::repeat(&[0.0f32][..]), |_, _| Verdict::Continue(9));
    }

    #[test]
    fn decoding_goes_first_and_prompts_fill_the_rest_in_order() {
        let mut scheduler = Scheduler::new(SHAPE, 4);
        let mut batch = StepBatch::default();
        scheduler.enqueue(vec![1, 2, 3], 0);
        scheduler.enqueue(vec![1; 6], 1);
        scheduler.enqueue(vec![1], 2);
        let record = scheduler.plan(&mut batch).unwrap();
        assert_eq!(runs(&batch), [(0, 0, 3, true), (1, 0, 1, false)]);
        assert_eq!((record.prefill_tokens, record.decoding_sequences, record.context_tokens), (4, 0, 4));
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
        let mut scheduler = Scheduler::new(SlotShape { slots: 1, tokens: 8 }, 8);
        let mut batch = StepBatch::default();
        scheduler.enqueue(vec![1, 2], 0);
        scheduler.enqueue(vec![3], 1);
        scheduler.plan(&mut batch);
        step(&mut scheduler, &batch);
        scheduler.drop_where(|owner| *owner == 0);
        assert_eq!(scheduler.kv_tokens(), 0);
        scheduler.plan(&mut batch).unwrap();
        assert_eq!((batch.tokens.as_slice(), runs(&batch)), (&[3][..], vec![(0, 0, 1, true)]));
    }

    proptest! {
        #[test]
        fn every_sequence_gets_all_its_tokens_in_order(
            prompts in prop::collection::vec(1usize..12, 1..9),
            slots in 1usize..4,
            extra in 1usize..6,
        ) {
            let shape = SlotShape { slots, tokens: 32 };
            let mut scheduler = Scheduler::new(shape, slots + extra);
            let mut batch = StepBatch::default();
            for (owner, length) in prompts.iter().enumerate() {
                scheduler.enqueue(vec![5; *length], owner);
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
                scheduler.complete(&batch, std::iter::repeat(&[0.0f32][..]), |sequence, _| {
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
