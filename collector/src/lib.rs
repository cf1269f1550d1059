//! x

pub mod incident;
pub mod plan;
