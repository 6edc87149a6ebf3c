//! Memory in large pages, where the system has them to give.

#![cfg_attr(all(target_os = "linux", not(miri)), expect(unsafe_code, reason = "advice to the system"))]

/// Asks the system for large pages: a product reads all of its weights, and looks up an address every 4 KiB else.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn in_large_pages<T>(memory: &mut [T]) {
    const PAGE: usize = 4_096;
    let range = memory.as_mut_ptr_range();
    let start = range.start.addr().next_multiple_of(PAGE);
    let length = range.end.addr().saturating_sub(start) / PAGE * PAGE;
    if length > 0 {
        // SAFETY: whole pages inside an allocation of ours; the advice changes the size of pages and no byte of them. An answer of
        // "no" leaves everything as it was.
        let _refused =
            unsafe { libc::madvise(range.start.with_addr(start).cast(), length, libc::MADV_HUGEPAGE) };
    }
}

/// Nothing to ask for: another system, or Miri, which has no pages.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn in_large_pages<T>(_memory: &mut [T]) {}
