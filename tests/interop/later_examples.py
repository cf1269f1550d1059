#!/usr/bin/env python3
"""usage: later_examples.py --audit EXHIBIT_AUDIT: makes a real example of each thing that SPEC.md §9 leaves to later versions (timestamps by a
timestamp authority, a log with a checkpoint and a proof, custody, a disclosure, encryption with age), checks it by the rules of §9, and then
that the verifiers of version 1 say to it what SPEC.md says. Needs openssl and the package `pyrage`."""
import argparse, base64, hashlib, hmac, json, pathlib, subprocess, sys, tempfile
import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
import exhibit_verify as spec, mutate

HERE = pathlib.Path(__file__).parent
VECTORS = HERE / "../../evidence-format/vectors"
EMPTY_TYPE, SPKI = "application/vnd.oci.empty.v1+json", bytes.fromhex("302a300506032b6570032100")
digest, encode = mutate.digest, mutate.encode
sha256 = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
describe = lambda blob, kind: {"digest": digest(blob), "mediaType": kind, "size": len(blob)}
def pae(payload): return b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
def run(folder, *command): subprocess.run(command, cwd=folder, check=True, capture_output=True)

class Base:  # a bundle of the vectors, in parts
    def __init__(self):
        self.files = mutate.read(VECTORS / "001-one-item.tar")
        self.blobs = {"sha256:" + name[13:]: blob for name, blob in self.files.items() if name.startswith("blobs/")}
        listed = [entry["digest"] for entry in json.loads(self.files["index.json"])["manifests"]]
        self.bundle, attestation = (self.blobs[name] for name in listed)
        self.sigstore = self.blobs[json.loads(attestation)["layers"][0]["digest"]]
        self.manifest, envelope = json.loads(self.bundle), json.loads(self.sigstore)["dsseEnvelope"]
        self.payload, self.signature = base64.b64decode(envelope["payload"]), base64.b64decode(envelope["signatures"][0]["sig"])
        self.config = json.loads(self.blobs[self.manifest["config"]["digest"]])
        self.own = [self.blobs[d["digest"]] for d in [self.manifest["config"], *self.manifest["layers"]]]
    def referrer(self, kind, blob):
        return encode({"artifactType": kind, "config": describe(b"{}", EMPTY_TYPE), "layers": [describe(blob, kind)],
                       "mediaType": spec.MANIFEST, "schemaVersion": 2, "subject": describe(self.bundle, spec.MANIFEST)}), [b"{}", blob]
    def tar(self, *more, sigstore=None):
        return tar([(self.bundle, []), self.referrer(spec.SIGSTORE, sigstore or self.sigstore), *more], self.own)

def tar(manifests, last):
    index = encode({"manifests": [describe(manifest, spec.MANIFEST) for manifest, _ in manifests], "schemaVersion": 2})
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
    for blob in [m for m, _ in manifests] + [blob for _, blobs in manifests for blob in blobs] + last: files.setdefault("blobs/sha256/" + digest(blob)[7:], blob)
    return mutate.tar_of(None, files, 0, set())
def container(kind, layers, document, title=None):  # §9: another kind of container
    first = describe(document, kind) | ({"annotations": {spec.TITLE: title}} if title else {})
    manifest = encode({"artifactType": kind, "config": describe(b"{}", EMPTY_TYPE), "layers": [first] + [describe(*layer) for layer in layers], "mediaType": spec.MANIFEST, "schemaVersion": 2})
    return tar([(manifest, [b"{}", document, *(blob for blob, _ in layers)])], [])

