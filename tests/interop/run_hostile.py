#!/usr/bin/env python3
"""usage: run_hostile.py DIR: verifies the bundles that `make-vectors --hostile DIR` wrote, and holds each run to 64 MiB (SPEC.md §8).
The programs that the verifier starts are measured too."""
import os, pathlib, sys, time

MEBIBYTES_MAX = 64

def main():
    if len(sys.argv) != 2: sys.exit(__doc__)
    verifier, over = str(pathlib.Path(__file__).with_name("exhibit_verify.py")), 0
    bundles = sorted(pathlib.Path(sys.argv[1]).glob("*.tar"))
    for bundle in bundles:
        begin = time.monotonic()
        output = os.open(os.devnull, os.O_WRONLY)
        child = os.posix_spawn(sys.executable, [sys.executable, "-B", verifier, str(bundle)], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, output, 1)])
        _, status, usage = os.wait4(child, 0)
        os.close(output)
        peak, over = usage.ru_maxrss / 1024, over + (usage.ru_maxrss / 1024 >= MEBIBYTES_MAX)
        print(f"{peak:6.1f} MiB {usage.ru_utime + usage.ru_stime:6.1f} CPU s {time.monotonic() - begin:6.1f} s  exit {os.waitstatus_to_exitcode(status)}  {bundle.stem}")
    sys.exit(f"{over} above {MEBIBYTES_MAX} MiB" if over else 0 if len(bundles) >= 18 else "too few bundles")

if __name__ == "__main__":
    main()
