#!/usr/bin/env python3
"""usage: run_vectors.py VECTORS_DIR [NNN...]: verifies every vector, and compares the five findings and the exit code.

A vector is NNN-name.json beside its bundle NNN-name.tar or NNN-name/. Keys are paths relative to VECTORS_DIR."""
import json, pathlib, sys
import exhibit_verify

FINDINGS = ["completeness", "integrity", "log", "signer", "time"]

def check(folder, expectation):
    """-> a list of mismatches"""
    vector = json.loads(expectation.read_text())
    tar = expectation.with_suffix(".tar")
    bundle = tar if tar.exists() else expectation.with_suffix("")
    if not bundle.exists():
        return ["no bundle"]
    if sorted(vector["expect"]) != FINDINGS:
        return ["not five findings"]
    keys = [(folder / name).read_bytes() for name in vector["trust"]["keys"]]
    verifier = exhibit_verify.Verifier(bundle, keys, vector["trust"]["bundle"])
    findings, code = verifier.run()
    found = {name: exhibit_verify.summary(finding) for name, finding in findings.items()} | {"exit": code}
    expected = vector["expect"] | {"exit": vector["exit"]}
    return [f"{name}: expected {expected[name]}, found {found[name]} {findings.get(name, ('',))[-1]!r}   [{vector['rule']}]"
            for name in expected if expected[name] != found.get(name)]

def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, passed, failed = pathlib.Path(sys.argv[1]), 0, 0
    for expectation in sorted(folder.glob("[0-9][0-9][0-9]-*.json")):
        if sys.argv[2:] and expectation.name[:3] not in sys.argv[2:]:
            continue
        try:
            mismatches = check(folder, expectation)
        except Exception as error:                      # a verifier that stops is a failed vector, not a stopped run
            mismatches = [f"stopped: {error!r}"]
        passed, failed = passed + (not mismatches), failed + bool(mismatches)
        for mismatch in mismatches:
            print(f"{expectation.stem}: {mismatch}")
    if passed + failed < 60 and not sys.argv[2:]:
        print("fewer than 60 vectors")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)

if __name__ == "__main__":
    main()
