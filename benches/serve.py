"""Times `exhibit serve` under load, and counts what became of every request.

  python3 benches/serve.py at-once [N]                       N declarations at once over the API [200]
  python3 benches/serve.py storm [RATE [SECONDS [TIMES]]]    signed webhooks at a rate [1000, 30], each incident's sent TIMES times [50]
  python3 benches/serve.py first-byte [RUNS]                 from a webhook to the first byte of its evidence on disk [15]

Builds first. Needs strace for `first-byte`. Each incident is captured: this machine, by the daemon under load. Run it on a machine that
does nothing else; the sender of the load runs on it too.
"""

import base64
import hashlib
import hmac
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
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "dist"
KEY = b"0123456789abcdef0123456789abcdef"
CONFIG = f"""
[capture]
settle-after-seconds = []
[sources.aws_cloudtrail]
enabled = false
[hooks.standard]
secrets = ["whsec_{base64.b64encode(KEY).decode()}"]
"""


class Daemon:
    """`exhibit serve` on a store of its own."""

    def __init__(self, tracer: list | None = None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="exhibit-bench."))
        (self.folder / "exhibit.toml").write_text(CONFIG)
        self.token = json.loads(self.run("token", "create", "--role", "admin", "--json"))["token"]
        command = [*(tracer or []), TARGET / "exhibit", "--store", self.folder, "serve", "--listen", "127.0.0.1:0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=self.environment())
        self.address = json.loads(self.process.stdout.readline())["listening"].removeprefix("http://")

    def environment(self) -> dict:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "AWS_EC2_METADATA_DISABLED": "true"}

    def run(self, *arguments: str) -> str:
        command = [TARGET / "exhibit", "--store", self.folder, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=self.environment()).stdout

    def get(self, path: str) -> dict:
        request = urllib.request.Request(f"http://{self.address}{path}", headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def incidents(self) -> list[str]:
        ids, path = [], "/v1/incidents?limit=100"
        while path:
            page = self.get(path)
            ids += [incident["id"] for incident in page["incidents"]]
            path = page.get("next") and f"/v1/incidents?limit=100&cursor={page['next']}"
        return ids

    def peak(self) -> float:
        """MiB resident at most."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def load(self, requests: list[dict], connections: int, rate: float) -> list[dict]:
        command = [TARGET / "examples/load", self.address, str(connections), str(rate)]
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait() == 0, "it did not stop in peace"
        shutil.rmtree(self.folder)


def hook(number: int) -> dict:
    """A webhook about incident `number`, signed now."""
    body = json.dumps({"type": "alert.fired", "data": {"id": f"alert-{number}", "title": f"Alert {number}", "severity": "high"}})
    identity, now = f"msg_{number}", str(int(time.time()))
    signature = base64.b64encode(hmac.digest(KEY, f"{identity}.{now}.{body}".encode(), hashlib.sha256)).decode()
    headers = {"content-type": "application/json", "webhook-id": identity, "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"}
    return {"path": "/v1/hooks/standard", "headers": headers, "body": body}


def counted(daemon: Daemon, answers: list[dict], wanted: int) -> None:
    """One incident for each that was declared, and the bundle of each, before it is too late to ask."""
    wrong = [answer for answer in answers if answer["status"] not in (200, 201)]
    assert not wrong, (len(wrong), wrong[:3])
    fresh = sum(answer["status"] == 201 for answer in answers)
    told = {json.loads(answer["body"])["id"] for answer in answers}
    there = daemon.incidents()
    assert len(there) == len(set(there)) == wanted == fresh == len(told) and set(there) == told, (len(there), fresh, len(told))
    began = time.monotonic()
    for incident in there:
        while len(bundles := daemon.get(f"/v1/incidents/{incident}/bundles")["bundles"]) != 1:
            assert not bundles and time.monotonic() - began < 1200, (incident, bundles)
            time.sleep(0.2)
    print(f"  {wanted} incidents, none lost and none doubled, a bundle of each {time.monotonic() - began:.0f} s later; peak {daemon.peak():.0f} MiB")


def spread(name: str, values: list[float]) -> None:
    ordered = sorted(values)
    print(f"{name}: median {statistics.median(values):.0f} ms, 99 % within {ordered[int(len(ordered) * 0.99)]:.0f} ms, all within {ordered[-1]:.0f} ms")


def at_once(wanted: int = 200) -> None:
    daemon = Daemon()
    headers = {"content-type": "application/json", "authorization": f"Bearer {daemon.token}"}
    body = lambda n: json.dumps({"title": f"Declared {n}", "severity": 2, "play": "general"})
    requests = [{"path": "/v1/incidents", "headers": headers | {"idempotency-key": f"n-{n}"}, "body": body(n)} for n in range(wanted)]
    answers = daemon.load(requests, wanted, 0)
    spread(f"{wanted} declarations at once", [answer["ms"] for answer in answers])
    counted(daemon, answers, wanted)
    daemon.stop()


def storm(rate: int = 1000, seconds: int = 30, times: int = 50) -> None:
    daemon = Daemon()
    total = rate * seconds
    requests = [hook(n // times) for n in range(total)]  # those about one incident come at the same time, on many connections
    answers = daemon.load(requests, 128, rate)
    spread(f"{total} webhooks at {rate}/s, {times} for each incident", [answer["ms"] for answer in answers])
    counted(daemon, answers, -(-total // times))
    daemon.stop()


def first_byte(runs: int = 15) -> None:
    trace = pathlib.Path(tempfile.mkdtemp(prefix="exhibit-bench.")) / "trace"
    daemon = Daemon(["strace", "-f", "-qq", "-y", "-ttt", "-e", "trace=write", "-o", str(trace)])
    sent = []
    for number in range(runs):
        time.sleep(2)
        sent.append(time.time())
        request = hook(number)
        call = urllib.request.Request(f"http://{daemon.address}{request['path']}", request["body"].encode(), request["headers"])
        with urllib.request.urlopen(call) as answer:
            assert answer.status == 201
    time.sleep(2)
    (child,) = pathlib.Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)
    daemon.process.wait()
    firsts: dict[str, float] = {}
    for line in trace.read_text().splitlines():
        found = re.match(r"\d+ +([\d.]+) write\(\d+<([^>]*/work/[^>]*)>", line)
        if found:
            firsts.setdefault(found[2], float(found[1]))
    # the first blob of a bundle says which incident it is; the second is evidence
    waits = [1000 * (sorted(at for at in firsts.values() if at > begin)[1] - begin) for begin in sent]
    print(f"webhook sent to first byte of evidence written (under strace): median {statistics.median(waits):.0f} ms, {min(waits):.0f}–{max(waits):.0f} ms, {runs} runs")
    shutil.rmtree(daemon.folder)


if __name__ == "__main__":
    what = {"at-once": at_once, "storm": storm, "first-byte": first_byte}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if what is None:
        sys.exit(__doc__)
    subprocess.run(["cargo", "build", "--profile", "dist", "--locked", "--quiet", "--workspace", "--example", "load"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "build", "--profile", "dist", "--locked", "--quiet"], cwd=ROOT, check=True)
    what(*map(int, sys.argv[2:]))
