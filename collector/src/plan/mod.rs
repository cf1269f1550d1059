//! stub
#![allow(missing_docs)]
use std::collections::BTreeMap;
use evidence_format::coverage::Window;
use evidence_format::id::ItemName;
use serde::{Serialize, Deserialize};
use crate::incident::Pivot;
#[derive(Debug)]
pub enum Lifetime { Seconds(u64) }
#[derive(Debug)]
pub struct Settle { pub after_seconds: u64, pub look_back_seconds: Option<u64> }
#[derive(Debug)]
pub struct Quota { pub per_second: f64, pub burst: u32, pub records_per_page: u64 }
#[derive(Debug)]
pub struct Offer { pub source: &'static str, pub api: &'static str, pub what: &'static str, pub lifetime: Lifetime, pub arrives_late_seconds: Option<u64>, pub settles: &'static [Settle], pub quota: Option<Quota> }
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State { Ready, NotConfigured }
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target { pub name: String, pub account: Option<String>, pub region: Option<String>, pub identity: Option<String>, pub access: Option<String> }
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness { pub source: String, pub targets: Vec<Target>, pub problems: Vec<String>, pub state: State, pub estimates: BTreeMap<String, u64> }
impl Readiness { pub fn not_configured(source: &str, why: &str) -> Self { Self { source: source.into(), targets: vec![], problems: vec![why.into()], state: State::NotConfigured, estimates: BTreeMap::new() } } }
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step { pub item: ItemName, pub target: Target, pub what: String, pub asked: Option<Window>, pub effective: Option<Window>, pub pivot: Option<Pivot>, pub cursor: Option<String>, pub object_bytes_max: Option<u64>, pub item_bytes_max: Option<u64>, pub over_budget: Option<String> }
