//! Every source at once, against a double of each provider: what is captured, in which order, what
//! a crash loses, and what nothing that is left behind may contain.

mod kills;
mod limits;
mod secrets;
mod together;
