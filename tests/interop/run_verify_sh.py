#!/usr/bin/env python3
"""usage: run_verify_sh.py VECTORS_DIR [NNN...]: runs verify.sh over the vectors. It must refuse a bundle that SPEC.md calls invalid,
except for those in verify-sh-accepts.txt, a list that only shrinks; and say `ok`, incomplete or undecided where SPEC.md does, except for those in the second part."""
import json, pathlib, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).parent

def exceptions():
    accepts, refuses, into = {}, {}, None
    for line in (HERE / "verify-sh-accepts.txt").read_text().splitlines():
        if line.startswith("["): into = accepts if line == "[accepts]" else refuses
        elif line and not line.startswith("#"): into[line[:3]] = line
    return accepts, refuses

def run(folder, expectation):
    vector = json.loads(expectation.read_text())
    tar = expectation.with_suffix(".tar")
    bundle = tar if tar.exists() else expectation.with_suffix("")
    if len(vector["trust"]["keys"]) != 1 or vector["trust"]["bundle"]: return None
    found = subprocess.run(["bash", HERE / "verify.sh", bundle, folder / vector["trust"]["keys"][0]], capture_output=True)
    return vector["exit"], found.returncode, found.stderr.decode().strip().split("\n")[-1]

def main():
    if len(sys.argv) < 2: sys.exit(__doc__)
    folder, bad, count = pathlib.Path(sys.argv[1]), 0, 0
    accepts, refuses = exceptions()
    vectors = [v for v in sorted(folder.glob("[0-9][0-9][0-9]-*.json")) if not sys.argv[2:] or v.name[:3] in sys.argv[2:]]
    with ThreadPoolExecutor(2) as pool:
        for vector, result in zip(vectors, pool.map(lambda v: run(folder, v), vectors)):
            if result is None: continue
            (wanted, found, said), number, count = result, vector.name[:3], count + 1
            if wanted == 1: wrong = (found != 1) != (number in accepts)
            else: wrong = (found != wanted) != (number in refuses)             # 3, too: what is undecided is not invalid
            if wrong:
                bad += 1
                print(f"{vector.stem}: SPEC.md {wanted}, verify.sh {found}: {said}")
    print(f"{count} run, {bad} failed")
    sys.exit(bad > 0 or count == 0)

if __name__ == "__main__":
    main()
