#!/usr/bin/env python3
"""usage: mutate.py [--seconds N | --count N] [--seed N] --audit EXHIBIT_AUDIT: changes the structure of bundles, makes everything above the
change anew and signs it with the trusted key, and compares the verdicts of exhibit-audit, exhibit_verify.py and, of a sample, verify.sh.
Five findings and the exit code must be equal, but for what `agree` lets pass. `verify.sh` must accept what they accept, and refuse what they refuse but for SHELL.
A seed and a count always give the same mutants; without a seed it is random. `tests/run.sh --mutants 20000` is a long campaign."""
import argparse, base64, copy, hashlib, json, pathlib, random, struct, subprocess, tempfile, time
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
import exhibit_verify as spec

HERE = pathlib.Path(__file__).parent
VECTORS = HERE / "../../evidence-format/vectors"
KEY = VECTORS / "keys/a.pub.pem"
# §7.1: where one item breaks several of these rules, any of their codes is right.
ITEM_CODES = {"failed frames", "failed segment-list", "failed item-size", "failed warc", "failed item-root"}
# What verify.sh does not look at (verify-sh-accepts.txt): its `ok` is no disagreement where a change of this kind has this finding.
SHELL = {("index spelt", "failed index"), ("item frames", "failed frames"), ("item warc", "failed segment-list")}
SECRETS = {name: Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for name, seed in (("a", 0xa1), ("b", 0xb2))}
VALUES = [0, 1, 2, -1, 2**53 - 1, 2**53, None, True, "", "x", "complete", "failed", "permission_denied", "process_ended", [], {}, 1.5, "\u007f\u202e\U0001f600", "2026-11-23T13:40:17.25Z",
          "0001-01-01T00:00:00Z", "9998-12-31T23:59:59.999999999Z", "2026-02-29T00:00:00Z", "sha256:" + "ab" * 32, {"from": "2026-11-23T13:40:17Z", "until": "2026-11-23T13:40:18Z"}, "../../x", "INC-2", "witness", [{}], [{"x": -1}]]
encode = lambda value: spec.jcs(value).encode("utf-8", "surrogatepass")
digest = lambda blob: "sha256:" + hashlib.sha256(blob).hexdigest()

def read(path):  # the files of a tar
    tar, found = spec.Tar(path), {}
    while (head := tar.peek())[0]: found[head[0]] = b"".join(spec.pieces(tar, tar.take(head[0])))
    return found
def raw_frame(data):  # zstd without compression: a window of 2 MiB's content in blocks of 128 KiB
    size = struct.pack("<BI", 0xa0, len(data))
    blocks = [data[i:i + 131072] for i in range(0, len(data), 131072)] or [b""]
    return b"\x28\xb5\x2f\xfd" + size + b"".join((len(b) << 3 | (b is blocks[-1])).to_bytes(3, "little") + b for b in blocks)
