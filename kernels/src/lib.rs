//! Packed-weight matrix products for the CPU: the one crate of the workspace with unsafe code.
