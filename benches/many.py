"""Measures whether a store with 30,000 incidents is as fast as one with 10.

For both stores in turn: `exhibit capture` until its first byte of evidence is stored (under strace), `exhibit settle` with nothing
due, and the first page of incidents over HTTP. Prints medians and ratios. Run it on a machine that does nothing else. It builds
the programs first, and needs strace.
"""

import argparse
import http.client
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from common import PROGRAMS, WRITE_TRACER, build, compare, first_writes
from daemon import Daemon, Store

RATIO_MAX = 1.5
# Both stores have as many, so that both pages are equally long.
PAGE_INCIDENTS = 10
# Memory, where commits need not wait for a disk.
MEMORY = pathlib.Path("/dev/shm")


def filled(count: int) -> Store:
    """A store with so many incidents, declared by the code of the product."""
    store, began = Store(), time.monotonic()
    store.run("status")  # makes its key and database
    if MEMORY.is_dir():
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="exhibit-bench.", dir=MEMORY))
        shutil.copytree(store.folder, scratch, dirs_exist_ok=True)
        declare(scratch, count)
        shutil.copytree(scratch, store.folder, dirs_exist_ok=True)
        shutil.rmtree(scratch)
    else:
        declare(store.folder, count)
    print(f"made a store with {count} incidents in {time.monotonic() - began:.0f} s")
    return store


def declare(folder: pathlib.Path, count: int) -> None:
    subprocess.run([PROGRAMS / "examples/many-incidents", folder / "exhibit.db", str(count)], check=True)


def until_first_byte(store: Store) -> float:
    trace = store.folder / "trace"
    began = time.time()
    store.run("capture", "--title", "bench", "--sev", "2", "--json", "--source", "host", tracer=[*WRITE_TRACER, str(trace)])
    return first_writes(trace)[1] - began


def settle(store: Store) -> float:
    began = time.monotonic()
    store.run("settle", "--json")
    return time.monotonic() - began


def pages(stores: list[Store], requests: int) -> list[list[float]]:
    """The times of the first page from a daemon on each store, in turn, over one connection each."""
    daemons = [Daemon(store) for store in stores]
    connections = [http.client.HTTPConnection(daemon.address) for daemon in daemons]
    times: list[list[float]] = [[] for _ in stores]
    for _ in range(requests):
        for daemon, connection, own in zip(daemons, connections, times):
            began = time.monotonic()
            connection.request("GET", f"/v1/incidents?limit={PAGE_INCIDENTS}", headers={"Authorization": f"Bearer {daemon.token}"})
            response = connection.getresponse()
            assert response.status == 200 and response.read(), response.status
            own.append(time.monotonic() - began)
    for daemon, connection in zip(daemons, connections):
        connection.close()
        daemon.stop()
    return times


def report(name: str, few: list[float], many: list[float]) -> None:
    medians = [1000 * statistics.median(times) for times in (few, many)]
    print(f"{name}: median {medians[0]:.1f} ms with few, {medians[1]:.1f} ms with many, {len(few)} times each")
    print("  " + compare("many against few", *medians, RATIO_MAX))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, meaning in [
        ("few", 10, "incidents in the small store, at least 10"),
        ("many", 30_000, "incidents in the large store"),
        ("turns", 41, "times that capture and settle are measured on each store"),
        ("requests", 300, "requests for the page to each store"),
    ]:
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{meaning} (default {default})")
    options = parser.parse_args()
    if options.few < PAGE_INCIDENTS:
        sys.exit(f"--few must be {PAGE_INCIDENTS} or more")
    build("many-incidents")
    stores = [filled(options.few), filled(options.many)]
    captures: list[list[float]] = [[], []]
    settles: list[list[float]] = [[], []]
    for turn in range(options.turns + 1):
        for side in (0, 1) if turn % 2 else (1, 0):
            capture_seconds, settle_seconds = until_first_byte(stores[side]), settle(stores[side])
            if turn > 0:  # the first turn warms up
                captures[side].append(capture_seconds)
                settles[side].append(settle_seconds)
    report("capture until the first byte is stored (under strace)", *captures)
    report("settle with nothing due", *settles)
    report(f"first page of {PAGE_INCIDENTS} incidents over HTTP", *pages(stores, options.requests))
    for store in stores:
        store.remove()


if __name__ == "__main__":
    main()
