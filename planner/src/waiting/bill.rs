//! What waiting does to an option's bill: the line of its own, and amounts that are paid as often as a request is asked.

use breakeven_hardware::Usd;
use rust_decimal::Decimal;

use crate::{
    cost::{CostModel, decimal, input, typed_at},
    plan::{Input, Provenance},
    product::CostEntry,
};

impl CostModel<'_> {
    /// Share of requests that succeed of those whose users wait for the answer.
    pub(crate) fn success_of_those_who_wait(&self) -> f64 {
        let kept = self.load.kept();
        if kept > 0.0 { (self.success.get() / kept).min(1.0) } else { 0.0 }
    }

    /// An entry's amount of a month.
    pub(crate) fn amount(&self, entry: &CostEntry, (requests, failures): (Decimal, Decimal)) -> Usd {
        let times = entry.times_asked(self.load.asked());
        let requests = if times > 1.0 { requests * decimal(times) } else { requests };
        entry.usd(requests, failures)
    }

    /// Where that comes from.
    pub(crate) fn entry_from(&self, index: usize, entry: &CostEntry) -> Provenance {
        let mut from = entry.provenance(index);
        if let (Provenance::Computed { formula, inputs }, Some(asked)) = (&mut from, self.asked_input())
            && entry.times_asked(self.load.asked()) > 1.0
        {
            formula.push_str(" x times a request is asked");
            inputs.push(asked);
        }
        from
    }

    /// How often a request is asked, as an input of the bill; nothing where it is asked once.
    pub(crate) fn asked_input(&self) -> Option<Input> {
        let waiting = self.load.waiting.as_ref().filter(|waiting| waiting.asked > 1.0)?;
        let value = format!("{:.6}", waiting.asked);
        Some(input(
            "times a request is asked, repeats after long waits included",
            value,
            waiting.asked_from.clone(),
        ))
    }

    /// Value lost to waiting at a month's requests, and where it comes from; `None` where there is none.
    pub(crate) fn lost_to_waiting(&self, requests: f64) -> Option<Usd> {
        let (share, value) = self.load.waiting.as_ref()?.lost();
        let lost = decimal(requests) * decimal(self.success.get()) * decimal(share);
        (share > 0.0 && value != Usd::ZERO).then(|| value.times(lost))
    }

    /// Where the share that succeeds of those who wait comes from.
    pub(crate) fn success_from(&self) -> Provenance {
        self.load.workflow.as_ref().map_or_else(
            || typed_at("success.probability", None),
            |_| typed_at("stage", Some("the workflow's chain".to_owned())),
        )
    }

    /// Where the value lost to waiting comes from.
    pub(crate) fn lost_from(&self, requests: f64) -> Provenance {
        let mut inputs = vec![
            input("requests a month", requests, typed_at("traffic.requests_per_month", None)),
            input(
                "share that succeeds of those who wait",
                format!("{:.6}", self.success.get()),
                self.success_from(),
            ),
        ];
        if let Some(waiting) = &self.load.waiting {
            inputs.push(input(
                "share that gives up",
                format!("{:.6}", waiting.leaves),
                waiting.leaves_from.clone(),
            ));
            inputs.extend(waiting.value.map(|value| {
                input("USD of a success", value.0, typed_at("success.value_usd_per_success", None))
            }));
        }
        Provenance::Computed {
            formula: "requests a month x share that succeeds x share that gives up x USD of a success"
                .to_owned(),
            inputs,
        }
    }
}
