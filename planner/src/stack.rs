//! What the tables of `[stack]` come to: each as an amount a month, a request and a failure, with how it was worked.
//!
//! Every table is linear in requests and failures, so it becomes a [`CostEntry`] and takes the way of `[[cost]]` through the bill, the break-even
//! and the spreadsheet. Stored data is counted in the steady state: what a month writes times the months it is kept.

use breakeven_hardware::Usd;
use rust_decimal::Decimal;

use crate::{
    plan::{Input, LineItem},
    product::{
        CostEntry, NonNegative, OnlyFor, Price,
        stack::{OperationalDebtTable, StackTables},
    },
};

/// A hundred, a thousand and a million, of which prices are quoted.
const HUNDRED: f64 = 100.0;
const THOUSAND: f64 = 1e3;
const MILLION: f64 = 1e6;
const MONTHS_A_YEAR: f64 = 12.0;
const MINUTES_AN_HOUR: f64 = 60.0;

/// How a `[stack]` table or a `[[stage]]` was worked.
#[derive(Debug, Clone, PartialEq)]
pub struct Worked {
    /// Path of the table, `stack.storage[0]` or `stage.answer`.
    pub path: String,
    /// The formula, with its drivers by their keys.
    pub formula: &'static str,
    /// The drivers: key and value as typed.
    pub drivers: Vec<(&'static str, String)>,
    /// Inputs that say themselves where they come from.
    pub given: Vec<Input>,
    /// Whether it is a stage of the workflow.
    pub of_stage: bool,
    /// Whether a request that its user sends again costs it again: stages but for people, who take a case once.
    pub asked_again: bool,
    /// Whether its price is a managed API's of a sheet, and moves with those.
    pub api_priced: bool,
    /// Growth a year of its monthly amount from the second year on ([`debt_growth`]); 0 of all but operational debt.
    pub grows_per_year: f64,
}

/// A table whose figures multiply to more than can be counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TooMuch {
    /// Its name under `[stack]`.
    pub(crate) table: &'static str,
    /// Which of that name.
    pub(crate) index: usize,
    /// What they multiply to.
    pub(crate) usd: f64,
}

/// A table on its way to an entry.
struct Table<'a> {
    name: &'static str,
    index: usize,
    line: LineItem,
    only: Option<OnlyFor>,
    note: Option<&'a String>,
}

/// Amounts in dollars.
#[derive(Debug, Clone, Copy, Default)]
struct Amounts {
    month: f64,
    request: f64,
    failure: f64,
}

