"""Times whole captures by `exhibit` against the stand-in for AWS, and holds what the bundle says against what that server knows.

  python3 benches/capture.py first-byte [RUNS]   from the declaration to the first byte of evidence on disk, and to the timeline
  python3 benches/capture.py quota [SECONDS]     17 regions at 2 requests/s each, pages that come at once, and that take 0.2 to 4 s; memory
  python3 benches/capture.py page [TURNS]        the same pages by the AWS SDK alone and by us, in turn: processor time for each
  python3 benches/capture.py million [EVENTS]    as fast as it goes: memory, processor time a page, exactness

Builds first. Needs strace for `first-byte`. Run it on a machine that does nothing else.
"""

import atexit
import json
import os
import pathlib
import re
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

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "dist"
ACCOUNT = "111122223333"
# The regions that every account has enabled from the start.
REGIONS = """ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-southeast-1 ap-southeast-2 ca-central-1 eu-central-1 eu-north-1
    eu-west-1 eu-west-2 eu-west-3 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2""".split()
# The last whole day: recent enough for every retention.
UNTIL = int(time.time()) // 86400 * 86400
FROM = UNTIL - 86400
DAY = ["--from", time.strftime("%FT%TZ", time.gmtime(FROM)), "--until", time.strftime("%FT%TZ", time.gmtime(UNTIL))]


class Replay:
    """The stand-in for AWS, until it is asked what it served."""

    def __init__(self, *options: str):
        command = [TARGET / "examples/replay-cloudtrail", "--window", f"{FROM},{UNTIL}", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = [self.process.stdout.readline().strip() for _ in range(3)]
        self.environment = dict(line.split("=", 1) for line in lines)

    def pages(self) -> int:
        """Pages served so far."""
        with urllib.request.urlopen(self.environment["AWS_ENDPOINT_URL"] + "/_truth") as answer:
            return sum(place["pages"] for place in json.load(answer)["places"])

    def truth(self) -> dict:
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate()
        return json.loads(output)


class Store:
    """A scratch store, and `exhibit` on it with nothing but the replay server's credentials."""

    def __init__(self, config: str = ""):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="exhibit-bench."))
        (self.folder / "exhibit.toml").write_text(config)

    def run(self, *arguments: str, environment: dict | None = None, tracer: list | None = None) -> tuple[str, float, resource.struct_rusage]:
        """What it printed, wall seconds, and what it used."""
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1"}
        command = [*(tracer or []), str(TARGET / "exhibit"), "--store", str(self.folder), *arguments]
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=own | (environment or {}))
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, output
        return output, time.monotonic() - start, usage

    def coverage(self, receipt: dict) -> dict[str, dict]:
        """Coverage by region, added up over all bundles, each verified."""
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

    def drop(self):
        shutil.rmtree(self.folder)


def config_of(bundle: dict) -> dict:
    """The config blob, which the manifest names, whose digest is the bundle's id."""
    with tarfile.open(bundle["bundle"]) as tar:
        blob = lambda digest: json.load(tar.extractfile("blobs/sha256/" + digest.removeprefix("sha256:")))
        return blob(blob(bundle["id"])["config"]["digest"])


def capture(store: Store, server: Replay, *arguments: str) -> tuple[dict, float, resource.struct_rusage]:
    base = ["capture", "--title", "bench", "--sev", "2", "--json", "--source", "aws_cloudtrail", *DAY, *arguments]
    output, wall, usage = store.run(*base, environment=server.environment)
    return json.loads(output.splitlines()[-1]), wall, usage


def exact(coverage: dict, truth: dict) -> None:
    """The bundle says of each region exactly what the server says."""
    for place in truth["places"]:
        told = coverage[place["region"]]
        assert told["pages"] == place["pages"], (place["region"], told, place["pages"])
        assert told["events"] == place["events"], (place["region"], told, place["events"])
        assert told["duplicates"] == place["events"] - place["distinct"], (place["region"], told)


def quota(seconds: int = 120) -> None:
    for name, faults in [("answers at once", []), ("answers after 0.2–4 s", ["--fault", "*@1-=slow:200:4000"])]:
        pages, wall, _, memory = steady(ours, seconds, faults)
        allowed = 2 * len(REGIONS) * wall
        print(f"{name}: {pages} pages in {wall:.1f} s, the limit allows {allowed:.0f}: {pages / allowed:.1%}")
        print("  resident after 10 s, each minute, and at the end: " + " ".join(f"{mebibytes:.1f}" for mebibytes in memory) + " MiB")


def page(turns: int = 7) -> None:
    sides: dict = {sdk_alone: [], ours: []}
    for _ in range(turns):
        for side, milliseconds in sides.items():
            pages, _, cpu, _ = steady(side, 20, [])
            milliseconds.append(cpu / pages * 1000)
    medians = [statistics.median(milliseconds) for milliseconds in sides.values()]
    for name, median, values in zip(["the AWS SDK alone", "exhibit"], medians, sides.values()):
        print(f"processor a page, {name}: median {median:.2f} ms, {min(values):.2f}–{max(values):.2f} ms, {turns} runs")
    print(f"  added by exhibit: {medians[1] - medians[0]:.2f} ms")


def ours(store: Store) -> list:
    return [TARGET / "exhibit", "--store", store.folder, "capture", "--title", "b", "--sev", "2", "--source", "aws_cloudtrail", *DAY]


