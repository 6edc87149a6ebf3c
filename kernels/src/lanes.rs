//! Sixteen f32 side by side, however the machine holds them: one attention kernel, written once for all levels.

#![expect(unsafe_code, reason = "vector loads and stores")]

/// Lanes of a sum, whatever the machine's vectors are, so that results are the same everywhere.
pub(crate) const LANES: usize = 16;

/// Sixteen f32. No fused multiply-add, since not every machine has one.
pub(crate) trait Lanes: Copy {
    /// The processor has the instructions of the implementing type, here and below.
    unsafe fn splat(value: f32) -> Self;
    /// # Safety
    /// As for `splat`.
    unsafe fn load(values: &[f32; LANES]) -> Self;
    /// # Safety
    /// As for `splat`.
    unsafe fn store(self, values: &mut [f32; LANES]);
    /// `self + left · right`, rounded twice.
    ///
    /// # Safety
    /// As for `splat`.
    unsafe fn add_product(self, left: Self, right: Self) -> Self;
}

impl Lanes for [f32; LANES] {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(values: &[f32; LANES]) -> Self {
        *values
    }

    #[inline(always)]
    unsafe fn store(self, values: &mut [f32; LANES]) {
        *values = self;
    }

    #[inline(always)]
    unsafe fn add_product(self, left: Self, right: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + left[lane] * right[lane])
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_add_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_storeu_ps,
        _mm512_add_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    use super::{LANES, Lanes};

    impl Lanes for [__m256; 2] {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: AVX by the contract.
            unsafe { [_mm256_set1_ps(value); 2] }
        }

        #[inline(always)]
        unsafe fn load(values: &[f32; LANES]) -> Self {
            let start = values.as_ptr();
            // SAFETY: AVX by the contract; sixteen f32 are both loads, which need no alignment.
            unsafe { [_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8))] }
        }

        #[inline(always)]
        unsafe fn store(self, values: &mut [f32; LANES]) {
            let start = values.as_mut_ptr();
            // SAFETY: AVX by the contract; sixteen f32 are both stores, which need no alignment.
            unsafe {
                _mm256_storeu_ps(start, self[0]);
                _mm256_storeu_ps(start.add(8), self[1]);
            }
        }

        #[inline(always)]
        unsafe fn add_product(self, left: Self, right: Self) -> Self {
            // SAFETY: AVX by the contract.
            unsafe {
                [
                    _mm256_add_ps(self[0], _mm256_mul_ps(left[0], right[0])),
                    _mm256_add_ps(self[1], _mm256_mul_ps(left[1], right[1])),
                ]
            }
        }
    }

    impl Lanes for __m512 {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: AVX-512 F by the contract.
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(values: &[f32; LANES]) -> Self {
            // SAFETY: AVX-512 F by the contract; sixteen f32 are the load, which needs no alignment.
            unsafe { _mm512_loadu_ps(values.as_ptr()) }
        }

        #[inline(always)]
        unsafe fn store(self, values: &mut [f32; LANES]) {
            // SAFETY: AVX-512 F by the contract; sixteen f32 are the store, which needs no alignment.
            unsafe { _mm512_storeu_ps(values.as_mut_ptr(), self) }
        }

        #[inline(always)]
        unsafe fn add_product(self, left: Self, right: Self) -> Self {
            // SAFETY: AVX-512 F by the contract.
            unsafe { _mm512_add_ps(self, _mm512_mul_ps(left, right)) }
        }
    }
}
