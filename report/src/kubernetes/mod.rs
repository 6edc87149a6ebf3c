//! Kubernetes manifests from a plan; each number with a comment that says where it comes from.
//!
//! | file | holds |
//! |---|---|
//! | [`deployment`] | Deployment, HorizontalPodAutoscaler and KEDA `ScaledObject` of the fleet |
//! | [`job`] | an Indexed Job for a load that one machine cannot generate |
//! | [`yaml`] | a manifest as a tree with comments, written as YAML |

pub mod deployment;
pub mod job;
pub mod yaml;
