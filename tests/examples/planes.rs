//! Starts a double of each provider and a store that points at them, prints the command that uses
//! both, and serves until its standard input ends.

use std::io::Read as _;

use tests::planes::{Planes, PlanesOptions, newest};
use tests::rest::Behaviour;
use tests::rest::gitlab::GitLab;

#[expect(clippy::print_stdout, reason = "a program")]
fn main() {
    let gitlab = GitLab::new("glpat-planesGitlabToken0001", newest());
    let planes = Planes::start(PlanesOptions {
        gitlab: Some((gitlab, Behaviour::default())),
        ..PlanesOptions::small()
    });
    println!("{:?}", planes.capture());
    let _ = std::io::stdin().read(&mut [0]);
}