def sdk_alone(_: Store) -> list:
    """Asks for the same pages, and keeps none."""
    return [TARGET / "examples/lookup-only", str(FROM), str(UNTIL), *REGIONS]


def steady(command: Callable[[Store], list], seconds: int, faults: list) -> tuple[int, float, float, list[float]]:
    """Pages served to `command` in the long run, wall and processor seconds meanwhile, and MiB resident at its begin, each minute, and its end."""
    store = Store("[capture]\nsettle-after-seconds = []\n[sources.aws_cloudtrail]\nregions = " + json.dumps(REGIONS) + "\n")
    events = str(2 * 2 * 50 * (seconds + 20) * len(REGIONS))  # twice what the limit lets through, so that it never runs dry
    server = Replay("--events", events, "--regions", ",".join(f"{region}=1" for region in REGIONS), *faults)
    environment = {"PATH": os.environ["PATH"], "HOME": str(store.folder), "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1"}
    child = subprocess.Popen(command(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment | server.environment)
    time.sleep(10)  # what runs in the long run counts, not how it begins
    first, (used, resident), begin = server.pages(), usage_of(child.pid), time.monotonic()
    memory = [resident]
    for minute in range(0, seconds, 60):
        time.sleep(min(60, seconds - minute))
        memory.append(usage_of(child.pid)[1])
    last, (used_then, _), end = server.pages(), usage_of(child.pid), time.monotonic()
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.truth()
    atexit.register(store.drop)  # ext4 is slow for some minutes to find a free inode where many were just freed
    return last - first, end - begin, used_then - used, memory


def usage_of(pid: int) -> tuple[float, float]:
    """Seconds of processor so far, and resident MiB now."""
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
    exact(coverage, truth)
    assert not any(region["gaps"] for region in coverage.values()), coverage
    pages = sum(place["pages"] for place in truth["places"])
    cpu = usage.ru_utime + usage.ru_stime
    size = sum(os.path.getsize(bundle["bundle"]) for bundle in receipt["bundles"])
    distinct = sum(place["distinct"] for place in truth["places"])
    print(f"{sum(place['events'] for place in truth['places'])} events ({distinct} distinct) in {pages} pages, exactly as served, no gap")
    print(f"{wall:.0f} s, {cpu:.0f} s of processor ({cpu / pages * 1000:.2f} ms a page), peak {usage.ru_maxrss / 1024:.0f} MiB, bundle {size / 1e6:.0f} MB")
    timeline, wall, _ = store.run("timeline", receipt["incident"], "--json")
    print(f"its timeline of {timeline.count(chr(10))} lines in {wall:.0f} s")
    store.drop()


def first_byte(runs: int = 21) -> None:
    waits, sealed = [], []
    for _ in range(runs):
        store = Store()
        output, _, _ = store.run("capture", "--title", "bench", "--sev", "2", "--json", "--source", "host")
        incident = json.loads(output.splitlines()[-1])["incident"]
        rows = [json.loads(line) for line in store.run("timeline", incident, "--json")[0].splitlines()]
        at = {row["kind"]: seconds(row["time"]) for row in rows}
        sealed.append(at["evidence.sealed"] - at["incident.declared"])
        store.drop()
        # once more under strace, which can only make it slower
        store = Store()
        trace = store.folder / "trace"
        tracer = ["strace", "-f", "-qq", "-y", "-ttt", "-e", "trace=write", "-o", str(trace)]
        output, _, _ = store.run("capture", "--title", "bench", "--sev", "2", "--json", "--source", "host", tracer=tracer)
        rows = store.run("timeline", json.loads(output.splitlines()[-1])["incident"], "--json")[0].splitlines()
        declared = next(seconds(row["time"]) for row in map(json.loads, rows) if row["kind"] == "incident.declared")
        waits.append(first_write(trace) - declared)
        store.drop()
    for name, values in [("declared to first byte of evidence written (under strace)", waits), ("declared to sealed and on the timeline", sealed)]:
        print(f"{name}: median {statistics.median(values) * 1000:.0f} ms, {min(values) * 1000:.0f}–{max(values) * 1000:.0f} ms, {len(values)} runs")


def first_write(trace: pathlib.Path) -> float:
    """When the first bytes of an item behind the incident's own went to the draft: the second blob that is written."""
    blobs: dict[str, float] = {}
    for line in trace.read_text().splitlines():
        found = re.match(r"\d+ +([\d.]+) write\(\d+<([^>]*/work/[^>]*)>", line)
        if found:
            blobs.setdefault(found[2], float(found[1]))
    times = sorted(blobs.values())
    return times[1]


def seconds(time_: str) -> float:
    whole, _, fraction = time_.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float("0." + (fraction or "0"))


if __name__ == "__main__":
    what = {"first-byte": first_byte, "quota": quota, "page": page, "million": million}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if what is None:
        sys.exit(__doc__)
    subprocess.run(["cargo", "build", "--profile", "dist", "--locked", "--quiet"], cwd=ROOT, check=True)
    examples = ["--example", "replay-cloudtrail", "--example", "lookup-only"]
    subprocess.run(["cargo", "build", "--profile", "dist", "--locked", "--quiet", "--workspace", *examples], cwd=ROOT, check=True)
    what(*map(int, sys.argv[2:]))
