//! Kubernetes objects -> model.
