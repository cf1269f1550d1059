"""Measures a collector with agents on many hosts. `agent/examples/simulator.rs` runs them, with the code of `exhibit-agent`, over TLS.

  fleet        agents enrol, idle, are told of one declaration, and come back after the collector has restarted
  first-byte   time from a declaration to the first byte that a connected agent has stored; needs strace
  deliveries   many agents deliver large bundles at once, compared with `curl -T` of the same files; needs nginx and curl

Prints each number beside its bar. Run it on a machine that does nothing else: the agents run on it too. It builds the programs
first.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime

from common import PROGRAMS, WRITE_TRACER, build, compare, distribution, percentile
from daemon import Daemon, Store

TICKS = os.sysconf("SC_CLK_TCK")
ADDRESS = "127.0.0.1:18443"
# The longest that an idle agent is silent: a poll of 120 s, a pause, and the interval at which contacts are stored.
SILENT_SECONDS_MAX = 150
API_REQUESTS_PER_SECOND = 20
PATIENCE_SECONDS = 900
NGINX = """
daemon off; worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/part;
  server {{
    listen 127.0.0.1:18444 ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    root {folder}/put; location / {{ dav_methods PUT; }}
  }}
}}
"""


class AgentStore(Store):
    """A store whose collector listens for agents."""

    def __init__(self):
        super().__init__()
        with (self.folder / "exhibit.toml").open("a") as config:
            config.write(f'[agents]\nlisten = "{ADDRESS}"\nurl = "https://{ADDRESS}"\n')

    def token(self, uses: int) -> str:
        created = self.run("agents", "token", "create", "--label", "fleet=all", "--uses", str(uses), "--expires", "2h", "--json")
        return json.loads(created)["token"]


class Simulator:
    """Simulated agents, and the last event of each kind that each has told."""

    def __init__(self, store: AgentStore, count: int, folder: pathlib.Path, *options: str):
        command = [PROGRAMS / "examples/simulator", f"https://{ADDRESS}", store.token(count), str(count), folder, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.at: dict[str, dict[int, float]] = collections.defaultdict(dict)
        self.failures: collections.Counter = collections.Counter()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.process.stdout:
            event = json.loads(line)
            self.at[event["event"]][event["agent"]] = event["at"]
            if event["event"] == "failed":
                self.failures[event["detail"]] += 1

    def wait_for(self, event: str, count: int, meanwhile: Callable[[], None] = lambda: None) -> list[float]:
        """Waits until so many agents have told the event, and returns when each of them did."""
        until = time.monotonic() + PATIENCE_SECONDS
        while len(self.at[event]) < count and time.monotonic() < until:
            meanwhile()
            time.sleep(0.2)
        assert len(self.at[event]) == count, (event, len(self.at[event]), self.failures)
        return list(self.at[event].values())

    def stop(self) -> None:
        self.process.kill()
        if self.failures:
            print("requests that failed: " + "; ".join(f"{count} × {detail}" for detail, count in self.failures.most_common(5)))


class Observer:
    """Reads the API at a steady rate beside what is measured."""

    def __init__(self, daemon: Daemon):
        self.daemon, self.milliseconds, self.ends = daemon, [], threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.ends.is_set():
            began = time.monotonic()
            self.daemon.get("/v1/incidents?limit=10")
            self.milliseconds.append(1000 * (time.monotonic() - began))
            time.sleep(max(0, 1 / API_REQUESTS_PER_SECOND - (time.monotonic() - began)))

    def finish(self) -> list[float]:
        self.ends.set()
        self.thread.join()
        return self.milliseconds


@contextlib.contextmanager
def fleet_of(count: int, *options: str, memory: bool = True) -> Iterator[tuple[Daemon, Simulator]]:
    """A daemon and agents, whose state is in memory: on real hosts, each would have a disk of its own."""
    store, daemon = AgentStore(), None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="exhibit-agents.", dir="/dev/shm" if memory else None))
    try:
        daemon = Daemon(store)
        simulator = Simulator(store, count, folder, *options)
        yield daemon, simulator
        simulator.stop()
    finally:
        if daemon:
            daemon.kill()
        shutil.rmtree(folder)
        store.remove()


def resident_mebibytes(pid: int) -> float:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def processor_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def judge(name: str, value: float, unit: str, bar: float) -> bool:
    print(f"{name}: {value:.1f} {unit}, bar {bar:g} {unit}: {'ok' if value <= bar else 'TOO MUCH'}", flush=True)
    return value <= bar


def seen(daemon: Daemon) -> list[float]:
    """When each agent was seen last."""
    agents = daemon.get("/v1/agents")["agents"]
    return [datetime.fromisoformat(agent["seenAt"].replace("Z", "+00:00")).timestamp() for agent in agents]


def declare(daemon: Daemon) -> float:
    """Declares an incident for all agents. Returns when the request was sent."""
    capture = {"sources": ["okta"], "hostLabels": ["fleet=all"], "deadlineSeconds": 900}
    body = json.dumps({"title": "All hosts", "severity": 1, "play": "general", "capture": capture}).encode()
    headers = {"authorization": f"Bearer {daemon.token}", "content-type": "application/json"}
    began = time.time()
    with urllib.request.urlopen(urllib.request.Request(f"http://{daemon.address}/v1/incidents", body, headers)) as response:
        assert response.status == 201
    return began


def fleet(options: argparse.Namespace) -> bool:
    count = options.agents
    with fleet_of(count) as (daemon, simulator):
        right = [
            *enrolled(daemon, simulator, count),
            *idles(daemon, count, options.idle),
            *told(daemon, simulator, count),
            *comes_back(daemon, count),
        ]
    return all(right)


def enrolled(daemon: Daemon, simulator: Simulator, count: int) -> Iterator[bool]:
    began, silent = time.time(), [0.0]

    def look() -> None:
        silent.append(time.time() - min(seen(daemon), default=time.time()))
        time.sleep(5)

    waits = simulator.wait_for("waits", count, look)
    yield judge(f"{count} enrolments", max(waits) - began, "s", 300)
    yield judge("  longest silence of an agent meanwhile", max(silent), "s", SILENT_SECONDS_MAX)


def idles(daemon: Daemon, count: int, seconds: int) -> Iterator[bool]:
    pid = daemon.process.pid
    time.sleep(15)  # what the enrolments have begun ends
    before = processor_seconds(pid)
    time.sleep(seconds)
    share = 100 * (processor_seconds(pid) - before) / seconds
    yield judge(f"{count} idle agents: memory of the collector", resident_mebibytes(pid), "MiB", 300)
    yield judge(f"  processor of the collector, over {seconds} s", share, "% of a core", 15)


def told(daemon: Daemon, simulator: Simulator, count: int) -> Iterator[bool]:
    observer = Observer(daemon)
    began = declare(daemon)
    print(f"the declaration is answered in {1000 * (time.time() - began):.0f} ms")
    after = [at - began for at in simulator.wait_for("told", count)]
    api = observer.finish()
    print(f"  told: median {statistics.median(after):.1f} s; API meanwhile: {distribution(api)}")
    yield judge(f"{count} agents told", max(after), "s", 60)
    yield judge("  API meanwhile, 99 %", percentile(api, 0.99), "ms", 200)


def comes_back(daemon: Daemon, count: int) -> Iterator[bool]:
    idle = resident_mebibytes(daemon.process.pid)
    daemon.stop()
    began = time.time()
    daemon.start()
    times: list[float] = []
    while (back := sum(at >= began for at in times)) < count and time.time() - began < PATIENCE_SECONDS:
        time.sleep(2)
        times = seen(daemon)
    print(f"after a restart, {back} of {count} agents are back")
    yield back == count and judge("  the last of them", max(times) - began, "s", 120)
    yield judge("  peak memory against idle", daemon.peak_mebibytes() / idle, "×", 1.3)


def first_byte(options: argparse.Namespace) -> bool:
    store = AgentStore()
    daemon, state, trace = Daemon(store), store.folder / "agent", store.folder / "trace"
    agent, root = str(PROGRAMS / "exhibit-agent"), ["--state", str(state)]
    subprocess.run([agent, "enroll", "--server", f"https://{ADDRESS}", "--token", store.token(1), *root], check=True)
    process = subprocess.Popen([*WRITE_TRACER, str(trace), agent, "run", *root], stderr=subprocess.DEVNULL, start_new_session=True)
    sent = []
    for _ in range(options.runs):
        time.sleep(options.pause)
        sent.append(declare(daemon))
    time.sleep(options.pause)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    writes = re.findall(r"^\d+ +([\d.]+) write\(\d+<[^>]*/spool/[^>]*unfinished[^>]*>", trace.read_text(), re.MULTILINE)
    waits = [1000 * (min(at for at in map(float, writes) if at > begin) - begin) for begin in sent]
    print(f"declaration to the first byte on the host (under strace), {options.runs} runs: {distribution(waits)}")
    daemon.kill()
    store.remove()
    return judge("  median", statistics.median(waits), "ms", 300)


def deliveries(options: argparse.Namespace) -> bool:
    with fleet_of(options.agents, str(options.mib), memory=False) as (daemon, simulator):
        simulator.wait_for("waits", options.agents)
        declare(daemon)
        simulator.wait_for("sealed", options.agents)
        folder = pathlib.Path(simulator.process.args[4])
        bundles = list(folder.glob("*/state/spool/*.tar"))
        total = sum(bundle.stat().st_size for bundle in bundles)
        copies = pathlib.Path(tempfile.mkdtemp(prefix="exhibit-bench."))
        for number, bundle in enumerate(bundles):
            os.link(bundle, copies / f"{number}.tar")  # the agents remove theirs
        before = resident_mebibytes(daemon.process.pid)
        began = time.time()
        simulator.process.stdin.write("deliver\n")
        simulator.process.stdin.flush()
        seconds = max(simulator.wait_for("delivered", options.agents)) - began
        after = daemon.peak_mebibytes()
    print(f"{len(bundles)} bundles of {total / len(bundles) / 2**20:.1f} MiB: {seconds:.1f} s, {total / 2**20 / seconds:.0f} MiB/s")
    print(f"  memory of the collector: {before:.0f} MiB before, {after:.0f} MiB at most")
    baseline = put_by_curl(copies)
    shutil.rmtree(copies)
    print(f"  curl -T to nginx, which checks nothing and does not wait for the disk: {baseline:.1f} s")
    print(compare("  ratio", baseline, seconds, options.ratio))
    return True


def put_by_curl(files: pathlib.Path) -> float:
    """Seconds in which curl puts all files at once over TLS."""
    folder = files / "nginx"
    (folder / "put").mkdir(parents=True)
    folder.chmod(0o777)
    (folder / "put").chmod(0o777)
    files.chmod(0o755)
    make = "openssl req -x509 -newkey ed25519 -nodes -days 1 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(make.split(), cwd=folder, check=True, stderr=subprocess.DEVNULL)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    nginx = subprocess.Popen(["nginx", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    began = time.monotonic()
    curls = [
        subprocess.Popen(["curl", "-sSfk", "-T", file, f"https://127.0.0.1:18444/{file.name}"], stdout=subprocess.DEVNULL)
        for file in files.glob("*.tar")
    ]
    assert not any([curl.wait() for curl in curls])
    seconds = time.monotonic() - began
    nginx.terminate()
    nginx.wait()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scenarios = parser.add_subparsers(required=True, metavar="SCENARIO")

    def scenario(name: str, run, **numbers: tuple[int, str]) -> None:
        command = scenarios.add_parser(name)
        command.set_defaults(run=run)
        for option, (default, meaning) in numbers.items():
            command.add_argument(f"--{option}", type=type(default), default=default, metavar="N", help=f"{meaning} (default {default})")

    scenario("fleet", fleet, agents=(10_000, "agents"), idle=(120, "seconds that they idle"))
    scenario("first-byte", first_byte, runs=(15, "declarations"), pause=(8, "seconds between them"))
    scenario("deliveries", deliveries, agents=(100, "agents"), mib=(20, "MiB of logs on each host"), ratio=(2.0, "bar of the ratio"))
    options = parser.parse_args()
    build("simulator")
    sys.exit(0 if options.run(options) else 1)


if __name__ == "__main__":
    main()
