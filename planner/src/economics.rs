//! Unit economics: an option's bill and workflow over requests, successes and resolved tickets (issue 6; formulas in docs/METHOD.md).

use breakeven_hardware::Usd;

use crate::{
    cost::{CostModel, Supply, decimal, input, typed_at},
    plan::{
        Input, LineItem, OptionPlan, Provenance,
        economics::{Quantity, UnitFigure},
    },
    product::OnlyFor,
};

/// The lines that are machines, networks and services rather than people and change.
const INFRASTRUCTURE: [LineItem; 11] = [
    LineItem::Inference,
    LineItem::Retries,
    LineItem::Guardrails,
    LineItem::Fallbacks,
    LineItem::Caching,
    LineItem::Retrieval,
    LineItem::Compute,
    LineItem::Storage,
    LineItem::Network,
    LineItem::LoadBalancing,
    LineItem::Observability,
];
const HUNDRED: f64 = 100.0;
const THOUSAND: f64 = 1e3;

/// The table of one option; what the product does not give is not in it.
pub(crate) fn figures(option: &OptionPlan, model: &CostModel<'_>, requests: f64) -> Vec<UnitFigure> {
    let table = Table { option, model, requests };
    let mut all = Vec::new();
    all.extend(table.completed());
    all.extend(table.retry_rates());
    all.push(table.infrastructure());
    all.extend(table.stored());
    all.extend(table.minutes());
    all.extend(table.success());
    all.extend(table.resolved());
    all.extend(table.margin());
    all
}

/// An option beside what it was costed from.
struct Table<'a> {
    option: &'a OptionPlan,
    model: &'a CostModel<'a>,
    requests: f64,
}

fn figure(id: &str, label: &str, quantity: Quantity, formula: &str, inputs: Vec<Input>) -> UnitFigure {
    let from = Provenance::Computed { formula: formula.to_owned(), inputs };
    UnitFigure { id: id.to_owned(), label: label.to_owned(), quantity, from }
}

