//! A small dense system of linear equations.

/// Below this a pivot is no pivot: the system has no single solution.
const SMALLEST_PIVOT: f64 = 1e-14;

/// Solves `matrix` · x = `right` by Gaussian elimination with partial pivoting (Golub and Van Loan, *Matrix Computations*,
/// §3.4); rows of the matrix are its outer vector. `None` where it is singular or not square.
pub fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    if matrix.len() != n || matrix.iter().any(|row| row.len() != n) {
        return None;
    }
    for column in 0..n {
        let size = |row: usize| matrix.get(row)?.get(column).map(|v| v.abs());
        let pivot = (column..n).max_by(|a, b| size(*a).unwrap_or(0.0).total_cmp(&size(*b).unwrap_or(0.0)))?;
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (above, below) = matrix.split_at_mut(column + 1);
        let lead = above.last()?;
        let at = *lead.get(column)?;
        if at.is_nan() || at.abs() < SMALLEST_PIVOT {
            return None;
        }
        let top = *right.get(column)?;
        for (row, value) in below.iter_mut().zip(right.iter_mut().skip(column + 1)) {
            let factor = row.get(column)? / at;
            if factor.abs() > 0.0 {
                for (into, from) in row.iter_mut().zip(lead).skip(column) {
                    *into -= factor * from;
                }
                *value -= factor * top;
            }
        }
    }
    let mut solution = vec![0.0; n];
    for row in (0..n).rev() {
        let coefficients = matrix.get(row)?;
        let known: f64 = coefficients.iter().zip(&solution).skip(row + 1).map(|(a, x)| a * x).sum();
        *solution.get_mut(row)? = (right.get(row)? - known) / coefficients.get(row)?;
    }
    solution.iter().all(|x: &f64| x.is_finite()).then_some(solution)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_system_by_hand_and_one_without_solution() {
        // Needs a swap of rows: 2y = 4, x + y = 5.
        assert_eq!(solve(vec![vec![0.0, 2.0], vec![1.0, 1.0]], vec![4.0, 5.0]), Some(vec![3.0, 2.0]));
        assert_eq!(solve(vec![vec![1.0, 2.0], vec![2.0, 4.0]], vec![1.0, 2.0]), None);
        assert_eq!(solve(vec![vec![1.0]], vec![1.0, 2.0]), None);
        assert_eq!(solve(Vec::new(), Vec::new()), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn the_solution_solves_it(
            rows in proptest::collection::vec(proptest::collection::vec(-1.0..1.0_f64, 8), 8),
            wanted in proptest::collection::vec(-10.0..10.0_f64, 8),
        ) {
            // Diagonally dominant, so that there is one well-conditioned solution.
            let matrix: Vec<Vec<f64>> = rows
                .iter()
                .enumerate()
                .map(|(i, row)| row.iter().enumerate().map(|(j, v)| if i == j { v + 9.0 } else { *v }).collect())
                .collect();
            let right = matrix.iter().map(|row| row.iter().zip(&wanted).map(|(a, x)| a * x).sum()).collect();
            let found = solve(matrix, right).unwrap();
            for (found, wanted) in found.iter().zip(&wanted) {
                prop_assert!((found - wanted).abs() < 1e-10, "{found} is not {wanted}");
            }
        }
    }
}
