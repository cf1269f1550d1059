"""Measures captures by `exhibit` from a server that stands in for AWS, and checks each bundle against what that server has served.

  python3 benches/capture.py first-byte [RUNS]   time from the declaration to the first byte of evidence on disk, and to the timeline
  python3 benches/capture.py quota [SECONDS]     17 regions at 2 requests/s each, with fast responses and with 0.2 to 4 s; memory
  python3 benches/capture.py page [TURNS]        processor time per page: the AWS SDK alone and exhibit, in turn, on the same pages
  python3 benches/capture.py million [EVENTS]    no request limit: memory, processor time per page, and whether every event is there

It builds the programs first. `first-byte` needs strace. Run it on a machine that does nothing else.
"""

import atexit
import json
import os
import pathlib
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime

from common import PROGRAMS, WRITE_TRACER, build, environment, first_writes

ACCOUNT = "111122223333"
# The regions that every account has enabled from the start.
REGIONS = """ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-southeast-1 ap-southeast-2 ca-central-1 eu-central-1 eu-north-1
    eu-west-1 eu-west-2 eu-west-3 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2""".split()
# The last whole day, which every provider still retains.
UNTIL = int(time.time()) // 86400 * 86400
FROM = UNTIL - 86400
DAY = ["--from", time.strftime("%FT%TZ", time.gmtime(FROM)), "--until", time.strftime("%FT%TZ", time.gmtime(UNTIL))]


