"""What the benchmarks share: where the programs are, how they are built, and how results are printed.

`EXHIBIT_BENCH_PROFILE=dev` measures a debug build, to try a benchmark quickly. Its numbers mean nothing.
"""

import os
import pathlib
import re
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROFILE = os.environ.get("EXHIBIT_BENCH_PROFILE", "dist")
# Cargo calls the folder of its `dev` profile `debug`.
PROGRAMS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / {"dev": "debug"}.get(PROFILE, PROFILE)
# Traces writes with their times and file names. The filter runs in the kernel, so other system calls cost nothing.
WRITE_TRACER = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-ttt", "-e", "trace=write", "-o"]


def build(*examples: str) -> None:
    """Builds the programs and these examples."""
    base = ["cargo", "build", "--profile", PROFILE, "--locked", "--quiet"]
    subprocess.run(base, cwd=ROOT, check=True)
    if examples:
        named = [argument for example in examples for argument in ("--example", example)]
        subprocess.run([*base, "--workspace", *named], cwd=ROOT, check=True)


def environment(home: pathlib.Path) -> dict:
    """The environment of a program under test: no credentials, no settings of the user."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}


def first_writes(trace: pathlib.Path) -> list[float]:
    """When each file in a store's `work` folder was first written, in order, from a trace of `WRITE_TRACER`.

    The first file of a bundle describes the incident. The second one is evidence.
    """
    firsts: dict[str, float] = {}
    for line in trace.read_text().splitlines():
        found = re.match(r"\d+ +([\d.]+) write\(\d+<([^>]*/work/[^>]*)>", line)
        if found:
            firsts.setdefault(found[2], float(found[1]))
    return sorted(firsts.values())


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def distribution(milliseconds: list[float]) -> str:
    median, most = statistics.median(milliseconds), max(milliseconds)
    return f"median {median:.1f} ms, 99 % {percentile(milliseconds, 0.99):.1f} ms, max {most:.1f} ms"


def compare(name: str, baseline: float, measured: float, ratio_max: float) -> str:
    """One line with the ratio and whether it is within its bar."""
    ratio = measured / baseline
    return f"{name}: {ratio:.2f}×, bar {ratio_max}×: {'ok' if ratio <= ratio_max else 'TOO SLOW'}"
