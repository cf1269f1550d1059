//! `exhibit`: the collector.

fn main() {}
