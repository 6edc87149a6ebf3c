//! A mutable slice whose disjoint parts several threads write.

#![expect(unsafe_code, reason = "lends disjoint parts of a slice to threads")]

use std::marker::PhantomData;

/// Hands out parts of a slice to threads that promise not to overlap.
#[derive(Debug)]
pub(crate) struct SharedSlice<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]` of `Send` values, which is `Send`; parts are used by one thread each (`part`'s contract).
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// A part of the slice; panics if it is not inside.
    ///
    /// # Safety
    /// While the part lives, no other part that overlaps it does.
    #[expect(clippy::mut_from_ref, reason = "the contract keeps parts disjoint")]
    pub(crate) unsafe fn part(&self, start: usize, length: usize) -> &mut [T] {
        assert!(start <= self.length && length <= self.length - start, "part outside the slice");
        // SAFETY: inside the slice this was made from, which is borrowed for `'a`; alone by contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) }
    }
}