impl Table<'_> {
    fn applies(&self, only: Option<OnlyFor>) -> bool {
        let kind = match self.model.supply {
            Supply::SelfHost { .. } => OnlyFor::SelfHost,
            Supply::Api { .. } => OnlyFor::Api,
        };
        only.is_none_or(|only| only == kind)
    }

    fn share(&self, name: &str, value: f64) -> Input {
        input(name, format!("{value:.6}"), self.model.success_from())
    }

    fn success_share(&self) -> Input {
        let value = self.option.success_probability.get();
        let mut share = self.share("share that succeeds", value);
        if let Some(waiting) = self.model.load.waiting.as_ref().filter(|waiting| waiting.kept() < 1.0) {
            share.from = waiting.success_from(self.model.success_of_those_who_wait(), share.from);
        }
        share
    }

    fn total(&self) -> Input {
        let from =
            typed_at(&format!("options[{}].usd_per_month", self.option.id), Some("the bill".to_owned()));
        input("USD a month", self.option.usd_per_month.0.round_dp(2), from)
    }

    fn requests_input(&self) -> Input {
        input("requests a month", self.requests, typed_at("traffic.requests_per_month", None))
    }

    fn usd_per(&self, share: f64) -> Option<Usd> {
        self.option.usd_per_month.per(decimal(self.requests) * decimal(share))
    }

    /// Total over requests that do not end in failure. Without stages nobody says which those are.
    fn completed(&self) -> Option<UnitFigure> {
        let solved = self.model.load.workflow.as_ref()?;
        let completed = 1.0 - solved.expected.failure;
        Some(figure(
            "usd_per_completed_request",
            "cost per completed request",
            Quantity::Usd(self.usd_per(completed)?),
            "USD a month / (requests a month x share that does not end in failure)",
            vec![
                self.total(),
                self.requests_input(),
                self.share("share that does not end in failure", completed),
            ],
        ))
    }

    /// Retries a call, by stage; of the whole request where there are none.
    fn retry_rates(&self) -> Vec<UnitFigure> {
        let typed = self.model.retries();
        let extra = || self.model.retries_input();
        let Some(solved) = &self.model.load.workflow else {
            let one = || {
                let formula = if self.model.load.retries.is_some() {
                    "as measured, in the place of success.retries_per_request"
                } else {
                    "success.retries_per_request"
                };
                figure(
                    "retry_rate",
                    "retries a request",
                    Quantity::RetriesPerCall(typed),
                    formula,
                    vec![extra()],
                )
            };
            return if typed > 0.0 { vec![one()] } else { Vec::new() };
        };
        let rows = solved.workflow.stages().iter().zip(&solved.expected.stages);
        rows.filter_map(|(stage, row)| {
            let beside = if stage.option { typed } else { 0.0 };
            if row.calls <= 0.0 || (stage.attempts.retried <= 0.0 && beside <= 0.0) {
                return None;
            }
            let own = row.retries / row.calls;
            let rate = (1.0 + own) * (1.0 + beside) - 1.0;
            let infrastructure = own * stage.infrastructure_share;
            let mut inputs = vec![
                input("for the infrastructure's failures, a call", format!("{infrastructure:.6}"), stage.failures_from(true)),
                input("for the product's failures, a call", format!("{:.6}", own - infrastructure), stage.failures_from(false)),
            ];
            if beside > 0.0 {
                inputs.push(extra());
            }
            Some(figure(
                &format!("retry_rate:{}", stage.id),
                &format!("retries a call of {}", stage.id),
                Quantity::RetriesPerCall(rate),
                "retries of the stage a call, and success.retries_per_request for each attempt of the option's model",
                inputs,
            ))
        })
        .collect()
    }

    fn infrastructure(&self) -> UnitFigure {
        let lines = self.option.lines.iter().filter(|line| INFRASTRUCTURE.contains(&line.line));
        let lines: Vec<_> = lines.filter(|line| line.usd_per_month != Usd::ZERO).collect();
        let usd: Usd = lines.iter().map(|line| line.usd_per_month).sum();
        let mut inputs: Vec<Input> = lines
            .iter()
            .map(|line| input(line.line.label(), line.usd_per_month.0.round_dp(2), line.from.clone()))
            .collect();
        inputs.push(self.requests_input());
        figure(
            "infrastructure_usd_per_1000_requests",
            "infrastructure per 1,000 requests",
            Quantity::Usd(usd.times(decimal(THOUSAND)).per(decimal(self.requests)).unwrap_or(Usd::ZERO)),
            "1,000 x the lines from inference to observability / requests a month",
            inputs,
        )
    }

    /// What one request writes that is kept: to storage, and to each observability pipeline after sampling.
    fn stored(&self) -> Option<UnitFigure> {
        let stack = &self.model.product.stack;
        let mut inputs = Vec::new();
        let mut gb = 0.0;
        for (index, table) in stack.storage.iter().enumerate().filter(|(_, table)| self.applies(table.only)) {
            let written = table.gb_per_request.get();
            if written <= 0.0 {
                continue;
            }
            gb += written;
            let path = format!("stack.storage[{index}].gb_per_request");
            inputs.push(input("stored", written, typed_at(&path, table.note.clone())));
        }
        for (index, table) in
            stack.observability.iter().enumerate().filter(|(_, table)| self.applies(table.only))
        {
            let written = table.gb_per_request.get() * table.sampled_share.get() * table.pipelines.get();
            if written <= 0.0 {
                continue;
            }
            gb += written;
            let path = format!("stack.observability[{index}]");
            inputs.push(input(&table.kind, written, typed_at(&path, table.note.clone())));
        }
        (!inputs.is_empty()).then(|| {
            figure(
                "gb_stored_per_request",
                "GB stored per request",
                Quantity::Gb(gb),
                "GB a request to storage + GB x sampled share x pipelines to observability",
                inputs,
            )
        })
    }

    fn minutes(&self) -> Option<UnitFigure> {
        let mut inputs = Vec::new();
        let mut minutes = 0.0;
        if let Some(solved) = &self.model.load.workflow {
            let rows = solved.workflow.stages().iter().zip(&solved.expected.stages);
            for (stage, row) in rows.filter(|(stage, _)| stage.minutes > 0.0) {
                minutes += HUNDRED * row.minutes;
                let value = format!("{:.6} visits x {} minutes", HUNDRED * row.visits, stage.minutes);
                let path = format!("stage.{}.minutes_per_visit", stage.id);
                inputs.push(input(&format!("{} in 100", stage.id), value, typed_at(&path, None)));
            }
        }
        let failing = self.model.failing();
        let tables = self.model.product.stack.support.iter().enumerate();
        for (index, table) in tables.filter(|(_, table)| self.applies(table.only)) {
            let of_failures =
                HUNDRED * failing * table.minutes_per_failure.get() * table.handle_time_ratio.get();
            let all = table.minutes_per_100_interactions.get() + of_failures;
            if all <= 0.0 {
                continue;
            }
            minutes += all;
            let path = format!("stack.support[{index}]");
            inputs.push(input(&table.kind, format!("{all:.6}"), typed_at(&path, table.note.clone())));
        }
        (!inputs.is_empty()).then(|| {
            figure(
                "human_minutes_per_100_interactions",
                "human minutes per 100 interactions",
                Quantity::Minutes(minutes),
                "100 x visits of people x minutes + minutes of [[stack.support]]",
                inputs,
            )
        })
    }

    fn success(&self) -> Option<UnitFigure> {
        let usd = self.option.usd_per_successful_outcome?;
        Some(figure(
            "usd_per_successful_outcome",
            "cost per successful outcome",
            Quantity::Usd(usd),
            "USD a month / (requests a month x share that succeeds)",
            vec![self.total(), self.requests_input(), self.success_share()],
        ))
    }

    /// Share of requests that end in success, by a person's help too; `None` where no stage says who helps.
    fn resolved_share(&self) -> Option<f64> {
        let load = self.model.load;
        let helped = load.workflow.as_ref()?.workflow.stages().iter().any(|stage| stage.escalation);
        helped.then(|| self.option.success_probability.get() + load.aided)
    }

    fn resolved(&self) -> Option<UnitFigure> {
        let share = self.resolved_share()?;
        Some(figure(
            "usd_per_resolved_ticket",
            "cost per resolved ticket",
            Quantity::Usd(self.usd_per(share)?),
            "USD a month / (requests a month x (share that succeeds + share that an escalation resolves))",
            vec![
                self.total(),
                self.requests_input(),
                self.success_share(),
                self.share("share that an escalation resolves", self.model.load.aided),
            ],
        ))
    }

    fn margin(&self) -> Vec<UnitFigure> {
        let success = &self.model.product.success;
        if success.value_usd_per_success.is_none() && success.value_usd_per_escalated_success.is_none() {
            return Vec::new();
        }
        let worth = |price: Option<crate::product::Price>, share: f64| {
            price.map_or(Usd::ZERO, |price| price.0.times(decimal(self.requests)).times(decimal(share)))
        };
        let share = self.option.success_probability.get();
        let value = worth(success.value_usd_per_success, share)
            + worth(success.value_usd_per_escalated_success, self.model.load.aided);
        let margin = value - self.option.usd_per_month;
        let note = |key: &str| typed_at(&format!("success.{key}"), None);
        let mut inputs = vec![self.requests_input(), self.success_share()];
        inputs.extend(
            success
                .value_usd_per_success
                .map(|price| input("USD of a success", price.0, note("value_usd_per_success"))),
        );
        if let Some(price) = success.value_usd_per_escalated_success {
            inputs.push(self.share("share that an escalation resolves", self.model.load.aided));
            inputs.push(input("USD of such a success", price.0, note("value_usd_per_escalated_success")));
        }
        inputs.push(self.total());
        let formula = "requests a month x share x value - USD a month";
        let mut all = vec![figure(
            "margin_usd_per_month",
            "margin a month",
            Quantity::Usd(margin),
            formula,
            inputs.clone(),
        )];
        if let Some(each) = margin.per(decimal(self.requests)) {
            let formula = "(requests a month x share x value - USD a month) / requests a month";
            all.push(figure(
                "margin_usd_per_request",
                "margin a request",
                Quantity::Usd(each),
                formula,
                inputs.clone(),
            ));
        }
        if value > Usd::ZERO {
            let share = Quantity::Share(margin.to_f64() / value.to_f64());
            let formula = "margin a month / value a month";
            all.push(figure("margin_share", "margin, share of the value", share, formula, inputs));
        }
        all
    }
}