class Replay:
    """A running stand-in for AWS."""

    def __init__(self, *options: str):
        command = [PROGRAMS / "examples/replay-cloudtrail", "--window", f"{FROM},{UNTIL}", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = [self.process.stdout.readline().strip() for _ in range(3)]
        self.environment = dict(line.split("=", 1) for line in lines)

    def pages(self) -> int:
        """Pages served so far."""
        with urllib.request.urlopen(self.environment["AWS_ENDPOINT_URL"] + "/_truth") as answer:
            return sum(place["pages"] for place in json.load(answer)["places"])

    def truth(self) -> dict:
        """Stops the server, and returns what it has served."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate()
        return json.loads(output)


class Store:
    """A scratch store, and `exhibit` on it, with the credentials of the stand-in and no others."""

    def __init__(self, config: str = ""):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="exhibit-bench."))
        (self.folder / "exhibit.toml").write_text(config)

    def run(self, *arguments: str, more: dict | None = None, tracer: list | None = None) -> tuple[str, float, resource.struct_rusage]:
        """Runs a command: its output, wall seconds, and the resources that it used."""
        own = environment(self.folder) | {"AWS_REGION": "us-east-1"} | (more or {})
        command = [*(tracer or []), str(PROGRAMS / "exhibit"), "--store", str(self.folder), *arguments]
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=own)
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, output
        return output, time.monotonic() - start, usage

    def coverage(self, receipt: dict) -> dict[str, dict]:
        """Verifies each bundle, and sums their coverage by region."""
        regions: dict[str, dict] = {}
        for bundle in receipt["bundles"]:
            verify = [TARGET / "exhibit-audit", "verify", bundle["bundle"], "--key", receipt["publicKey"]]
            assert subprocess.run(verify, stdout=subprocess.DEVNULL).returncode in (0, 4), bundle
            for item in config_of(bundle)["items"]:
                region = item["source"].get("region")
                if region:
                    sums = regions.setdefault(region, {"pages": 0, "events": 0, "duplicates": 0, "gaps": []})
                    for name in ("pages", "events", "duplicates"):
                        sums[name] += item["coverage"].get(name) or 0
                    sums["gaps"] += [gap["reason"] for gap in item["coverage"].get("gaps", [])]
        return regions

    def remove(self) -> None:
        shutil.rmtree(self.folder)


def config_of(bundle: dict) -> dict:
    """The config blob of a bundle. The bundle's id is the digest of its manifest, which names the config."""
    with tarfile.open(bundle["bundle"]) as tar:
        manifest = blob(tar, bundle["id"])
        return blob(tar, manifest["config"]["digest"])


def blob(tar: tarfile.TarFile, digest: str) -> dict:
    return json.load(tar.extractfile("blobs/sha256/" + digest.removeprefix("sha256:")))


def capture(store: Store, server: Replay, *arguments: str) -> tuple[dict, float, resource.struct_rusage]:
    base = ["capture", "--title", "bench", "--sev", "2", "--json", "--source", "aws_cloudtrail", *DAY, *arguments]
    output, wall, usage = store.run(*base, more=server.environment)
    return json.loads(output.splitlines()[-1]), wall, usage


def assert_exact(coverage: dict, truth: dict) -> None:
    """For each region, the bundle claims exactly what the server has served."""
    for place in truth["places"]:
        claimed = coverage[place["region"]]
        assert claimed["pages"] == place["pages"], (place["region"], claimed, place["pages"])
        assert claimed["events"] == place["events"], (place["region"], claimed, place["events"])
        assert claimed["duplicates"] == place["events"] - place["distinct"], (place["region"], claimed)


def quota(seconds: int = 120) -> None:
    for name, faults in [("fast responses", []), ("responses after 0.2–4 s", ["--fault", "*@1-=slow:200:4000"])]:
        pages, wall, _, memory = steady(exhibit, seconds, faults)
        allowed = 2 * len(REGIONS) * wall
        print(f"{name}: {pages} pages in {wall:.1f} s, the limit allows {allowed:.0f}: {pages / allowed:.1%}")
        print("  resident memory after 10 s, each further minute, and at the end: " + " ".join(f"{mebibytes:.1f}" for mebibytes in memory) + " MiB")


def page(turns: int = 7) -> None:
    sides: dict = {sdk_alone: [], exhibit: []}
    for _ in range(turns):
        for side, milliseconds in sides.items():
            pages, _, cpu, _ = steady(side, 20, [])
            milliseconds.append(cpu / pages * 1000)
    medians = [statistics.median(milliseconds) for milliseconds in sides.values()]
    for name, median, values in zip(["the AWS SDK alone", "exhibit"], medians, sides.values()):
        print(f"processor time per page, {name}: median {median:.2f} ms, {min(values):.2f}–{max(values):.2f} ms, {turns} runs")
    print(f"  exhibit adds {medians[1] - medians[0]:.2f} ms")


def exhibit(store: Store) -> list:
    return [PROGRAMS / "exhibit", "--store", store.folder, "capture", "--title", "b", "--sev", "2", "--source", "aws_cloudtrail", *DAY]


def sdk_alone(_: Store) -> list:
    """Requests the same pages and discards them."""
    return [PROGRAMS / "examples/lookup-only", str(FROM), str(UNTIL), *REGIONS]


def steady(command: Callable[[Store], list], seconds: int, faults: list) -> tuple[int, float, float, list[float]]:
    """Measures `command` in its steady state: pages served, wall and processor seconds, and MiB resident at first, each minute and last."""
    store = Store("[capture]\nsettle-after-seconds = []\n[sources.aws_cloudtrail]\nregions = " + json.dumps(REGIONS) + "\n")
    events = str(2 * 2 * 50 * (seconds + 20) * len(REGIONS))  # twice what the limit allows, so that events never run out
    server = Replay("--events", events, "--regions", ",".join(f"{region}=1" for region in REGIONS), *faults)
    own = environment(store.folder) | {"AWS_REGION": "us-east-1"} | server.environment
    child = subprocess.Popen(command(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=own)
    time.sleep(10)  # the start does not count
    first, (used, resident), begin = server.pages(), usage_of(child.pid), time.monotonic()
    memory = [resident]
    for minute in range(0, seconds, 60):
        time.sleep(min(60, seconds - minute))
        memory.append(usage_of(child.pid)[1])
    last, (used_then, _), end = server.pages(), usage_of(child.pid), time.monotonic()
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.truth()
    atexit.register(store.remove)  # not yet: after many files are removed, ext4 is slow to create files for some minutes
    return last - first, end - begin, used_then - used, memory


def usage_of(pid: int) -> tuple[float, float]:
    """Processor seconds used so far, and MiB resident now."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def million(events: int = 1_000_000) -> None:
    regions = ",".join(f"{region}=1" for region in REGIONS)
    server = Replay("--events", str(events), "--regions", regions, "--limit", "0")
    config = "[capture]\nsettle-after-seconds = []\n[sources.aws_cloudtrail]\nrequests-per-second = 1000\nregions = "
    store = Store(config + json.dumps(REGIONS) + "\n")
    receipt, wall, usage = capture(store, server, "--deadline", "2h")
    coverage, truth = store.coverage(receipt), server.truth()
    assert_exact(coverage, truth)
    assert not any(region["gaps"] for region in coverage.values()), coverage
    pages = sum(place["pages"] for place in truth["places"])
    cpu = usage.ru_utime + usage.ru_stime
    size = sum(os.path.getsize(bundle["bundle"]) for bundle in receipt["bundles"])
    distinct = sum(place["distinct"] for place in truth["places"])
    print(f"{sum(place['events'] for place in truth['places'])} events ({distinct} distinct) in {pages} pages, exactly as served, without a gap")
    print(f"{wall:.0f} s, {cpu:.0f} s of processor time ({cpu / pages * 1000:.2f} ms per page), peak {usage.ru_maxrss / 1024:.0f} MiB, bundle {size / 1e6:.0f} MB")
    timeline, wall, _ = store.run("timeline", receipt["incident"], "--json")
    print(f"its timeline of {timeline.count(chr(10))} lines in {wall:.0f} s")
    store.remove()


def first_byte(runs: int = 21) -> None:
    waits, sealed = [], []
    for _ in range(runs):
        store = Store()
        output, _, _ = store.run("capture", "--title", "bench", "--sev", "2", "--json", "--source", "host")
        incident = json.loads(output.splitlines()[-1])["incident"]
        rows = [json.loads(line) for line in store.run("timeline", incident, "--json")[0].splitlines()]
        at = {row["kind"]: seconds(row["time"]) for row in rows}
        sealed.append(at["evidence.sealed"] - at["incident.declared"])
        store.remove()
        # A second run under strace, which can only make it slower.
        store = Store()
        trace = store.folder / "trace"
        tracer = [*WRITE_TRACER, str(trace)]
        output, _, _ = store.run("capture", "--title", "bench", "--sev", "2", "--json", "--source", "host", tracer=tracer)
        rows = store.run("timeline", json.loads(output.splitlines()[-1])["incident"], "--json")[0].splitlines()
        declared = next(seconds(row["time"]) for row in map(json.loads, rows) if row["kind"] == "incident.declared")
        waits.append(first_writes(trace)[1] - declared)
        store.remove()
    for name, values in [("declared to first byte of evidence written (under strace)", waits), ("declared to sealed and on the timeline", sealed)]:
        print(f"{name}: median {statistics.median(values) * 1000:.0f} ms, {min(values) * 1000:.0f}–{max(values) * 1000:.0f} ms, {len(values)} runs")


def seconds(time_: str) -> float:
    whole, _, fraction = time_.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float("0." + (fraction or "0"))


if __name__ == "__main__":
    what = {"first-byte": first_byte, "quota": quota, "page": page, "million": million}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if what is None:
        sys.exit(__doc__)
    build("replay-cloudtrail", "lookup-only")
    what(*map(int, sys.argv[2:]))