class Authority:  # RFC 3161, by openssl
    def __init__(self, folder):
        self.folder = folder
        (folder / "ts.cnf").write_text("[tsa]\ndefault_tsa=t\n[t]\nserial=serial\ndefault_policy=1.2.3.4\ndigests=sha256\nsigner_digest=sha256\ness_cert_id_alg=sha256\naccuracy=secs:1\n"
                                       "[req]\ndistinguished_name=d\n[d]\n[x]\nextendedKeyUsage=critical,timeStamping\n")
        (folder / "serial").write_text("01")
        run(folder, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.pem", "-subj", "/CN=tsa", "-days", "2", "-config", "ts.cnf", "-extensions", "x")
    def stamp(self, data):  # over SHA-256 of the data
        (self.folder / "data").write_bytes(data)
        run(self.folder, "openssl", "ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "query")
        run(self.folder, "openssl", "ts", "-reply", "-config", "ts.cnf", "-section", "t", "-queryfile", "query", "-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "reply")
        run(self.folder, "openssl", "ts", "-verify", "-data", "data", "-in", "reply", "-CAfile", "tsa.pem")
        return (self.folder / "reply").read_bytes()

def tree(leaves):  # RFC 6962 §2.1
    if len(leaves) < 2: return leaves[0] if leaves else sha256()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1", tree(leaves[:half]), tree(leaves[half:]))
def proof(leaves, at):
    if len(leaves) < 2: return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return proof(leaves[:half], at) + [tree(leaves[half:])] if at < half else proof(leaves[half:], at - half) + [tree(leaves[:half])]
def rooted(leaf, at, size, path):
    if size < 2: return leaf
    half = 1 << (size - 1).bit_length() - 1
    if at < half: return sha256(b"\1", rooted(leaf, at, half, path[:-1]), path[-1])
    return sha256(b"\1", path[-1], rooted(leaf, at - half, size - half, path[:-1]))
def log_proof(base):  # C2SP tlog-proof, with a checkpoint that is a signed note
    key, name, at = Ed25519PrivateKey.generate(), "example.org/log", 2
    entry = sha256(pae(base.payload)) + base.signature
    leaves = [sha256(b"\0", bytes([n]) * 96) for n in range(5)]
    leaves[at] = sha256(b"\0", entry)
    text = f"{name}\n{len(leaves)}\n{base64.b64encode(tree(leaves)).decode()}\n"
    key_id = sha256(name.encode() + b"\n\1" + key.public_key().public_bytes_raw())[:4]
    checkpoint = f"{text}\n\u2014 {name} {base64.b64encode(key_id + key.sign(text.encode())).decode()}\n"
    lines = "".join(base64.b64encode(node).decode() + "\n" for node in proof(leaves, at))
    whole = f"c2sp.org/tlog-proof@v1\nindex {at}\n{lines}\n{checkpoint}"
    # as a reader of a later version does
    head, signed = whole.split("\n\n", 1)
    index, path = int(head.split("\n")[1].split()[1]), [base64.b64decode(line) for line in head.split("\n")[2:]]
    body, seal = signed.split("\n\n")
    _, size, root = body.split("\n")
    key.public_key().verify(base64.b64decode(seal.split()[2])[4:], (body + "\n").encode())
    assert rooted(sha256(b"\0", entry), index, int(size), path) == base64.b64decode(root), "the proof does not lead to the root"
    return whole.encode(), checkpoint.encode()

def custody(base):  # two statements, the second after the first
    found, before = [], None
    for event in ("received", "returned"):
        key = Ed25519PrivateKey.generate()
        payload = encode({"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:exhibit:custody:v1", "subject": [{"digest": {"sha256": digest(base.bundle)[7:]}, "name": "bundle"}],
                          "predicate": {"event": event, "incident": base.config["incident"], "prev": before, "role": "custodian", "signedAt": "2026-11-24T09:00:00Z"}})
        public = key.public_key().public_bytes_raw()
        key_id, signature = base64.b64encode(sha256(SPKI, public)).decode(), key.sign(pae(payload))
        Ed25519PublicKey.from_public_bytes(public).verify(signature, pae(payload))
        found.append(encode({"dsseEnvelope": {"payload": base64.b64encode(payload).decode(), "payloadType": "application/vnd.in-toto+json", "signatures": [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}]},
                             "mediaType": spec.SIGSTORE, "verificationMaterial": {"publicKey": {"hint": key_id}, "tlogEntries": []}}))
        before = digest(payload)
    return [base.referrer("application/vnd.exhibit.custody.v1", blob) for blob in found]

def disclosure(base):  # the record of the item and its header block are shown, what ends the record is withheld
    item = base.config["items"][0]
    plain, cuts = mutate.unzstd(base.blobs[item["layer"]]), mutate.numbers(mutate.unzstd(base.blobs[item["segments"]]))
    key, at, leaves, lines = hmac.digest(base.own[1], b"evidence/v1/item\0" + item["name"].encode(), "sha256"), 0, [], []
    for index, cut in enumerate(cuts):
        salt, kind, segment = hmac.digest(key, b"evidence/v1/leaf\0" + index.to_bytes(8, "big"), "sha256")[:16], cut & 1, plain[at:at + (cut >> 1)]
        at += cut >> 1
        leaves.append(sha256(bytes([0, kind]), salt, segment))
        lines.append({"h": base64.b64encode(leaves[-1]).decode(), "n": 1} if index == len(cuts) - 1
                     else {"k": kind, "r": base64.b64encode(segment).decode(), "s": base64.b64encode(salt).decode()})
    document = b"".join(encode(line) + b"\n" for line in lines)
    # as a reader of a later version does
    shown = [json.loads(line) for line in document.splitlines()]
    again = [base64.b64decode(line["h"]) if "h" in line else sha256(bytes([0, line["k"]]), base64.b64decode(line["s"]), base64.b64decode(line["r"])) for line in shown]
    assert sum(line.get("n", 1) for line in shown) == item["leaves"] and tree(again).hex() == item["root"], "the disclosure does not lead to the root"
    kept = [(base.bundle, spec.MANIFEST), (base.own[0], spec.EXHIBIT + "config.v1+json"), (base.sigstore, spec.SIGSTORE)]
    return container("application/vnd.exhibit.disclosure.v1", kept, document, item["name"])

def encrypted(base):  # all blobs but the manifest and the attestation, with age
    identity = pyrage.x25519.Identity.generate()
    secret = {digest(blob): pyrage.encrypt(blob, [identity.to_public()]) for blob in base.own}
    assert all(digest(pyrage.decrypt(blob, [identity])) == name for name, blob in secret.items()), "the plaintext has another digest"
    kept = [(base.bundle, spec.MANIFEST), (base.sigstore, spec.SIGSTORE)] + [(blob, "application/vnd.exhibit.age.v1") for blob in secret.values()]
    return container("application/vnd.exhibit.encrypted.v1", kept, encode({name: digest(blob) for name, blob in secret.items()}))

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audit", required=True)
    audit, base, bad = parser.parse_args().audit, Base(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        authority, (logged, checkpoint) = Authority(folder), log_proof(base)
        stamped = json.loads(base.sigstore)
        stamped["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": [{"signedTimestamp": base64.b64encode(authority.stamp(base.signature)).decode()}]}
        examples = [
            ("timestamp of the signature", base.tar(sigstore=encode(stamped)), "time", []),
            ("log proof", base.tar(base.referrer("application/vnd.exhibit.log-proof.v1", logged)), "log", ["log-proof"]),
            ("timestamp of a checkpoint", base.tar(base.referrer("application/vnd.exhibit.timestamp.v1", authority.stamp(checkpoint))), "time", ["timestamp"]),
            ("custody", base.tar(*custody(base)), None, ["custody", "custody"]),
            ("disclosure", disclosure(base), "other-kind", []),
            ("encrypted bundle", encrypted(base), "other-kind", []),
        ]
        for name, bytes_of_tar, what, unsigned in examples:
            path = folder / "example.tar"
            path.write_bytes(bytes_of_tar)
            report = json.loads(subprocess.run([audit, "verify", "--json", path, "--key", mutate.KEY], capture_output=True).stdout)
            sound = what != "other-kind"
            expected = {"completeness": "ok" if sound else "not checked", "integrity": "ok" if sound else "failed other-kind", "log": "not checked",
                        "signer": "ok" if sound else "not checked", "time": "not checked", "exit": 0 if sound else 3}
            shell = subprocess.run(["bash", HERE / "verify.sh", path, mutate.KEY], capture_output=True).returncode
            found = {"exhibit-audit": mutate.summary(report), "exhibit_verify.py": mutate.python(path), "verify.sh": {"exit": shell}}
            wrong = [f"{verifier} says {said}" for verifier, said in found.items() if any(said[key] != expected[key] for key in said)]
            if what in ("time", "log") and "does not check" not in report["findings"][what]["detail"]: wrong.append(f"`{what}` does not say that there is one")
            listed = [f"application/vnd.exhibit.{kind}.v1" for kind in unsigned]
            if sound and [addition["kind"] for addition in report["unsigned"]] != listed: wrong.append(f"unsigned: {report['unsigned']}")
            bad += bool(wrong)
            print(f"{name}: {'; '.join(wrong) or 'as SPEC.md says'}")
    print(f"{len(examples)} examples, {bad} failed")
    sys.exit(bad > 0)

if __name__ == "__main__": main()
