"""A store, `exhibit serve` on it, and the load that other benchmarks put on it."""

import atexit
import base64
import collections
import hashlib
import hmac
import json
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

from common import PROGRAMS, environment

HOOK_KEY = b"0123456789abcdef0123456789abcdef"
# Each incident captures this machine and nothing else.
CONFIG = f"""
[capture]
settle-after-seconds = []
[sources.aws_cloudtrail]
enabled = false
[hooks.standard]
secrets = ["whsec_{base64.b64encode(HOOK_KEY).decode()}"]
"""
CAPTURED_SECONDS_MAX = 1200


class Store:
    """A store in a scratch folder."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="exhibit-bench."))
        (self.folder / "exhibit.toml").write_text(CONFIG)

    def exhibit(self, *arguments: str) -> list[str]:
        return [str(PROGRAMS / "exhibit"), "--store", str(self.folder), *arguments]

    def run(self, *arguments: str, tracer: list[str] | None = None) -> str:
        command = [*(tracer or []), *self.exhibit(*arguments)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment(self.folder)).stdout

    def remove(self) -> None:
        shutil.rmtree(self.folder)


class Daemon:
    """`exhibit serve` on a store."""

    def __init__(self, store: Store, tracer: list[str] | None = None):
        self.store = store
        self.token = json.loads(store.run("token", "create", "--role", "admin", "--json"))["token"]
        self.address = "127.0.0.1:0"
        self.start(tracer)

    def start(self, tracer: list[str] | None = None) -> None:
        """Starts the program, again at the address that it had, and waits until it listens."""
        command = [*(tracer or []), *self.store.exhibit("serve", "--listen", self.address, "--json")]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(self.store.folder)
        )
        atexit.register(self.process.kill)  # after a failure, too
        self.address = json.loads(self.process.stdout.readline())["listening"].removeprefix("http://")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def get(self, path: str) -> dict:
        request = urllib.request.Request(f"http://{self.address}{path}", headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def incidents(self) -> list[str]:
        ids, path = [], "/v1/incidents?limit=100"
        while path:
            page = self.get(path)
            ids += [incident["id"] for incident in page["incidents"]]
            path = page.get("next") and f"/v1/incidents?limit=100&cursor={page['next']}"
        return ids

    def bundles(self, incident: str) -> list[dict]:
        return self.get(f"/v1/incidents/{incident}/bundles")["bundles"]

    def peak_mebibytes(self) -> float:
        """The most memory that the process has had resident."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def load(self, requests: list[dict], connections: int, rate: float) -> list[dict]:
        """Sends the requests at `rate` a second, or when each is due, and returns a response for each."""
        command = [PROGRAMS / "examples/load", self.address, str(connections), str(rate)]
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def wait_for_bundles(self, incidents: list[str]) -> None:
        """Waits until each incident has its one bundle of this machine."""
        began = time.monotonic()
        for incident in incidents:
            while len(bundles := [bundle for bundle in self.bundles(incident) if bundle["source"] == "host"]) != 1:
                assert not bundles and time.monotonic() - began < CAPTURED_SECONDS_MAX, (incident, bundles)
                time.sleep(0.2)
        seconds, memory = time.monotonic() - began, self.peak_mebibytes()
        print(f"  each of {len(incidents)} incidents has its bundle {seconds:.0f} s later; peak memory {memory:.0f} MiB")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait() == 0, "the daemon did not shut down cleanly"


def hook(alert: int) -> dict:
    """A webhook about this alert, signed now."""
    body = json.dumps({"type": "alert.fired", "data": {"id": f"alert-{alert}", "title": f"Alert {alert}", "severity": "high"}})
    identity, now = f"msg_{alert}", str(int(time.time()))
    signature = base64.b64encode(hmac.digest(HOOK_KEY, f"{identity}.{now}.{body}".encode(), hashlib.sha256)).decode()
    headers = {"content-type": "application/json", "webhook-id": identity, "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"}
    return {"path": "/v1/hooks/standard", "headers": headers, "body": body}


class Account:
    """What became of requests: which were refused, and which incidents were lost or declared twice."""

    def __init__(self, subjects: list, responses: list[dict]):
        """`subjects` says for each response what its request was about; equal subjects are one incident."""
        self.failed = [response for response in responses if response["status"] not in (200, 201)]
        self.ids: dict = collections.defaultdict(set)
        for subject, response in zip(subjects, responses, strict=True):
            self.ids[subject]
            if response["status"] in (200, 201):
                self.ids[subject].add(json.loads(response["body"])["id"])

    def incidents(self) -> list[str]:
        return [incident for ids in self.ids.values() for incident in ids]

    def check(self, listed: list[str]) -> bool:
        """Compares with the incidents that the daemon lists, prints the result, and returns whether all is right."""
        counts = collections.Counter(listed)
        lost = [subject for subject, ids in self.ids.items() if not ids or any(incident not in counts for incident in ids)]
        doubled = [subject for subject, ids in self.ids.items() if len(ids) > 1]
        doubled += [incident for incident, count in counts.items() if count > 1]
        print(f"  {len(self.ids)} incidents: {len(lost)} lost, {len(doubled)} doubled, {len(self.failed)} requests failed")
        for name, some in [("lost", lost), ("doubled", doubled), ("failed", self.failed)]:
            if some:
                print(f"    {name}: {some[:3]}")
        return not (lost or doubled or self.failed)


def are_consecutive(listed: list[str]) -> bool:
    """True if the numbers of incidents have no holes: INC-2026-001, -002, …"""
    return sorted(int(incident.rsplit("-", 1)[1]) for incident in listed) == list(range(1, len(listed) + 1))
