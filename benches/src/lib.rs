//! Workloads that the benchmarks share.
