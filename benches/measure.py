"""Compares commands: measure.py RUNS FILE.tsv, where each line has a name, a command that prepares, and the command to measure.

The commands run in turn, A B C A B C …, so that a change in the machine's speed affects all of them alike. The first round warms
up and does not count. Prints a table of medians: wall seconds and their range, processor seconds, the peak memory of the largest
process, and wall time as a multiple of the first command's.
"""

import os
import shlex
import statistics
import subprocess
import sys
import time


def run(command: str) -> tuple[float, float, int]:
    """Wall seconds, processor seconds, and peak resident KiB of the largest process."""
    start = time.monotonic()
    child = subprocess.Popen(shlex.split(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 4), f"exit code {code}: {command}"
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


runs, file = int(sys.argv[1]), sys.argv[2]
commands = [line.rstrip("\n").split("\t") for line in open(file)]
results: dict[str, list] = {name: [] for name, _, _ in commands}
for round_ in range(runs + 1):
    for name, prepare, command in commands:
        subprocess.run(prepare, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result = run(command)
        if round_ > 0 or runs == 1:
            results[name].append(result)

first = [wall for wall, _, _ in results[commands[0][0]]]
print("| program | wall s | range | CPU s | peak MiB | × the first's time |")
print("| --- | --- | --- | --- | --- | --- |")
for name, rows in results.items():
    walls = [wall for wall, _, _ in rows]
    ratio = statistics.median(wall / one for wall, one in zip(walls, first))
    cpu, peak = statistics.median(cpu for _, cpu, _ in rows), max(kib for _, _, kib in rows) / 1024
    print(f"| {name} | {statistics.median(walls):.2f} | {min(walls):.2f}–{max(walls):.2f} | {cpu:.2f} | {peak:.0f} | {ratio:.2f} |")
