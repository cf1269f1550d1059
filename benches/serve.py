"""Measures `exhibit serve` under load, and checks that no incident is lost or declared twice.

Each incident captures this machine, in the daemon under load. Run the benchmark on a machine that does nothing else: the sender
of the load runs on it too. It builds the programs first.
"""

import argparse
import collections
import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from common import PROGRAMS, WRITE_TRACER, build, compare, distribution, first_writes, percentile
from daemon import Account, Daemon, Store, are_consecutive, hook

CONNECTIONS = 128
SLOW_MILLISECONDS = 1000
# Equal webhooks of one incident.
DELIVERIES = 20
REPEAT_AFTER_SECONDS = 3
RATIO_MAX = 1.5


def at_once(options: argparse.Namespace) -> bool:
    count, daemon = options.count, Daemon(Store())
    headers = {"content-type": "application/json", "authorization": f"Bearer {daemon.token}"}
    bodies = [json.dumps({"title": f"Declared {n}", "severity": 2, "play": "general"}) for n in range(count)]
    requests = [
        {"path": "/v1/incidents", "headers": headers | {"idempotency-key": f"n-{n}"}, "body": body} for n, body in enumerate(bodies)
    ]
    responses = daemon.load(requests, count, 0)
    print(f"{count} declarations at once: {distribution([response['ms'] for response in responses])}")
    return finish(daemon, Account(list(range(count)), responses))


def finish(daemon: Daemon, account: Account) -> bool:
    """Checks the incidents of a daemon, waits for their bundles, and stops it."""
    listed = daemon.incidents()
    is_right = account.check(listed) and len(listed) == len(account.ids)
    daemon.wait_for_bundles(account.incidents())
    daemon.stop()
    daemon.store.remove()
    return is_right


