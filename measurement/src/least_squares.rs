//! Non-negative least squares for a handful of coefficients, exactly: every subset of them is tried.
//!
//! With p coefficients there are 2^p subsets; the solution is the best of those whose unconstrained fit is not negative
//! (the optimum's own support is one of them). For p = 4 that is 15 fits, and no iteration that may fail to converge
//! (C. L. Lawson and R. J. Hanson's active set, *Solving Least Squares Problems*, 1974, visits the same subsets).

/// Coefficients of a fit: four, in the order of the columns.
pub(crate) const COLUMNS: usize = 4;

/// A fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fit {
    /// None is negative.
    pub(crate) coefficients: [f64; COLUMNS],
    /// Diagonal of the inverse of `XᵀWX` over the columns in use; 0 for a column that is not.
    pub(crate) variance_factors: [f64; COLUMNS],
    /// Columns in use.
    pub(crate) used: usize,
}

/// Sums over weighted rows: `XᵀWX` and `XᵀWy`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    xx: [[f64; COLUMNS]; COLUMNS],
    xy: [f64; COLUMNS],
    yy: f64,
}

#[expect(clippy::indexing_slicing, reason = "every index is below the number of columns")]
impl Sums {
    /// Adds a row with its weight.
    pub(crate) fn add(&mut self, x: [f64; COLUMNS], y: f64, weight: f64) {
        for i in 0..COLUMNS {
            for j in 0..COLUMNS {
                self.xx[i][j] += weight * x[i] * x[j];
            }
            self.xy[i] += weight * x[i] * y;
        }
        self.yy += weight * y * y;
    }

    /// The best fit without a negative coefficient; `None` where no column explains anything.
    pub(crate) fn solve(&self) -> Option<Fit> {
        let mut best: Option<(f64, Fit)> = None;
        for mask in 1_u32..(1 << COLUMNS) {
            let columns: Vec<usize> = (0..COLUMNS).filter(|i| mask & (1 << i) != 0).collect();
            let Some(fit) = self.solve_over(&columns) else { continue };
            if fit.coefficients.iter().any(|c| *c < 0.0) {
                continue;
            }
            // ‖y‖² − bᵀXᵀy: what the fit leaves.
            let left = self.yy - fit.coefficients.iter().zip(&self.xy).map(|(b, xy)| b * xy).sum::<f64>();
            // Rounding must not prefer a column that explains nothing.
            if best.as_ref().is_none_or(|(least, _)| left < least - self.yy * 1e-13) {
                best = Some((left, fit));
            }
        }
        best.map(|(_, fit)| fit)
    }

    /// Unconstrained over some columns, by Gauss–Jordan elimination of columns scaled to one; `None` where two say the same.
    fn solve_over(&self, columns: &[usize]) -> Option<Fit> {
        let n = columns.len();
        let scale: Vec<f64> = columns.iter().map(|i| self.xx[*i][*i].sqrt()).collect();
        if scale.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
            return None;
        }
        let mut a = vec![vec![0.0; 2 * n]; n];
        for (r, i) in columns.iter().enumerate() {
            for (c, j) in columns.iter().enumerate() {
                a[r][c] = self.xx[*i][*j] / (scale[r] * scale[c]);
            }
            a[r][n + r] = 1.0;
        }
        for p in 0..n {
            let pivot = (p..n).max_by(|x, y| a[*x][p].abs().total_cmp(&a[*y][p].abs()))?;
            if a[pivot][p].abs() < 1e-11 {
                return None;
            }
            a.swap(p, pivot);
            let d = a[p][p];
            for value in &mut a[p] {
                *value /= d;
            }
            let row = a[p].clone();
            for (r, other) in a.iter_mut().enumerate() {
                if r != p {
                    let factor = other[p];
                    for (value, of) in other.iter_mut().zip(&row) {
                        *value -= factor * of;
                    }
                }
            }
        }
        let mut fit = Fit { coefficients: [0.0; COLUMNS], variance_factors: [0.0; COLUMNS], used: n };
        for (r, i) in columns.iter().enumerate() {
            let solved: f64 =
                columns.iter().enumerate().map(|(c, j)| a[r][n + c] * self.xy[*j] / scale[c]).sum();
            fit.coefficients[*i] = solved / scale[r];
            fit.variance_factors[*i] = a[r][n + r] / (scale[r] * scale[r]);
        }
        Some(fit)
    }
}
