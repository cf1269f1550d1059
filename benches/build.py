"""Compares how long two revisions of this repository take to build.

Each revision in turn is cloned, and built in an empty target folder with the README's first command. Then a file is touched and
the same command repeated, which is a warm rebuild. Last, `exhibit-audit` is built for distribution, for its size. Dependencies are
downloaded before the clock starts. Run it on a machine that does nothing else. It needs some GB of disk in $TMPDIR.
"""

import argparse
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import tempfile
import time

from common import ROOT

WARM_BUILDS = 3


def first_command(clone: pathlib.Path) -> str:
    """The first shell command of the README, up to `&&`."""
    block = re.search(r"^```sh\n(.*?)^```", (clone / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return block[1].split("&&")[0].strip()


def seconds(command: list[str], clone: pathlib.Path) -> float:
    own = {name: value for name, value in os.environ.items() if name not in ("CARGO_TARGET_DIR", "CARGO_INCREMENTAL")}
    began = time.monotonic()
    subprocess.run(command, cwd=clone, check=True, env=own | {"CARGO_TARGET_DIR": str(clone / "target")})
    return time.monotonic() - began


def measure(revision: str, options: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="exhibit-bench.") as folder:
        clone = pathlib.Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", "--shared", "--no-checkout", ROOT, clone], check=True)
        subprocess.run(["git", "checkout", "--quiet", "--detach", revision], cwd=clone, check=True)
        seconds(["cargo", "fetch", "--quiet", "--locked"], clone)
        command = shlex.split(options.command or first_command(clone))
        print(f"{revision}: {shlex.join(command)}", flush=True)
        results = {"cold build, s": seconds([*command, "--quiet"], clone)}
        warm = []
        for _ in range(WARM_BUILDS):
            (clone / options.touch).touch()
            warm.append(seconds([*command, "--quiet"], clone))
        results[f"rebuild after touching {options.touch}, s"] = statistics.median(warm)
        if not options.no_size:
            seconds(["cargo", "build", "--quiet", "--locked", "--profile", "dist", "--bin", "exhibit-audit"], clone)
            results["exhibit-audit for distribution, bytes"] = (clone / "target/dist/exhibit-audit").stat().st_size
        return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD", help="the revision to compare with")
    parser.add_argument("new", metavar="NEW", help="the revision to measure")
    parser.add_argument("--command", help="the command to measure, in place of the README's first")
    parser.add_argument("--touch", metavar="FILE", default="collector/server/src/lib.rs", help="the file to touch (default %(default)s)")
    parser.add_argument("--no-size", action="store_true", help="skip the build for distribution")
    options = parser.parse_args()
    full = [
        subprocess.run(["git", "rev-parse", "--short", f"{name}^{{commit}}"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        for name in (options.old, options.new)
    ]
    revisions = [done.stdout.strip() for done in full]
    old, new = [measure(revision, options) for revision in revisions]
    print(f"| what | {revisions[0]} | {revisions[1]} | ratio |")
    print("| --- | --- | --- | --- |")
    for name, value in new.items():
        places = 0 if name.endswith("bytes") else 1
        print(f"| {name} | {old[name]:,.{places}f} | {value:,.{places}f} | {value / old[name]:.2f} |")


if __name__ == "__main__":
    main()