def storm(options: argparse.Namespace) -> bool:
    total, alerts = options.rate * options.seconds, -(-options.rate * options.seconds // options.deliveries)
    daemon, declared, is_right = Daemon(Store()), 0, True
    print(f"{total} webhooks at {options.rate}/s, {options.deliveries} for each incident")
    for run in range(1, options.runs + 1):
        # Webhooks about one incident are sent one after the other, on many connections.
        subjects = [declared + n // options.deliveries for n in range(total)]
        responses = daemon.load([hook(alert) for alert in subjects], CONNECTIONS, options.rate)
        print(f"run {run}: {distribution([response['ms'] for response in responses])}")
        report_slow(responses, options.rate)
        account, listed = Account(subjects, responses), daemon.incidents()
        declared += alerts
        is_right = account.check(listed) and is_right
        if len(listed) != declared:
            print(f"  {len(listed)} incidents are listed, {declared} were declared")
            is_right = False
        daemon.wait_for_bundles(account.incidents())  # the next run starts on an idle daemon
        if options.fresh and run < options.runs:
            daemon.stop()
            daemon.store.remove()
            daemon, declared = Daemon(Store()), 0
    daemon.stop()
    daemon.store.remove()
    return is_right


def report_slow(responses: list[dict], rate: int) -> None:
    """When in a run the slow responses were due, by the second."""
    slow = [n / rate for n, response in enumerate(responses) if response["ms"] > SLOW_MILLISECONDS]
    if slow:
        by_second = sorted(collections.Counter(int(due) for due in slow).items())
        print(f"  {len(slow)} responses took more than 1 s; sent between {slow[0]:.2f} s and {slow[-1]:.2f} s of the run")
        print("  by second of the run: " + ", ".join(f"{second} s: {count}" for second, count in by_second))


def deliveries(options: argparse.Namespace) -> bool:
    # The same load at the same rate: only when the deliveries of an incident are due differs.
    apart, together, at_once = "repeats 3 s after the first", "one after the other", "at the same moment"
    space = 1 / options.rate
    due_after = {
        apart: [n and REPEAT_AFTER_SECONDS + n * space for n in range(DELIVERIES)],
        together: [n * space for n in range(DELIVERIES)],
        at_once: [0] * DELIVERIES,
    }
    daemon, first, is_right = Daemon(Store()), 0, True
    latencies: dict[str, list[float]] = {name: [] for name in due_after}
    for turn in range(options.turns):
        for name in due_after if turn % 2 else reversed(due_after):
            begins = [(alert, alert * DELIVERIES * space) for alert in range(options.incidents)]
            # The sender takes them in the order in which they are due.
            sent = sorted((begin + after, first + alert) for alert, begin in begins for after in due_after[name])
            subjects = [alert for _, alert in sent]
            responses = daemon.load([hook(alert) | {"dueSeconds": due} for due, alert in sent], CONNECTIONS, 0)
            milliseconds = [response["ms"] for response in responses]
            latencies[name] += milliseconds
            print(f"turn {turn + 1}, {name}: {distribution(milliseconds)}")
            account, listed = Account(subjects, responses), daemon.incidents()
            first += options.incidents
            is_right = account.check(listed) and len(listed) == first and are_consecutive(listed) and is_right
            print(f"  incident numbers are {'consecutive' if are_consecutive(listed) else 'NOT CONSECUTIVE'}")
            daemon.wait_for_bundles(account.incidents())
    daemon.stop()
    daemon.store.remove()
    for name, milliseconds in latencies.items():
        print(f"{DELIVERIES} deliveries of each incident, {name}: {distribution(milliseconds)}")
    # At the same moment has no bar: all of them wait for the one write, and for each other.
    for share, of in [("median", statistics.median), ("99 %", lambda values: percentile(values, 0.99))]:
        print(compare(f"{share}, {together} against {apart}", of(latencies[apart]), of(latencies[together]), RATIO_MAX))
    return is_right


def kills(options: argparse.Namespace) -> bool:
    daemon, ends = Daemon(Store()), threading.Event()
    print(f"{options.kills} × kill -9 while {options.clients} clients declare incidents and upload attachments")
    clients = [Client(daemon, number, ends) for number in range(options.clients)]
    began, starts = time.monotonic(), []
    for _ in range(options.kills):
        time.sleep(random.uniform(0.1, 1))
        daemon.kill()
        killed = time.monotonic()
        daemon.start()
        starts.append(1000 * (time.monotonic() - killed))
    ends.set()
    for client in clients:
        client.thread.join()
    print(f"killed within {time.monotonic() - began:.0f} s; listens again after: {distribution(starts)}")
    declared = [incident for client in clients for incident in client.incidents]
    attached = [receipt for client in clients for receipt in client.attachments]
    retries = sum(client.retries for client in clients)
    listed, is_right = daemon.incidents(), True
    print(f"{len(declared)} incidents and {len(attached)} attachments acknowledged, {retries} requests sent again")
    for trouble, some in [
        ("acknowledged incidents are not listed", set(declared) - set(listed)),
        ("incidents are listed twice", {incident for incident in listed if listed.count(incident) > 1}),
        ("listed incidents were never acknowledged", set(listed) - set(declared)),
    ]:
        print(f"  {len(some)} {trouble}{': ' if some else ''}{', '.join(sorted(some)[:3])}")
        is_right = is_right and not some
    daemon.wait_for_bundles(declared)
    missing = [receipt for receipt in attached if receipt["id"] not in [b["id"] for b in daemon.bundles(receipt["incident"])]]
    print(f"  {len(missing)} acknowledged attachments are missing")
    return verify_all(daemon, declared) and is_right and not missing


class Client:
    """Declares incidents and uploads attachments. Sends a request again, under the same key, until a response arrives."""

    def __init__(self, daemon: Daemon, number: int, ends: threading.Event):
        self.daemon, self.number, self.ends = daemon, number, ends
        self.incidents: list[str] = []
        self.attachments: list[dict] = []
        self.retries = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.ends.is_set():
            key = f"client-{self.number}-{len(self.incidents)}"
            body = json.dumps({"title": key, "severity": 2, "play": "general"}).encode()
            incident = self.post("/v1/incidents", body, {"content-type": "application/json", "idempotency-key": key})["id"]
            self.incidents.append(incident)
            path = f"/v1/incidents/{incident}/attachments?name={key}"
            self.attachments.append(self.post(path, os.urandom(200_000), {"content-type": "application/octet-stream"}))
            time.sleep(0.2)  # captures get some of the processor

    def post(self, path: str, body: bytes, headers: dict) -> dict:
        while True:
            headers["authorization"] = f"Bearer {self.daemon.token}"
            request = urllib.request.Request(f"http://{self.daemon.address}{path}", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    return json.load(response)
            except urllib.error.HTTPError as refused:
                assert refused.code == 503, (path, refused.code, refused.read())
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                pass  # killed before or while it answered
            self.retries += 1
            time.sleep(0.05)


def verify_all(daemon: Daemon, incidents: list[str]) -> bool:
    """Verifies every bundle of the incidents, looks for files that are left over, and stops the daemon."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="exhibit-bench."))
    headers = {"Authorization": f"Bearer {daemon.token}"}

    def download(path: str, file: pathlib.Path) -> None:
        request = urllib.request.Request(f"http://{daemon.address}{path}", headers=headers)
        with urllib.request.urlopen(request) as response, file.open("wb") as to:
            shutil.copyfileobj(response, to)

    key, codes = folder / "key.pem", collections.Counter()
    download("/v1/key", key)
    for bundle in [bundle for incident in incidents for bundle in daemon.bundles(incident)]:
        tar = folder / "bundle.tar"
        download(f"/v1/bundles/{bundle['id']}", tar)
        command = [PROGRAMS / "exhibit-audit", "verify", "--key", key, tar]
        codes[subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode] += 1
    print("  exit codes of exhibit-audit verify: " + ", ".join(f"{code}: {count}" for code, count in sorted(codes.items())))
    daemon.stop()
    work = [path.name for path in (daemon.store.folder / "work").glob("*")]
    print(f"  {len(work)} files are left in the folder for work{': ' if work else ''}{', '.join(sorted(work)[:3])}")
    with contextlib.closing(sqlite3.connect(daemon.store.folder / "exhibit.db")) as database:
        (integrity,) = database.execute("PRAGMA integrity_check").fetchone()
    print(f"  integrity of the database: {integrity}")
    shutil.rmtree(folder)
    daemon.store.remove()
    return set(codes) <= {0, 4} and integrity == "ok"


def first_byte(options: argparse.Namespace) -> bool:
    store = Store()
    trace = store.folder / "trace"
    daemon = Daemon(store, [*WRITE_TRACER, str(trace)])
    sent = []
    for number in range(options.runs):
        time.sleep(2)
        sent.append(time.time())
        request = hook(number)
        call = urllib.request.Request(f"http://{daemon.address}{request['path']}", request["body"].encode(), request["headers"])
        with urllib.request.urlopen(call) as response:
            assert response.status == 201
    time.sleep(2)
    (child,) = pathlib.Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)
    daemon.process.wait()
    writes = first_writes(trace)
    waits = [1000 * ([at for at in writes if at > begin][1] - begin) for begin in sent]
    print(f"webhook sent to first byte of evidence written (under strace), {options.runs} runs: {distribution(waits)}")
    daemon.store.remove()
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scenarios = parser.add_subparsers(required=True, metavar="SCENARIO")

    def scenario(name: str, run, about: str, **numbers: tuple[int, str]) -> argparse.ArgumentParser:
        command = scenarios.add_parser(name, help=about, description=about)
        command.set_defaults(run=run)
        for option, (default, meaning) in numbers.items():
            command.add_argument(f"--{option}", type=int, default=default, metavar="N", help=f"{meaning} (default {default})")
        return command

    scenario("at-once", at_once, "declare many incidents over the API at the same moment", count=(200, "incidents"))
    command = scenario(
        "storm",
        storm,
        "send signed webhooks at a steady rate, several times, and report slow responses",
        rate=(1000, "webhooks a second"),
        seconds=(30, "length of a run"),
        deliveries=(50, "webhooks for each incident"),
        runs=(10, "runs"),
    )
    command.add_argument("--fresh", action="store_true", help="use a fresh store for each run")
    scenario(
        "kills",
        kills,
        "kill the daemon again and again while it works, and check that nothing that it acknowledged is lost",
        kills=(50, "kills"),
        clients=(3, "clients that declare and upload"),
    )
    scenario(
        "deliveries",
        deliveries,
        f"send {DELIVERIES} equal webhooks of each incident together, and compare with repeats that come {REPEAT_AFTER_SECONDS} s later",
        incidents=(100, "new incidents for each side of a turn"),
        rate=(200, "webhooks a second"),
        turns=(3, "turns, each measures both sides"),
    )
    scenario(
        "first-byte", first_byte, "time from a webhook to the first byte of its evidence on disk; needs strace", runs=(15, "webhooks")
    )
    options = parser.parse_args()
    build("load")
    sys.exit(0 if options.run(options) else 1)


if __name__ == "__main__":
    main()
