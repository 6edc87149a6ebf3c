//! The plan as billing rows of the FinOps Open Cost and Usage Specification (FOCUS), version 1.4, dataset Cost and Usage: a forecast of
//! each month, option and cost line.
//!
//! All mandatory columns, the recommended ones that a forecast can fill, and `x_` columns of our own, as the specification's extension
//! rule asks. Conditional columns whose condition does not hold are left out: nothing is invoiced yet, so there is no `InvoiceId`.
//! Written from the specification's column pages and data model (CC-BY-4.0); docs/METHOD.md says how a file is checked.

use breakeven_planner::{
    Plan,
    plan::{LineItem, OptionKind, OptionPlan},
};
use jiff::{ToSpan as _, civil::Date};
use rust_decimal::Decimal;

/// Version of the specification.
pub const VERSION: &str = "1.4";

/// Months of the forecast where none is asked for.
pub const MONTHS: u16 = 12;

/// The columns, in order.
pub const COLUMNS: [&str; 29] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "ServiceSubcategory",
    "x_CostLine",
    "x_Forecast",
    "x_OptionId",
    "x_OptionName",
    "x_PlanVersion",
    "x_Product",
];

/// Renders the rows: `months` calendar months from the one after the plan's day, every option that can be had, every line.
pub fn render(plan: &Plan, months: u16) -> String {
    let mut out = COLUMNS.join(",");
    out.push_str("\r\n");
    let first = plan.as_of.first_of_month();
    for month in 1..=i32::from(months) {
        let (Ok(start), Ok(end)) =
            (first.checked_add(month.months()), first.checked_add((month + 1).months()))
        else {
            break;
        };
        for option in plan.options.iter().filter(|option| option.infeasible.is_none()) {
            for line in &option.lines {
                let row = row(plan, option, line.line, line.usd_per_month.0, start, end);
                let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
                out.push_str(&cells.join(","));
                out.push_str("\r\n");
            }
        }
    }
    out
}

fn row(
    plan: &Plan,
    option: &OptionPlan,
    line: LineItem,
    usd: Decimal,
    start: Date,
    end: Date,
) -> [String; 29] {
    let cost = decimal(usd);
    let provider = match &option.kind {
        OptionKind::Api { provider, .. } if is_model_call(line) => provider.clone(),
        OptionKind::Api { .. } | OptionKind::SelfHost { .. } => "self-hosted".to_owned(),
    };
    let (category, subcategory) = service(&option.kind, line);
    let requests = Decimal::from_f64_retain(plan.traffic.requests_per_month).unwrap_or_default().round_dp(6);
    let at = |date: Date| format!("{date}T00:00:00Z");
    let service_name = if is_model_call(line) { option.name.clone() } else { line.label().to_owned() };
    [
        cost.clone(),
        account(&plan.product),
        plan.product.clone(),
        "USD".to_owned(),
        at(end),
        at(start),
        "Usage".to_owned(),
        String::new(),
        format!("forecast: {} of {}", line.label(), option.name),
        "Usage-Based".to_owned(),
        at(end),
        at(start),
        cost.clone(),
        cost.clone(),
        if runs_on_machines(line) { provider.clone() } else { NOT_APPLICABLE.to_owned() },
        provider.clone(),
        cost,
        decimal(requests),
        "Requests".to_owned(),
        category.to_owned(),
        service_name,
        provider,
        subcategory.to_owned(),
        line.label().to_owned(),
        "true".to_owned(),
        option.id.clone(),
        option.name.clone(),
        plan.breakeven_version.clone(),
        plan.product.clone(),
    ]
}

/// A number with a point in it: readers that guess a column's type from its cells then find decimals, as the specification asks.
fn decimal(value: Decimal) -> String {
    let text = value.normalize().to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

/// Lines that the provider of the model bills.
fn is_model_call(line: LineItem) -> bool {
    matches!(line, LineItem::Inference | LineItem::Retries)
}

/// What the specification calls the host of a service that runs on no infrastructure.
const NOT_APPLICABLE: &str = "Not Applicable";

/// Lines that pay for something that runs on machines, and not for people or for money.
fn runs_on_machines(line: LineItem) -> bool {
    !matches!(
        line,
        LineItem::Support
            | LineItem::Compliance
            | LineItem::Engineering
            | LineItem::OperationalDebt
            | LineItem::SwitchingCosts
            | LineItem::CostOfLatency
    )
}

/// Service category and subcategory, of the specification's closed lists.
fn service(kind: &OptionKind, line: LineItem) -> (&'static str, &'static str) {
    match (line, kind) {
        (LineItem::Inference | LineItem::Retries, OptionKind::SelfHost { .. }) | (LineItem::Compute, _) => {
            ("Compute", "Virtual Machines")
        }
        (LineItem::Inference | LineItem::Retries | LineItem::Guardrails | LineItem::Fallbacks, _) => {
            ("AI and Machine Learning", "Generative AI")
        }
        (LineItem::Caching, _) => ("Databases", "Caching"),
        (LineItem::Retrieval, _) => ("Databases", "Other (Databases)"),
        (LineItem::Storage, _) => ("Storage", "Object Storage"),
        (LineItem::Network, _) => ("Networking", "Other (Networking)"),
        (LineItem::LoadBalancing, _) => ("Networking", "Application Networking"),
        (LineItem::Observability, _) => ("Management and Governance", "Observability"),
        (LineItem::Support, _) => ("Management and Governance", "Support"),
        (LineItem::Compliance, _) => ("Management and Governance", "Compliance"),
        (
            LineItem::Engineering
            | LineItem::OperationalDebt
            | LineItem::SwitchingCosts
            | LineItem::CostOfLatency,
            _,
        ) => ("Other", "Other (Other)"),
    }
}

/// An identifier of the product: its letters and digits.
fn account(product: &str) -> String {
    let id: String = product
        .chars()
        .map(|letter| if letter.is_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    let id = id.trim_matches('-');
    if id.is_empty() { "product".to_owned() } else { id.to_owned() }
}

/// A cell: quoted where it must be, without control characters, and never a spreadsheet's formula.
fn quoted(cell: &str) -> String {
    let clean: String = cell.chars().filter(|letter| !letter.is_control()).collect();
    let is_number = clean.parse::<Decimal>().is_ok();
    let clean =
        if !is_number && clean.starts_with(['=', '+', '-', '@']) { format!("'{clean}") } else { clean };
    if clean.contains([',', '"']) { format!("\"{}\"", clean.replace('"', "\"\"")) } else { clean }
}