def layer_of(random, plain, honest):
    cut = random.choice([len(plain) or 1, 1 + len(plain) // 2, 100])
    frames = [raw_frame(plain[i:i + cut]) for i in range(0, len(plain), cut)]
    table = b"".join(struct.pack("<II", len(f), len(plain[i * cut:(i + 1) * cut])) for i, f in enumerate(frames))
    salt, seek = struct.pack("<II", 0x184D2A50, 32) + bytes(32), struct.pack("<II", 0x184D2A5E, len(table) + 17) + table + struct.pack("<II", 40, 0) + struct.pack("<IBI", len(frames) + 1, 0, 0x8F92EAB1)
    parts = [*frames, salt, seek]
    if not honest: parts = random.choice([parts[:-1], parts[:-2] + parts[-1:], parts[1:], [salt, *frames, seek], parts + [b"x"], parts + frames[:1], [*frames, salt, salt, seek], parts[::-1]])
    return b"".join(parts)
def leb(number, padded=False):
    out = []
    while number >= 128: out, number = out + [number & 127 | 128], number >> 7
    return bytes(out + ([number | 128, 0] if padded else [number]))
def unzstd(blob): return subprocess.run(["zstd", "-dcq"], input=blob, capture_output=True).stdout if blob else b""
def numbers(blob):
    found, value, shift = [], 0, 0
    for byte in blob:
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128: found, value, shift = found + [value], 0, 0
    return found
def root(key, name, plain, cuts):
    import io
    return spec.tree_root(io.BytesIO(plain), key, name, iter([(n >> 1, n & 1) for n in cuts]))

def spots(value, path=()):  # every place in a document
    yield path
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else (): yield from spots(value[name], path + (name,))
def change(random, document):
    """One change of a document, in place where there is one; gives its kind."""
    *way, last = random.choice([spot for spot in spots(document) if spot] or [(None,)])
    if last is None: return "empty"
    holder = document
    for name in way: holder = holder[name]
    others = [spot for spot in spots(document) if spot]
    kind = random.randrange(8)
    if kind == 0:
        del holder[last]
        return "removed"
    if kind == 1 and isinstance(holder, dict):
        holder[random.choice(["x", "", "Name", "\u00e9", "notBefore", "subject", "artifactType"])] = random.choice(VALUES)
        return "added"
    if kind == 2 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
        return "repeated"
    if kind == 3 and isinstance(holder, list):
        random.shuffle(holder)
        return "shuffled"
    value = random.choice(VALUES)
    if kind == 4 and isinstance(holder[last], int): value = holder[last] + random.choice([-1, 1])
    elif kind == 5:
        value = document
        for name in random.choice(others): value = value[name]
    holder[last] = copy.deepcopy(value)
    return "replaced"
def spell(random, raw):  # other spellings, without care
    at = random.randrange(len(raw) + 1)
    return random.choice([raw + b" ", raw + b"\n", b"\xef\xbb\xbf" + raw, raw[:at] + b" " + raw[at:], raw.replace(b'"version":1', b'"version":1.0'), raw.replace(b"/", b"\\/"), raw.replace(b"a", b"\\u0061", 1),
                          raw.replace(b"{", b'{"x":0,"x":0,', 1), raw.replace(b":0", b":-0", 1), raw.replace(b"null", b"[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", 1), raw.replace(b'""', b'"\\ud800"', 1), raw[:at]])

class Bundle:
    def __init__(self, files):
        blobs = {"sha256:" + name[13:]: blob for name, blob in files.items() if name.startswith("blobs/")}
        manifests = [json.loads(blobs[entry["digest"]]) for entry in json.loads(files["index.json"])["manifests"]]
        bundle = next(m for m in manifests if m["artifactType"].endswith("bundle.v1"))
        self.blobs, self.config, self.key = blobs, json.loads(blobs[bundle["config"]["digest"]]), blobs[bundle["layers"][0]["digest"]]

def mutant(random, bases):
    """-> the bytes of a tar, and the kinds of the changes made"""
    kinds, base = set(), copy.deepcopy(random.choice(bases))
    config, blobs, edits, items = base.config, base.blobs, {}, base.config["items"]
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        where = random.choice(["config"] * 4 + ["item"] * 6 + ["statement", "sigstore", "bundle", "attestation", "index", "spell", "smuggle", "smuggle", "tar", "tar", "reorder"])
        if where == "config": kinds.add("config " + change(random, config))
        elif where == "item" and (objects := [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []):
            kinds.update("item " + kind for kind in change_item(random, random.choice(objects), base, random.choice(bases)))
        else: edits.setdefault(random.choice(["config", "statement", "sigstore", "bundle", "attestation", "index"]) + " spelt" if where == "spell" else where, []).append(True)
    def write(name, value):
        for _ in edits.get(name, ()): kinds.add(f"{name} {change(random, value)}")
        try: raw = encode(value)
        except (spec.Fault, TypeError): raw = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8", "surrogatepass")
        if name + " spelt" in edits: kinds.add(name + " spelt")
        for _ in edits.get(name + " spelt", ()): raw = spell(random, raw)
        return raw
    describe = lambda blob, kind: {"digest": digest(blob), "mediaType": kind, "size": len(blob)}
    raw = write("config", config)
    listed = [("disclosure-key.v1", "disclosure-key", config.get("disclosureKey"))]
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict): listed += [("segments.v1+zstd", f"{item.get('name')}.segments.zst", item.get("segments")), ("item.v1+zstd", f"{item.get('name')}.warc.zst", item.get("layer"))]
    layers = [{"annotations": {spec.TITLE: title}, "digest": name, "mediaType": spec.EXHIBIT + kind, "size": len(blobs.get(name, b"") if isinstance(name, str) else b"")} for kind, title, name in listed]
    bundle = write("bundle", {"artifactType": spec.EXHIBIT + "bundle.v1", "config": describe(raw, spec.EXHIBIT + "config.v1+json"), "layers": layers, "mediaType": spec.MANIFEST, "schemaVersion": 2})
    def attest(signer, edited=False, seq=0):
        incident = config.get("incident")
        statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:exhibit:capture:v1", "subject": [{"digest": {"sha256": digest(bundle)[7:]}, "name": "bundle"}],
                     "predicate": {"incident": incident, "role": "collector", "signedAt": "2026-11-23T13:40:18Z", "stream": {"id": "0" * 32, "prev": "sha256:" + "1" * 64 if seq else None, "seq": seq}}}
        payload = write("statement", statement) if edited else encode(statement)
        public = SECRETS[signer].public_key().public_bytes_raw()
        key_id = base64.b64encode(hashlib.sha256(bytes.fromhex("302a300506032b6570032100") + public).digest()).decode()
        signature = SECRETS[signer].sign(b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload))
        value = {"dsseEnvelope": {"payload": base64.b64encode(payload).decode(), "payloadType": "application/vnd.in-toto+json", "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}]},
                 "mediaType": spec.SIGSTORE, "verificationMaterial": {"publicKey": {"hint": key_id}, "tlogEntries": []}}
        return refer(spec.SIGSTORE, write("sigstore", value) if edited else encode(value), "attestation" if edited else "")
    def refer(kind, blob, name=""):
        value = {"artifactType": kind, "config": describe(b"{}", "application/vnd.oci.empty.v1+json"), "layers": [describe(blob, kind)], "mediaType": spec.MANIFEST, "schemaVersion": 2, "subject": describe(bundle, spec.MANIFEST)}
        return write(name, value) if name else encode(value), [b"{}", blob]
    referrers = [attest("a", True)]
    smuggled = []
    for _ in edits.get("smuggle", ()):
        kind = random.randrange(6)
        kinds.add("smuggled " + ["attestation of another", "second attestation", "custody", "note", "blob", "nothing"][kind])
        if kind < 3: referrers.append([attest("b"), attest("a", seq=5), refer("application/vnd.exhibit.custody.v1", b"forged")][kind])
        elif kind == 3: referrers.append(refer("application/vnd.example.note.v1", random.choice([raw, bundle, b"note"])))
        elif kind == 4: smuggled.append(b"smuggled")
        else: referrers.clear()
    manifests = [bundle, *(manifest for manifest, _ in referrers)]
    if edits.get("reorder"): kinds.add("manifests shuffled")
    if edits.get("reorder"): random.shuffle(manifests)
    index = write("index", {"manifests": [describe(m, spec.MANIFEST) for m in manifests], "schemaVersion": 2})
    contents = {digest(m): found for m, found in referrers}
    own = [raw] + [blobs[name] for _, _, name in listed if isinstance(name, str) and name in blobs]
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
    for blob in manifests + [blob for m in manifests for blob in contents.get(digest(m), ())] + own + smuggled: files.setdefault("blobs/sha256/" + digest(blob)[7:], blob)
    return tar_of(random, files, len(edits.get("tar", ())), kinds), kinds

def change_item(random, item, base, other):
    blobs, kind = base.blobs, random.randrange(9)
    plain, cuts = (unzstd(blobs.get(item.get(name), b"") if isinstance(item.get(name), str) else b"") for name in ("layer", "segments"))
    cuts = numbers(cuts)
    if kind == 0:                                                              # graft
        if not other.config["items"]: return {"grafted"}
        theirs = random.choice(other.config["items"])
        for name in random.choice([["layer"], ["segments"], ["layer", "segments"], ["layer", "segments", "bytes", "records", "leaves"], ["root"]]):
            if name in theirs: item[name] = theirs[name]
            if isinstance(theirs.get(name), str) and theirs[name] in other.blobs: blobs[theirs[name]] = other.blobs[theirs[name]]
        return {"grafted"}
    if kind == 1:                                                              # lie about a count
        name = random.choice(["bytes", "records", "leaves"])
        if isinstance(item.get(name), int): item[name] = max(0, item[name] + random.choice([-1, 1, 10]))
        return {"counts"}
    if kind == 2 and cuts:                                                     # cut elsewhere
        at = random.randrange(len(cuts))
        how = random.randrange(5)
        if how == 0: cuts[at] ^= 1
        elif how == 1 and len(cuts) > 1: cuts[at - 1:at + 1] = [sum(n >> 1 for n in cuts[at - 1:at + 1]) * 2 + 1] if at else cuts[:1]
        elif how == 2 and cuts[at] > 3: cuts[at:at + 1] = [2 + (cuts[at] & 1), cuts[at] - 2]
        elif how == 3: cuts[at:at] = [random.choice([0, 1, 2, 3])]
        else: random.shuffle(cuts)
    elif kind in (3, 4, 5) and plain:                                          # WARC
        at = random.randrange(len(plain))
        old, new = random.choice([(b"\r\n", b"\n"), (b"Content-Length: ", b"Content-Length: 0"), (b"resource", b"request"), (b"WARC/1.1", b"WARC/1.0"), (b": ", b":  "), (b"WARC-Type", b"warc-type"),
                                  (b"WARC-Date", b"X-Date"), (b"\r\n\r\n", b"\r\nExhibit-Gap: vanished\r\n\r\n"), (b"\r\n\r\n", b"\r\nWARC-Type: x\r\n\r\n"), (plain[at:at + 1], b"\0"), (plain[at:at + 1], b""), (b"", plain)])
        place = plain.find(old, at)
        place = place if place >= 0 else max(0, plain.find(old))
        changed = plain[:place] + new + plain[place + len(old):] if old in plain else plain
        if cuts and len(changed) > len(plain): cuts.append(2 * (len(changed) - len(plain)))
        elif cuts and len(changed) < len(plain): cuts[-1] = max(2, cuts[-1] - 2 * (len(plain) - len(changed)))
        plain = changed
    elif kind == 6: random.shuffle(cuts)
    layer = layer_of(random, plain, kind != 7)
    listed = b"".join(leb(n, kind == 8 and i == 0) for i, n in enumerate(cuts))
    segments = raw_frame(listed) + (b"" if random.random() < 0.95 else b"x")
    blobs[digest(layer)], blobs[digest(segments)] = layer, segments
    item |= {"layer": digest(layer), "segments": digest(segments), "bytes": len(plain), "records": sum(n & 1 for n in cuts), "leaves": len(cuts)}
    if isinstance(item.get("name"), str): item["root"] = root(base.key, item["name"], plain, cuts)
    return {["", "", "cuts", "warc", "warc", "warc", "cuts", "frames", "list"][kind]} | ({"list"} if segments.endswith(b"x") else set())

def tar_of(random, files, edits, kinds):
    def header(name, size, kind=b"0"):
        head = name.encode().ljust(100, b"\0") + b"0000444\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"0" * 11 + b"\0" + b" " * 8 + kind
        head = head.ljust(257, b"\0") + b"ustar\0" + b"00" + bytes(247)
        return head[:148] + b"%06o\0 " % sum(head) + head[156:]
    entries, end = [(header(name, len(blob)), blob, bytes(-len(blob) % 512)) for name, blob in files.items()], bytes(1024)
    for _ in range(edits):
        kind, at = random.randrange(9), random.randrange(len(entries))
        head, blob, pad = entries[at]
        kinds.add("tar " + ["shuffled", "entry removed", "entry twice", "end", "header", "padding", "extra entry", "name or kind", "content"][kind])
        if kind == 0: random.shuffle(entries)
        elif kind == 1: del entries[at]
        elif kind == 2: entries.append(entries[at])
        elif kind == 3: end = random.choice([end + b"x", end + end, b"", bytes(512), end + header("x", 0)])
        elif kind == 4: entries[at] = head[:300] + b"x" + head[301:], blob, pad
        elif kind == 5 and pad: entries[at] = head, blob, b"x" + pad[1:]
        elif kind == 6: entries.insert(at, (header("extra", 3), b"abc", bytes(509)))
        elif kind == 7: entries[at] = (header("blobs/sha256/" + "0" * 64, len(blob), random.choice([b"0", b"2", b"L", b"x"])), blob, pad)
        elif blob:
            place = random.randrange(len(blob))
            entries[at] = head, blob[:place] + bytes([blob[place] ^ 1 << random.randrange(8)]) + blob[place + 1:], pad
        if not entries: break
    return b"".join(part for entry in entries for part in entry) + end

def summary(report):
    return {name: finding["state"] + (" " + finding["code"] if finding["state"] == "failed" else "") for name, finding in report["findings"].items()} | {"exit": report["exit"]}
def python(path):
    try: findings, code = spec.Verifier(path, [KEY.read_bytes()]).run()
    except Exception as error: return {"stopped": repr(error)}
    return {name: spec.summary(finding) for name, finding in findings.items()} | {"exit": code}
def agree(one, two):
    return one == two or {**one, "integrity": 0} == {**two, "integrity": 0} and {one.get("integrity"), two.get("integrity")} <= ITEM_CODES

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind, default in (("--seconds", float, 120), ("--count", int, None), ("--seed", int, None), ("--audit", str, None), ("--keep", str, None), ("--shell-every", int, 40)): parser.add_argument(name, type=kind, default=default)
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    chance, begin, count, unexpected, verdicts, shell = random.Random(seed), time.monotonic(), 0, 0, {}, 0
    bases = []
    for path in sorted(VECTORS.glob("0[0-9][0-9]-*.tar")):
        vector = json.loads(path.with_suffix(".json").read_text())
        if vector["exit"] in (0, 4) and vector["trust"]["keys"] == ["keys/a.pub.pem"]: bases.append(Bundle(read(path)))
    while count < options.count if options.count else time.monotonic() - begin < options.seconds:
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder, f"{count + n:06}.tar") for n in range(50)]
            kinds = {}
            for path in paths:
                tar, kinds[path] = mutant(chance, bases)
                path.write_bytes(tar)
            output = subprocess.run([options.audit, "verify", "--json", *paths, "--key", KEY], capture_output=True)
            reports = [report for line in output.stdout.splitlines() if "findings" in (report := json.loads(line))]
            if len(reports) != len(paths): raise SystemExit(f"exhibit-audit stopped: {output.stderr.decode()[-2000:]}")
            for path, report in zip(paths, reports):
                rust, second = summary(report), python(path)
                wrong = not agree(rust, second)
                if count % options.shell_every == 0:
                    found, shell = subprocess.run(["bash", HERE / "verify.sh", path, KEY], capture_output=True), shell + 1
                    tolerated = any((kind, rust[name]) in SHELL for kind in kinds[path] for name in ("integrity", "signer"))
                    if found.returncode != rust["exit"] and not (rust["exit"] in (1, 3) and (found.returncode == 1 or tolerated)):
                        wrong, second = True, {"verify.sh": found.returncode, "said": found.stderr.decode()[-300:], "kinds": sorted(kinds[path])}
                verdict = next((rust[name] for name in ("integrity", "signer", "completeness") if rust[name] != "ok"), "ok")
                verdicts[verdict], count, unexpected = verdicts.get(verdict, 0) + 1, count + 1, unexpected + wrong
                if wrong:
                    print(f"mutant {path.stem}: exhibit-audit {rust}, other {second}", flush=True)
                    if options.keep: pathlib.Path(options.keep, path.name).write_bytes(path.read_bytes())
    print(", ".join(f"{verdict} {n}" for verdict, n in sorted(verdicts.items(), key=lambda pair: -pair[1])))
    print(f"{count} mutants in {time.monotonic() - begin:.0f} s, {shell} of them through verify.sh, {unexpected} unexpected")
    raise SystemExit(unexpected > 0 or not count)

if __name__ == "__main__": main()
