//! No cycles of modules: files that need one another can only be understood together.
//!
//! The graph has an edge from a file to each module that it names by `crate::…`, `super::…` or
//! `self::…`. A re-exported name leads to the file that defines it. A module may use its own
//! children: a `mod.rs` holds the contents of its folder together. The test does not see names that
//! come from `*`, from another crate or from a macro.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths::{PathSegments, absolute, module_paths, used_paths};
use crate::source::{SourceFile, product_files};

/// Limit of re-exports followed in a row, more than any crate has.
const HOPS_MAX: usize = 8;

type Graph<'f> = BTreeMap<&'f PathSegments, BTreeSet<&'f PathSegments>>;

#[test]
fn modules_form_no_cycle() {
    let mut crates: BTreeMap<String, Vec<SourceFile>> = BTreeMap::new();
    for file in product_files() {
        crates
            .entry(file.crate_root.clone())
            .or_default()
            .push(file);
    }
    let mut wrong = Vec::new();
    for (root, files) in &crates {
        let graph = graph(files);
        let cycles = cycles(&graph);
        if !cycles.is_empty() {
            wrong.push(format!("{root}{}", describe(&cycles, &graph)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn graph(files: &[SourceFile]) -> Graph<'_> {
    let modules: BTreeMap<&PathSegments, &SourceFile> =
        files.iter().map(|file| (&file.module, file)).collect();
    let exports: BTreeMap<(&PathSegments, String), PathSegments> = files
        .iter()
        .flat_map(|file| {
            exported(file)
                .into_iter()
                .map(move |(name, target)| ((&file.module, name), target))
        })
        .collect();
    let mut graph = Graph::new();
    for file in files {
        let arrows = graph.entry(&file.module).or_default();
        for path in module_paths(&file.code) {
            let Some(target) = absolute(&file.module, &path) else {
                continue;
            };
            if let Some(module) = defining_module(target, &modules, &exports)
                && !module.starts_with(&file.module)
            {
                arrows.insert(module);
            }
        }
    }
    graph
}

/// Names that a file imports, which other files may import from it, each with its target.
fn exported(file: &SourceFile) -> Vec<(String, PathSegments)> {
    let used = used_paths(&file.code).into_iter().filter_map(|path| {
        let name = path.last().filter(|name| *name != "*")?.clone();
        let begins_here = !matches!(path[0].as_str(), "crate" | "self" | "super");
        let path = if begins_here {
            [vec!["self".to_owned()], path].concat() // a child module; for another crate, the path resolves to nothing
        } else {
            path
        };
        Some((name, absolute(&file.module, &path)?))
    });
    used.collect()
}

/// The module whose file defines the end of `target`.
fn defining_module<'f>(
    mut target: PathSegments,
    modules: &BTreeMap<&'f PathSegments, &'f SourceFile>,
    exports: &BTreeMap<(&'f PathSegments, String), PathSegments>,
) -> Option<&'f PathSegments> {
    for _ in 0..HOPS_MAX {
        let (module, length) = (0..=target.len()).rev().find_map(|length| {
            Some((
                *modules.get_key_value(&target[..length].to_vec())?.0,
                length,
            ))
        })?;
        let Some(name) = target.get(length) else {
            return Some(module);
        };
        match exports.get(&(module, name.clone())) {
            // Follow it if it is a module of this crate, not another crate of that name.
            Some(next) if *next != target && leads_inside(next, modules) => {
                target = [next.as_slice(), &target[length + 1..]].concat();
            }
            Some(_) | None => return Some(module),
        }
    }
    None
}

fn leads_inside(target: &[String], modules: &BTreeMap<&PathSegments, &SourceFile>) -> bool {
    let parent = &target[..target.len().saturating_sub(1)];
    modules.contains_key(&parent.to_vec()) || modules.contains_key(&target.to_vec())
}

/// Groups of two or more modules that each reach one another.
fn cycles<'f>(graph: &Graph<'f>) -> Vec<BTreeSet<&'f PathSegments>> {
    let reached: Graph<'f> = graph
        .keys()
        .map(|from| (*from, reach(graph, from)))
        .collect();
    let mut cycles: Vec<BTreeSet<&PathSegments>> = Vec::new();
    for (from, targets) in &reached {
        let cycle: BTreeSet<_> = targets
            .iter()
            .filter(|target| reached[*target].contains(from))
            .copied()
            .collect();
        if cycle.len() > 1 && !cycles.contains(&cycle) {
            cycles.push(cycle);
        }
    }
    cycles
}

fn reach<'f>(graph: &Graph<'f>, from: &PathSegments) -> BTreeSet<&'f PathSegments> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<_> = graph[from].iter().copied().collect();
    while let Some(module) = open.pop() {
        if reached.insert(module) {
            open.extend(&graph[module]);
        }
    }
    reached
}

/// Each cycle with the edges inside it, one on each line.
fn describe(cycles: &[BTreeSet<&PathSegments>], graph: &Graph<'_>) -> String {
    let mut text = String::new();
    let name = |module: &PathSegments| format!("crate::{}", module.join("::"));
    for cycle in cycles {
        text.push_str("\n  cycle:");
        for from in cycle {
            let inside: Vec<_> = graph[from]
                .intersection(cycle)
                .map(|target| name(target))
                .collect();
            text.push_str(&format!("\n    {} uses {}", name(from), inside.join(", ")));
        }
    }
    text
}
