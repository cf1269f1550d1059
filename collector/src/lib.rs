//! x

pub mod incident;
