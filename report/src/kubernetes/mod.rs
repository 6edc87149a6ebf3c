//! Kubernetes manifests from a plan; each number with a comment that says where it comes from.
//!
//! | file | holds |
//! |---|---|
//! | [`deployment`] | Deployment, HorizontalPodAutoscaler and KEDA `ScaledObject` of the fleet |
//! | [`yaml`] | a manifest as a tree with comments, written as YAML |

pub mod deployment;
pub mod yaml;
