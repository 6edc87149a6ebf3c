//! Money over time: annuities and net present values, as every finance textbook has them.

/// The interest of one month that compounds to a yearly (effective) rate.
pub fn monthly_rate(rate_per_year: f64) -> f64 {
    ((rate_per_year).ln_1p() / 12.0).exp_m1()
}

/// The equal payment at the end of each period that pays off a present sum less what is left of it at the end.
///
/// `(present - residual / (1+i)^n) * i / (1 - (1+i)^-n)`; without interest the straight line `(present - residual) / n`.
/// `None` where there is no period or a figure is not finite. Agrees with `numpy_financial.pmt(i, n, -present, residual)`.
pub fn annuity(present: f64, residual: f64, rate_per_period: f64, periods: u32) -> Option<f64> {
    if periods == 0 || rate_per_period <= -1.0 {
        return None;
    }
    let n = f64::from(periods);
    let growth = n * rate_per_period.ln_1p();
    let payment = if growth.abs() < f64::MIN_POSITIVE {
        (present - residual) / n
    } else {
        // exp_m1 keeps the digits that (1+i)^n - 1 loses for small rates.
        let grown = growth.exp_m1();
        (present * (1.0 + grown) - residual) * rate_per_period / grown
    };
    payment.is_finite().then_some(payment)
}

/// Net present value of flows at the end of periods 0, 1, 2…
///
/// `sum of flow_t / (1+i)^t`; `None` where it is not finite. Agrees with `numpy_financial.npv`.
pub fn npv(rate_per_period: f64, flows: &[f64]) -> Option<f64> {
    if rate_per_period <= -1.0 {
        return None;
    }
    // Horner's rule from the last flow: no power is ever formed.
    let value = flows.iter().rev().fold(0.0, |later, flow| later / (1.0 + rate_per_period) + flow);
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize, schemars::JsonSchema)]
    struct Recorded {
        annuities: Vec<Annuity>,
        npvs: Vec<Npv>,
    }

    #[derive(Debug, Deserialize, schemars::JsonSchema)]
    struct Annuity {
        rate_per_period: f64,
        periods: u32,
        present: f64,
        residual: f64,
        payment: f64,
    }

    #[derive(Debug, Deserialize, schemars::JsonSchema)]
    struct Npv {
        rate_per_period: f64,
        flows: Vec<f64>,
        value: f64,
    }

    fn recorded() -> Recorded {
        serde_json::from_str(include_str!("../tests/fixtures/numpy_financial.json")).unwrap()
    }

    #[test]
    fn annuities_equal_numpy_financials() {
        for case in recorded().annuities {
            let ours = annuity(case.present, case.residual, case.rate_per_period, case.periods).unwrap();
            // numpy-financial forms (1+i)^n - 1 directly and loses digits as i shrinks; at 1e-9 it has about seven left.
            let tolerance =
                if case.rate_per_period < 1e-6 && case.rate_per_period > 0.0 { 1e-6 } else { 1e-9 };
            assert!((ours - case.payment).abs() <= tolerance * case.payment.abs(), "ours {ours}: {case:?}");
        }
    }

    #[test]
    fn net_present_values_equal_numpy_financials() {
        for case in recorded().npvs {
            let ours = npv(case.rate_per_period, &case.flows).unwrap();
            let scale: f64 = case.flows.iter().map(|flow| flow.abs()).sum();
            assert!((ours - case.value).abs() <= 1e-12 * scale, "ours {ours}: {case:?}");
        }
    }

    #[test]
    fn a_month_compounds_to_its_year() {
        assert!(((1.0 + monthly_rate(0.12)).powi(12) - 1.12).abs() < 1e-12);
        assert!(monthly_rate(0.0).abs() < f64::EPSILON);
    }

    #[test]
    fn nonsense_is_no_payment() {
        assert_eq!(annuity(1.0, 0.0, 0.01, 0), None);
        assert_eq!(annuity(f64::NAN, 0.0, 0.01, 12), None);
        assert_eq!(annuity(1.0, 0.0, -1.0, 12), None);
        assert_eq!(npv(-1.0, &[1.0]), None);
    }

    proptest! {
        /// The payments are worth what was borrowed: the definition of an annuity.
        #[test]
        fn payments_discount_to_the_sum(present in 1.0_f64..1e7, share in 0.0_f64..0.9, rate in 0.0_f64..0.05, periods in 1_u32..120) {
            let residual = present * share;
            let payment = annuity(present, residual, rate, periods).unwrap();
            let mut flows = vec![0.0];
            flows.extend((0..periods).map(|_| payment));
            *flows.last_mut().unwrap() += residual;
            prop_assert!((npv(rate, &flows).unwrap() - present).abs() < 1e-7 * present);
        }
    }
}