impl Table<'_> {
    /// The entry; an error where an amount is more than can be counted.
    fn entry(
        self,
        amounts: Amounts,
        formula: &'static str,
        drivers: &[(&'static str, String)],
    ) -> Result<CostEntry, TooMuch> {
        let too_much = |usd| TooMuch { table: self.name, index: self.index, usd };
        let price = |value: f64| match Price::try_from(value) {
            Ok(price) if price.0 == Usd::ZERO => Ok(None),
            Ok(price) => Ok(Some(price)),
            Err(_) => Err(too_much(value)),
        };
        Ok(CostEntry {
            line: self.line,
            usd_per_month: price(amounts.month)?,
            usd_per_request: price(amounts.request)?,
            usd_per_failure: price(amounts.failure)?,
            only: self.only,
            note: self.note.cloned(),
            worked: Some(Worked {
                path: format!("stack.{}[{}]", self.name, self.index),
                formula,
                drivers: drivers.to_vec(),
                given: Vec::new(),
                of_stage: false,
                asked_again: false,
                api_priced: false,
                grows_per_year: 0.0,
            }),
        })
    }
}

fn usd(price: Price) -> f64 {
    price.0.to_f64()
}

fn number(key: &'static str, value: NonNegative) -> (&'static str, String) {
    (key, value.get().to_string())
}

fn priced(key: &'static str, value: Price) -> (&'static str, String) {
    (key, value.0.0.normalize().to_string())
}

/// Every table as an entry of the bill, in the order of the lines.
///
/// # Errors
/// The table whose figures multiply to more than can be counted.
pub(crate) fn entries(stack: &StackTables) -> Result<Vec<CostEntry>, TooMuch> {
    let mut all = Vec::new();
    for (index, t) in stack.retrieval.iter().enumerate() {
        let table = Table {
            name: "retrieval",
            index,
            line: LineItem::Retrieval,
            only: t.only,
            note: t.note.as_ref(),
        };
        let embedding = usd(t.usd_per_million_embedded_tokens) / MILLION;
        let query =
            usd(t.usd_per_thousand_queries) / THOUSAND + t.embedded_tokens_per_query.get() * embedding;
        all.push(table.entry(
            Amounts {
                month: t.stored_gb.get() * usd(t.usd_per_gb_month)
                    + t.index_builds_per_month.get() * t.tokens_per_index_build.get() * embedding,
                request: t.queries_per_request.get() * query,
                failure: 0.0,
            },
            "stored GB x price + builds x tokens x embedding price + requests x queries x (query price + tokens x embedding price)",
            &[
                number("queries_per_request", t.queries_per_request),
                priced("usd_per_thousand_queries", t.usd_per_thousand_queries),
                number("embedded_tokens_per_query", t.embedded_tokens_per_query),
                priced("usd_per_million_embedded_tokens", t.usd_per_million_embedded_tokens),
                number("stored_gb", t.stored_gb),
                priced("usd_per_gb_month", t.usd_per_gb_month),
                number("index_builds_per_month", t.index_builds_per_month),
                number("tokens_per_index_build", t.tokens_per_index_build),
            ],
        )?);
    }
    for (index, t) in stack.storage.iter().enumerate() {
        let table =
            Table { name: "storage", index, line: LineItem::Storage, only: t.only, note: t.note.as_ref() };
        let price = usd(t.usd_per_gb_month);
        all.push(table.entry(
            Amounts {
                month: t.fixed_gb.get() * price,
                request: t.gb_per_request.get() * t.retention_months.get() * price,
                failure: 0.0,
            },
            "(fixed GB + requests x GB a request x months kept) x price of a GB-month",
            &[
                number("gb_per_request", t.gb_per_request),
                number("retention_months", t.retention_months),
                number("fixed_gb", t.fixed_gb),
                priced("usd_per_gb_month", t.usd_per_gb_month),
            ],
        )?);
    }
    for (index, t) in stack.network.iter().enumerate() {
        let table =
            Table { name: "network", index, line: LineItem::Network, only: t.only, note: t.note.as_ref() };
        all.push(table.entry(
            Amounts { request: t.egress_gb_per_request.get() * usd(t.usd_per_gb), ..Amounts::default() },
            "requests x GB out a request x price of a GB",
            &[number("egress_gb_per_request", t.egress_gb_per_request), priced("usd_per_gb", t.usd_per_gb)],
        )?);
    }
    for (index, t) in stack.load_balancing.iter().enumerate() {
        let table = Table {
            name: "load_balancing",
            index,
            line: LineItem::LoadBalancing,
            only: t.only,
            note: t.note.as_ref(),
        };
        all.push(table.entry(
            Amounts {
                month: t.balancers.get() * usd(t.usd_per_balancer_month),
                request: t.gb_per_request.get() * usd(t.usd_per_gb),
                failure: 0.0,
            },
            "balancers x price of one a month + requests x GB a request x price of a GB",
            &[
                number("balancers", t.balancers),
                priced("usd_per_balancer_month", t.usd_per_balancer_month),
                number("gb_per_request", t.gb_per_request),
                priced("usd_per_gb", t.usd_per_gb),
            ],
        )?);
    }
    for (index, t) in stack.observability.iter().enumerate() {
        let table = Table {
            name: "observability",
            index,
            line: LineItem::Observability,
            only: t.only,
            note: t.note.as_ref(),
        };
        let kept = t.hot_months.get() * usd(t.hot_usd_per_gb_month)
            + t.warm_months.get() * usd(t.warm_usd_per_gb_month)
            + t.archive_months.get() * usd(t.archive_usd_per_gb_month);
        all.push(table.entry(
            Amounts {
                month: t.queried_gb_per_month.get() * usd(t.usd_per_gb_queried),
                request: t.gb_per_request.get() * t.sampled_share.get() * t.pipelines.get()
                    * (usd(t.usd_per_gb_ingested) + kept),
                failure: 0.0,
            },
            "requests x GB a request x sampled share x pipelines x (ingestion + months x price of each tier) + queried GB x price",
            &[
                ("kind", t.kind.clone()),
                number("gb_per_request", t.gb_per_request),
                ("sampled_share", t.sampled_share.get().to_string()),
                ("pipelines", t.pipelines.get().to_string()),
                priced("usd_per_gb_ingested", t.usd_per_gb_ingested),
                number("hot_months", t.hot_months),
                priced("hot_usd_per_gb_month", t.hot_usd_per_gb_month),
                number("warm_months", t.warm_months),
                priced("warm_usd_per_gb_month", t.warm_usd_per_gb_month),
                number("archive_months", t.archive_months),
                priced("archive_usd_per_gb_month", t.archive_usd_per_gb_month),
                number("queried_gb_per_month", t.queried_gb_per_month),
                priced("usd_per_gb_queried", t.usd_per_gb_queried),
            ],
        )?);
    }
    all.extend(people(stack)?);
    Ok(all)
}

/// The lines that are people's time.
fn people(stack: &StackTables) -> Result<Vec<CostEntry>, TooMuch> {
    let mut all = Vec::new();
    for (index, t) in stack.support.iter().enumerate() {
        let table =
            Table { name: "support", index, line: LineItem::Support, only: t.only, note: t.note.as_ref() };
        let minute = usd(t.loaded_usd_per_hour) / MINUTES_AN_HOUR;
        all.push(table.entry(
            Amounts {
                month: 0.0,
                request: t.minutes_per_100_interactions.get() / HUNDRED * minute,
                failure: t.minutes_per_failure.get() * t.handle_time_ratio.get() * minute,
            },
            "(requests x minutes a 100 / 100 + failures x minutes x handle-time ratio) / 60 x loaded hour",
            &[
                ("kind", t.kind.clone()),
                number("minutes_per_100_interactions", t.minutes_per_100_interactions),
                number("minutes_per_failure", t.minutes_per_failure),
                ("handle_time_ratio", t.handle_time_ratio.get().to_string()),
                priced("loaded_usd_per_hour", t.loaded_usd_per_hour),
            ],
        )?);
    }
    for (index, t) in stack.compliance.iter().enumerate() {
        let table = Table {
            name: "compliance",
            index,
            line: LineItem::Compliance,
            only: t.only,
            note: t.note.as_ref(),
        };
        let a_year =
            t.reviews_per_year.get() * usd(t.usd_per_review) + t.audits_per_year.get() * usd(t.usd_per_audit);
        all.push(table.entry(
            Amounts {
                month: a_year / MONTHS_A_YEAR + usd(t.tooling_usd_per_month),
                request: usd(t.redaction_usd_per_million_requests) / MILLION,
                failure: 0.0,
            },
            "(reviews x price + audits x price) / 12 + tooling + requests x redaction of a million / 1,000,000",
            &[
                number("reviews_per_year", t.reviews_per_year),
                priced("usd_per_review", t.usd_per_review),
                number("audits_per_year", t.audits_per_year),
                priced("usd_per_audit", t.usd_per_audit),
                priced("tooling_usd_per_month", t.tooling_usd_per_month),
                priced("redaction_usd_per_million_requests", t.redaction_usd_per_million_requests),
            ],
        )?);
    }
    for (index, t) in stack.engineering.iter().enumerate() {
        let table = Table {
            name: "engineering",
            index,
            line: LineItem::Engineering,
            only: t.only,
            note: t.note.as_ref(),
        };
        let people = t.build_fte_months.get() / t.life_months.get() + t.run_fte.get();
        all.push(table.entry(
            Amounts { month: people * usd(t.loaded_usd_per_fte_year) / MONTHS_A_YEAR, ..Amounts::default() },
            "(person-months to build / months of life + people who run it) x loaded year / 12",
            &[
                number("build_fte_months", t.build_fte_months),
                ("life_months", t.life_months.get().to_string()),
                number("run_fte", t.run_fte),
                priced("loaded_usd_per_fte_year", t.loaded_usd_per_fte_year),
            ],
        )?);
    }
    for (index, t) in stack.operational_debt.iter().enumerate() {
        let table = Table {
            name: "operational_debt",
            index,
            line: LineItem::OperationalDebt,
            only: t.only,
            note: t.note.as_ref(),
        };
        let hours = t.prompt_maintenance_hours_per_month.get()
            + t.qa_review_hours_per_month.get()
            + t.incident_drill_hours_per_month.get();
        let month = hours * usd(t.loaded_usd_per_hour)
            + t.evaluation_runs_per_month.get() * usd(t.usd_per_evaluation_run);
        let mut entry = table.entry(
            Amounts { month, ..Amounts::default() },
            "hours x loaded hour + evaluation runs x price, in the first year",
            &[
                number("prompt_maintenance_hours_per_month", t.prompt_maintenance_hours_per_month),
                number("qa_review_hours_per_month", t.qa_review_hours_per_month),
                number("incident_drill_hours_per_month", t.incident_drill_hours_per_month),
                priced("loaded_usd_per_hour", t.loaded_usd_per_hour),
                number("evaluation_runs_per_month", t.evaluation_runs_per_month),
                priced("usd_per_evaluation_run", t.usd_per_evaluation_run),
                number("growth_per_year", t.growth_per_year),
                ("times the first month in month 24", format!("{:.4}", t.growth_by_month(23))),
            ],
        )?;
        if let Some(worked) = entry.worked.as_mut().filter(|_| !t.optimised) {
            worked.grows_per_year = t.growth_per_year.get();
        }
        all.push(entry);
    }
    for (index, t) in stack.switching.iter().enumerate() {
        let table = Table {
            name: "switching",
            index,
            line: LineItem::SwitchingCosts,
            only: t.only,
            note: t.note.as_ref(),
        };
        let once = usd(t.engineering_usd)
            + usd(t.regression_usd)
            + usd(t.revalidation_usd)
            + usd(t.compliance_usd)
            + usd(t.early_exit_usd) * t.early_exit_probability.get();
        all.push(table.entry(
            Amounts { month: once / t.life_months.get(), ..Amounts::default() },
            "(engineering + regression + re-validation + compliance + early exit x its probability) / months of use",
            &[
                priced("engineering_usd", t.engineering_usd),
                priced("regression_usd", t.regression_usd),
                priced("revalidation_usd", t.revalidation_usd),
                priced("compliance_usd", t.compliance_usd),
                priced("early_exit_usd", t.early_exit_usd),
                ("early_exit_probability", t.early_exit_probability.get().to_string()),
                ("life_months", t.life_months.get().to_string()),
            ],
        )?);
    }
    Ok(all)
}

/// A warning for each line that a `[[cost]]` and a table of `[stack]`, or either and a stage, both add to for the same kind of option:
/// both count.
pub(crate) fn double_counted(costs: &[CostEntry]) -> Vec<String> {
    // What is typed, what is worked from tables, what the workflow comes to.
    let layer = |entry: &CostEntry| entry.worked.as_ref().map_or(0, |worked| 1 + u8::from(worked.of_stage));
    let meet = |a: &CostEntry, b: &CostEntry| {
        a.line == b.line && (a.only.is_none() || b.only.is_none() || a.only == b.only)
    };
    let entries = || costs.iter().enumerate();
    let mut warnings = Vec::new();
    for (index, typed) in entries().filter(|(_, entry)| layer(entry) < 2) {
        let tables: Vec<String> = entries()
            .filter(|(_, entry)| layer(entry) > layer(typed) && meet(typed, entry))
            .map(|(at, entry)| entry.path(at))
            .collect();
        if !tables.is_empty() {
            warnings.push(format!(
                "{} is on the line {} and so is {}: both count; leave one out where they are the same money",
                typed.path(index),
                typed.line.label(),
                tables.join(", ")
            ));
        }
    }
    warnings
}

/// What operational debt costs `months` from now over what it costs now: 1 in the first twelve months (0 to 11), then
/// (1 + growth)^(months past the first year / 12).
pub fn debt_growth(per_year: f64, months: f64) -> f64 {
    (1.0 + per_year).powf((months - (MONTHS_A_YEAR - 1.0)).max(0.0) / MONTHS_A_YEAR)
}

impl OperationalDebtTable {
    /// [`debt_growth`] of the table; 1 always where it is worked off.
    pub fn growth_by_month(&self, month: u32) -> f64 {
        if self.optimised { 1.0 } else { debt_growth(self.growth_per_year.get(), f64::from(month)) }
    }
}

impl CostEntry {
    /// The path in the product file: its own where it comes from a table of `[stack]`, else that of the `index`-th `[[cost]]`.
    pub fn path(&self, index: usize) -> String {
        self.worked.as_ref().map_or_else(|| format!("cost[{index}]"), |worked| worked.path.clone())
    }

    /// Where its amounts come from: typed, or worked from typed drivers.
    pub(crate) fn provenance(&self, index: usize) -> crate::plan::Provenance {
        let Some(worked) = &self.worked else {
            return crate::cost::typed_at(&self.path(index), self.note.clone());
        };
        let typed = worked.drivers.iter().map(|(key, value)| {
            let from = crate::cost::typed_at(&format!("{}.{key}", worked.path), self.note.clone());
            crate::cost::input(key, value, from)
        });
        let inputs = typed.chain(worked.given.iter().cloned()).collect();
        crate::plan::Provenance::Computed { formula: worked.formula.to_owned(), inputs }
    }

    /// How many times a request costs its amount, where requests are asked `asked` times.
    pub(crate) fn times_asked(&self, asked: f64) -> f64 {
        if self.worked.as_ref().is_some_and(|worked| worked.asked_again) { asked } else { 1.0 }
    }

    /// Its amounts a month at a volume, in decimals.
    pub(crate) fn usd(&self, requests: Decimal, failures: Decimal) -> Usd {
        let fixed = self.usd_per_month.map_or(Usd::ZERO, |p| p.0);
        let by_request = self.usd_per_request.map_or(Usd::ZERO, |p| p.0.times(requests));
        let by_failure = self.usd_per_failure.map_or(Usd::ZERO, |p| p.0.times(failures));
        fixed + by_request + by_failure
    }
}
