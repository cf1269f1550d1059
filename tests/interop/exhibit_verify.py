#!/usr/bin/env python3
"""A second verifier for Exhibit bundles, version 1, written from SPEC.md alone ("§" refers to it; "vectors" marks what only they say).
Needs Python 3.11, the package `cryptography` (Ed25519) and the program `zstd` (only to decompress: headers of frames and
of blocks are parsed here). Layers pass through a temporary file and a pipe, so that memory stays bounded (§8)."""
import argparse, base64, calendar, collections, contextlib, hashlib, hmac, io, itertools, json, os, re, stat
import struct, subprocess, sys, tempfile, unicodedata
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KIB, MIB, ANY = 1 << 10, 1 << 20, 1 << 53
EXHIBIT, SIGSTORE = "application/vnd.exhibit.", "application/vnd.dev.sigstore.bundle.v0.3+json"
MANIFEST, REF_NAME, TITLE = "application/vnd.oci.image.manifest.v1+json", "org.opencontainers.image.ref.name", "org.opencontainers.image.title"
EMPTY = {"digest": "sha256:" + hashlib.sha256(b"{}").hexdigest(), "mediaType": "application/vnd.oci.empty.v1+json", "size": 2}

class Fault(ValueError):
    code, detail = property(lambda self: self.args[0]), property(lambda self: str(self.args[1]))
def need(condition, code, detail=""):
    if not condition: raise Fault(code, detail)

# ---------------------------------------------------------------------------------------------------- §2 JSON documents
def integer(digits):
    need(re.fullmatch("0|-?[1-9][0-9]{0,15}", digits) and abs(int(digits)) < 1 << 53, "json", "number")
    return int(digits)
def members(pairs):
    need(len(dict(pairs)) == len(pairs), "json", "duplicate member")
    return dict(pairs)
def jcs(value, depth=0):  # RFC 8785, for what §2 leaves of it; lone surrogates are refused when the result is encoded
    need(depth < 16 or not isinstance(value, (dict, list)), "json", "nested too deep")
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(json.dumps(name, ensure_ascii=False) + ":" + jcs(member, depth + 1) for name, member in pairs) + "}"
    if isinstance(value, list): return "[" + ",".join(jcs(element, depth + 1) for element in value) + "]"
    return json.dumps(value, ensure_ascii=False)
def fits(value, form):  # A form: a dict ("name?" is optional), a list (of one form), a tuple (alternatives), a pattern, a test, or a constant.
    if isinstance(form, dict):
        names = {name.rstrip("?"): name for name in form}
        return (isinstance(value, dict) and value.keys() <= names.keys()
                and all(fits(value[name], form[key]) if name in value else key[-1] == "?" for name, key in names.items()))
    if isinstance(form, list): return isinstance(value, list) and all(fits(element, form[0]) for element in value)
    if isinstance(form, tuple): return any(fits(value, alternative) for alternative in form)
    if isinstance(form, re.Pattern): return isinstance(value, str) and form.fullmatch(value) is not None
    return form(value) if callable(form) else type(value) is type(form) and value == form
def document(raw, form, code, canonical=True):
    try:
        marks = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", raw)                       # §2: few values, before they take memory
        need(sum(map(marks.count, (b"{", b"[", b","))) <= 64 * KIB, code, "too many values")
        value = json.loads(raw.decode(), parse_int=integer, parse_float=integer, parse_constant=integer, object_pairs_hook=members)
        need(jcs(value).encode() == raw or not canonical, code, "not canonical")
    except (ValueError, RecursionError) as error: raise Fault(code, error) from None
    need(fits(value, form), code, "members or values")
    return value
class Pairs(list): pass
def version(raw):  # §4: the integer, in any JSON object
    marks = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", raw, flags=re.DOTALL)
    need(sum(map(marks.count, (b"{", b"[", b","))) <= 64 * KIB, "config", "too many values")
    need(max(itertools.accumulate(1 if mark in b"{[" else -1 for mark in marks if mark in b"{[]}"), default=0) <= 16, "config", "nested too deep")
    try:
        found = json.loads(raw.decode(), parse_int=lambda digits: int(digits) if re.fullmatch("0|[1-9][0-9]{0,15}", digits) and int(digits) < ANY else None,
                           parse_float=lambda digits: None, parse_constant=integer, object_pairs_hook=Pairs)
        json.dumps(found, ensure_ascii=False).encode()                         # lone surrogates
        found = [value for name, value in found if name == "version"] if isinstance(found, Pairs) else []
    except (ValueError, RecursionError) as error: raise Fault("config", error) from None
    need(len(found) == 1 and type(found[0]) is int, "config", "version")
    return found[0]
def time(value):
    match = isinstance(value, str) and re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{0,8}[1-9])?Z", value, re.ASCII)
    year, month, day, hour, minute, second = map(int, match.groups()[:6]) if match else (0,) * 6
    return 1 <= year <= 9998 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1] and hour < 24 and minute < 60 and second < 60

text, signed, whole = lambda value: isinstance(value, str) and len(value.encode()) <= 4 * KIB, lambda value: type(value) is int, lambda value: type(value) is int and value >= 0
DIGEST, HEX64, STREAM = re.compile("sha256:[0-9a-f]{64}"), re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{32}")
INCIDENT, ITEM = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}"), re.compile("[a-z0-9][a-z0-9._-]{0,127}")
BASE64 = re.compile("([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)?")
KEY_ID, SIGNATURE = re.compile("[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="), re.compile("[A-Za-z0-9+/]{85}[AQgw]==")
ENDED = re.compile("complete|deadline|limit|forbidden|not_found|gone|throttled|cancelled|failed")
REASON = re.compile("permission_denied|vanished|too_large|shrank|hung|special_file|read_failed|deadline|over_budget|cancelled|unsupported|crashed"
                    "|retention|rate_limited|unreachable|malformed|unauthenticated|refused|foreign_link|process_ended")
ORIGIN = re.compile("https?://[!-.0-~]+")
TEXT0, INT0, TIME0, WINDOW = (None, text), (None, whole), (None, time), (None, {"from": time, "until": time})
any_text = re.compile(".*", re.DOTALL)
ANNOTATIONS = lambda value: isinstance(value, dict) and len(value) <= 16 and all(isinstance(member, str) for member in value.values())
DESCRIPTOR = {"annotations?": ANNOTATIONS, "artifactType?": any_text, "digest": DIGEST, "mediaType": any_text, "size": whole}
MANIFEST_FORM = {"artifactType": any_text, "config": DESCRIPTOR, "layers": [DESCRIPTOR], "mediaType": MANIFEST, "schemaVersion": 2, "subject?": DESCRIPTOR}
INDEX_FORM = {"manifests": [DESCRIPTOR | {"annotations?": {REF_NAME: any_text}, "mediaType": MANIFEST}], "mediaType?": MANIFEST.replace("manifest", "index"), "schemaVersion": 2}
CONFIG_FORM = {                                                                                                          # §4
    "version": 1, "incident": INCIDENT, "supplements": (None, DIGEST), "window": WINDOW, "clock": [{"event": text, "utc": time, "bootNanoseconds": whole}],
    "plan": {"deadlineSeconds": INT0, "steps": [{"item": ITEM, "what": text, "objectBytesMax": INT0, "itemBytesMax": INT0}]},
    "collector": {"name": text, "version": text, "commit": TEXT0, "binary": (None, DIGEST), "host": text, "kernel": text, "boot": TEXT0, "identity": text},
    "examined": (None, {"root": text, "os": TEXT0, "machineId": TEXT0, "host": TEXT0}),
    "disclosureKey": DIGEST, "items": [{
        "name": ITEM, "layer": DIGEST, "segments": DIGEST, "bytes": whole, "records": whole, "leaves": whole, "root": HEX64,
        "source": {"provider": text, "api": text, "account": TEXT0, "region": TEXT0, "identity": TEXT0,
                   "clock": (None, {"samples": whole, "offsetMillisecondsMin": signed, "offsetMillisecondsMax": signed}),
                   "servers": [{"origin": ORIGIN, "issuer": TEXT0, "responses": whole}], "otherResponses": whole},
        "redactions": [{"what": text, "count": whole}], "coverage": {
            "asked": WINDOW, "effective": WINDOW, "pages": whole, "attempts": whole, "events": INT0, "declared": INT0, "first": TIME0, "last": TIME0, "duplicates": whole, "ended": ENDED,
            "gaps": [{"reason": REASON, "count": whole, "examples": [text], "bytesKept": whole, "bytesLost": whole}], "provisionalUntil": TIME0}}]}
def ordered(window): return window is None or instant(window["from"]) <= instant(window["until"])
def instant(value): return value[:19], value[20:-1].ljust(9, "0")              # compares as the times do
def check_coverage(coverage, redactions):
    asked, effective, events, gaps = coverage["asked"], coverage["effective"], coverage["events"], coverage["gaps"]
    need(ordered(asked) and ordered(effective), "config", "order of a window")
    need(not effective or asked and instant(asked["from"]) <= instant(effective["from"]) and instant(effective["until"]) <= instant(asked["until"]), "config", "effective window")
    need(not (coverage["first"] and coverage["last"]) or instant(coverage["first"]) <= instant(coverage["last"]), "config", "first and last event")
    need(events is None or coverage["duplicates"] <= events and (coverage["pages"] or not events), "config", "number of events")
    need(not coverage["attempts"] or coverage["pages"] <= coverage["attempts"], "config", "number of pages")
    need(len({gap["reason"] for gap in gaps}) == len(gaps), "config", "a reason twice")
    need(all(gap["count"] and len(gap["examples"]) <= min(16, gap["count"]) for gap in gaps), "config", "count or examples of a gap")
    need(len({r["what"] for r in redactions}) == len(redactions) <= 64 and all(r["count"] for r in redactions), "config", "redactions")
def check_source(source):
    clock, servers = source["clock"], source["servers"]
    need(not clock or clock["samples"] and clock["offsetMillisecondsMin"] <= clock["offsetMillisecondsMax"], "config", "clock of a source")
    need(len(servers) <= 32 and all(text(s["origin"]) and s["responses"] and s["issuer"] != "" and not (s["issuer"] and s["origin"].startswith("http:")) for s in servers), "config", "a server")
    places = [(s["origin"], s["issuer"] or "") for s in servers]
    need(places == sorted(set(places)), "config", "order of servers")
def plain(value):  # no negative numbers
    return not isinstance(value, int) or value >= 0 if not isinstance(value, (dict, list)) else all(map(plain, value.values() if isinstance(value, dict) else value))
SIGSTORE_FORM = {                                                                                                        # §6
    "dsseEnvelope": {"payload": BASE64, "payloadType": "application/vnd.in-toto+json", "signatures": [{"keyid": KEY_ID, "sig": SIGNATURE}]},
    "verificationMaterial": {"publicKey": {"hint": KEY_ID}, "tlogEntries": lambda value: fits(value, [lambda entry: isinstance(entry, dict) and plain(entry)]) and len(value) <= 16,
                             "timestampVerificationData?": {"rfc3161Timestamps": lambda value: fits(value, [{"signedTimestamp": any_text}]) and len(value) <= 16}}, "mediaType": SIGSTORE}
STATEMENT_FORM = {
    "_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:exhibit:capture:v1", "subject": [{"digest": {"sha256": HEX64}, "name": "bundle"}],
    "predicate": {"incident": INCIDENT, "role": re.compile("collector|witness|custodian|auditor|counsel"), "notBefore?": any_text, "signedAt": time, "stream": {"id": STREAM, "prev": (None, DIGEST), "seq": whole}}}

# ------------------------------------------------------------------------------------------------------ §3 containers
class Folder:  # take(name) begins a file and gives its size, or None if it is not there; read(n) reads on; rest() is step 10.
    def __init__(self, path):
        self.path = path
    def take(self, name):
        at = self.path
        for part in name.split("/"):                                           # §3.1: no link is followed
            at = os.path.join(at, part)
            try: mode = os.lstat(at).st_mode
            except FileNotFoundError: return None
            need(stat.S_ISREG(mode) if at.endswith(name) else stat.S_ISDIR(mode), "not-a-file", name)
        self.file = open(at, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK))
        self.read = self.file.read
        return os.fstat(self.file.fileno()).st_size
    def rest(self, known):
        known |= {"oci-layout", "index.json", "blobs", "blobs/sha256"}
        for folder in ("", "blobs", "blobs/sha256"):
            for name in os.listdir(os.path.join(self.path, folder)):
                need(os.path.join(folder, name) in known, "unexpected-file", os.path.join(folder, name))

class Tar:  # §3.4, in one pass: a file that is not the next one is missing.
    def __init__(self, path):
        self.file, self.left, self.pad, self.head = open(path, "rb"), 0, 0, None
    def bytes(self, size):
        data = self.file.read(size)
        need(len(data) == size, "tar", "ends too early")
        return data
    def read(self, size):
        data = self.bytes(min(size, self.left))
        self.left -= len(data)
        need(self.left or not any(self.bytes(self.pad)), "tar", "padding")
        return data
    def entry(self, block, kind=b"0"):
        name, size = block[:100].split(b"\0")[0], block[124:135]
        head = name.ljust(100, b"\0") + b"0000444\0" + b"0000000\0" * 2 + size + b"\0" + b"0" * 11 + b"\0" + b" " * 8 + kind
        head = head.ljust(257, b"\0") + b"ustar\0" + b"00" + bytes(247)
        need(re.fullmatch(b"[0-7]{11}", size) and block == head[:148] + b"%06o\0 " % sum(head) + head[156:], "tar", "header")
        return name.decode("latin-1"), int(size, 8)
    def peek(self):
        collections.deque(pieces(self, self.left), 0)                          # what nobody wanted of the file before
        block = b"" if self.head else self.bytes(512)
        if block == bytes(512):
            need(self.bytes(512) == bytes(512) and not self.file.read(1), "tar", "end")
            self.head = (None, 0)
        elif block[156:157] == b"x":                                           # a file of 2^33 bytes or more
            match = re.fullmatch(rb"([1-9][0-9]*) size=([1-9][0-9]{9,18})\n(\0*)", self.bytes(512))
            need(match and self.entry(block, b"x") == ("PaxHeaders/size", match.start(3)), "tar", "size header")
            name, size = self.entry(self.bytes(512))
            need(size == 0 and int(match[1]) == match.start(3) and int(match[2]) >= 1 << 33, "tar", "size")
            self.head = (name, int(match[2]))
        elif block: self.head = self.entry(block)
        return self.head
    def take(self, name):
        found, size = self.peek()
        if found != name: return None
        self.head, self.left, self.pad = None, size, -size % 512
        return size
    def rest(self, _known):
        need(self.peek()[0] is None, "unexpected-file", self.head[0])

# ------------------------------------------------------------------------------------------------------------ §5 items
@contextlib.contextmanager
def unzstd(file, code):  # The content of all frames in the file; the decoder checks that each gives what its header states.
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    command = ["zstd", "-dcq"] if os.fstat(file.fileno()).st_size else ["true"]
    with subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try: yield process.stdout
        finally:                                                               # a broken frame comes before what follows from it
            process.kill() if process.stdout.read(1) else need(process.wait() == 0, code, "zstd refuses it")

def zstd_frame(fd, at, code):  # RFC 8878 §3.1.1: (end, descriptor, content size or None, window) of the frame that begins at `at`.
    head, size, last = os.pread(fd, 18, at), os.fstat(fd).st_size, 0
    need(len(head) >= 6 and head[:4] == b"\x28\xb5\x2f\xfd" and not head[4] & 0x08, code, f"no frame at {at}")
    flags, single = head[4], head[4] >> 5 & 1
    begin, width = 5 + (not single) + (0, 1, 2, 4)[flags & 3], (single, 2, 4, 8)[flags >> 6]
    content = int.from_bytes(head[begin:begin + width], "little") + 256 * (width == 2) if width else None
    window = content if single else (8 + (head[5] & 7) << 10 + (head[5] >> 3)) // 8
    at += begin + width
    while not last:
        block = int.from_bytes(os.pread(fd, 3, at), "little")
        last, kind, length = block & 1, block >> 1 & 3, block >> 3
        at += 3 + (1 if kind == 1 else length)
        need(kind < 3 and length <= min(window, 128 * KIB) and at <= size, code, f"block before {at}")
    need(at + 4 * (flags >> 2 & 1) <= size, code, "frame cut off")             # checksum
    return at + 4 * (flags >> 2 & 1), flags, content, window
def frames(file):  # §5.1: (compressed size, content size) of each data frame. One at a time: a hostile layer has millions.
    fd, at, count = file.fileno(), 0, 0
    while os.pread(fd, 4, at) == b"\x28\xb5\x2f\xfd":
        begin, (at, flags, content, window) = at, zstd_frame(fd, at, "frames")
        count += 1
        need(content is not None and 1 <= content <= 2 * MIB and window <= 2 * MIB and not flags & 0x1f, "frames", f"header at {begin}")   # vectors: window
        need(at - begin <= 2 * MIB + 16 * KIB and count <= 1 << 27, "frames", f"frame at {begin}")
        yield at - begin, content
def cut_frames(file):  # §5.1: the sum of the content sizes. Checks the salt frame and the seek table, and cuts them off.
    at, count, total, table = 0, 0, 0, hashlib.sha256()
    for packed, content in frames(file):
        at, count, total = at + packed, count + 1, total + content
        table.update(struct.pack("<II", packed, content))
    table.update(struct.pack("<IIIBI", 40, 0, count + 1, 0, 0x8F92EAB1))
    os.lseek(file.fileno(), at, os.SEEK_SET)
    need(file.read(8) == struct.pack("<II", 0x184D2A50, 32) and len(file.read(32)) == 32, "frames", "salt frame")
    need(file.read(8) == struct.pack("<II", 0x184D2A5E, 8 * count + 17), "frames", "seek table")
    found = hashlib.sha256()
    for data in pieces(file, ANY): found.update(data)
    need(found.digest() == table.digest(), "frames", "seek table")
    os.ftruncate(file.fileno(), at)
    return total
def segments(file):  # §5.3: (length, kind) of each segment, one at a time: a few bytes of a list give millions.
    end, _, _, window = zstd_frame(file.fileno(), 0, "segment-list")
    need(window <= MIB and end == os.fstat(file.fileno()).st_size, "segment-list", "frame")
    number, shift = 0, 0
    with unzstd(file, "segment-list") as stream:
        for byte in itertools.chain.from_iterable(pieces(stream, ANY)):
            number, shift = number | (byte & 0x7f) << shift, shift + 7
            need(byte < 0x80 or shift < 70, "segment-list", "number too long")
            if byte < 0x80:
                need((byte or shift == 7) and 1 <= number >> 1 <= 1 << 44, "segment-list", "number")
                yield number >> 1, number & 1
                number, shift = 0, 0
        need(not shift, "segment-list", "number cut off")
def check_lengths(layer, listed, item):  # §5.3: segments that touch one frame; the sums
    end = reached = records = leaves = 0
    rest = segments(listed)
    for _, size in frames(layer):
        begin, end = end, end + size
        touching = int(reached > begin)
        while reached < end:
            length, kind = next(rest, (None, 0))
            need(length is not None, "item-size", "the segments are shorter than the item")
            reached, records, leaves, touching = reached + length, records + kind, leaves + 1, touching + 1
            need(touching <= 65536, "segment-list", "too many in a frame")
    need(next(rest, None) is None and reached == end, "item-size", "the segments are longer than the item")
    need((records, leaves) == (item["records"], item["leaves"]), "item-size", "number of records or leaves")
def pieces(stream, left):
    while left and (data := stream.read(min(left, MIB))):
        yield data
        left -= len(data)

def blocks(stream, gaps):  # §5.2: (begin, end of what describes evidence, end) of each block; counts gap records
    at = 0
    while line := stream.readline(64 * KIB):
        need(line == b"WARC/1.1\r\n", "warc", "version")
        size, fields = len(line), {}
        while (line := stream.readline(64 * KIB)) != b"\r\n":
            size += len(line)
            match = re.fullmatch(rb"([A-Za-z0-9-]+): (.*)\r\n", line, re.DOTALL)
            need(size <= 64 * KIB - 2 and match and match[1].lower() not in fields, "warc", "header")
            value = fields[match[1].lower()] = match[2].decode(errors="surrogateescape")
            need(value.strip() == value and not any(unicodedata.category(c) in ("Cc", "Cs") for c in value), "warc", "value")
        need({b"warc-type", b"warc-record-id", b"warc-date", b"content-length"} <= fields.keys(), "warc", "a field is missing")
        need(re.fullmatch("0|[1-9][0-9]{0,14}", fields[b"content-length"]), "warc", "Content-Length")
        at, size = at + size + 2, int(fields[b"content-length"])
        if (reason := fields.get(b"exhibit-gap")) is not None: gaps[reason if reason in gaps or len(gaps) < 64 else ""] += 1
        kind, http = fields[b"warc-type"], fields.get(b"content-type", "").split(";")[0].rstrip(" \t").lower() == "application/http"
        head = stream.read(min(size, 64 * KIB))
        describes = size if kind == "warcinfo" or kind == "request" and http else 0
        if kind == "response" and http: describes = head.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in head else len(head)
        need(len(head) + sum(map(len, pieces(stream, size - len(head)))) == size and stream.read(4) == b"\r\n\r\n", "warc", "end of block")
        yield at, at + describes, at + size
        at += size + 4
def check_cuts(found, cuts):  # §5.3: records lie inside of blocks. Gives what is in no record: bytes, and blocks without any
    begin, (length, kind), bytes_left, blocks_left = 0, next(cuts, (0, 0)), 0, 0
    for start, body, end in found:
        has_record = False
        while length and begin < end:
            stop = begin + length
            need(not kind or start <= begin and stop <= end, "segment-list", "a record outside of a block")
            has_record |= bool(kind)
            bytes_left += 0 if kind else max(0, min(stop, end) - max(begin, body))
            if stop > end: break
            begin, (length, kind) = stop, next(cuts, (0, 0))
        blocks_left += body < end and not has_record
    while length:
        need(not kind, "segment-list", "a record outside of a block")
        length, kind = next(cuts, (0, 0))
    return {"bytes": bytes_left, "blocks": blocks_left}
def tree_root(stream, key, name, cuts):  # §5.4; the shape of RFC 6962 §2.1: a stack of complete subtrees, each with its number of leaves
    key, stack = hmac.digest(key, b"evidence/v1/item\0" + name.encode(), "sha256"), []
    join = lambda: stack.__setitem__(slice(-2, None), [(stack[-2][0] + stack[-1][0], hashlib.sha256(b"\1" + stack[-2][1] + stack[-1][1]).digest())])
    for index, (length, kind) in enumerate(cuts):
        leaf = hashlib.sha256(bytes([0, kind]) + hmac.digest(key, b"evidence/v1/leaf\0" + struct.pack(">Q", index), "sha256")[:16])
        for data in pieces(stream, length): leaf.update(data)
        stack.append((1, leaf.digest()))
        while len(stack) > 1 and stack[-2][0] == stack[-1][0]: join()
    while len(stack) > 1: join()
    return stack[0][1].hex() if stack else hashlib.sha256().hexdigest()

def check_item(item, key, listed, layer, gaps):  # gives what is in no record
    if cut_frames(layer) != item["bytes"]:                                     # a frame that gives other than it states comes first
        with unzstd(layer, "frames") as stream: collections.deque(pieces(stream, item["bytes"] + 1), 0)
        raise Fault("item-size", "of the frames")
    check_lengths(layer, listed, item)
    with unzstd(layer, "frames") as stream, contextlib.closing(segments(listed)) as cuts: unrecorded = check_cuts(blocks(stream, gaps), cuts)
    with unzstd(layer, "frames") as stream: root = tree_root(stream, key, item["name"], segments(listed))
    need(root == item["root"], "item-root", item["name"])
    return unrecorded

# ------------------------------------------------------------------------------------------------- §6 keys, signatures
P, L = 2 ** 255 - 19, 2 ** 252 + 27742317777372353535851937790883648493
Y8 = int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little")
def good_point(raw):  # canonical, and not of small order (either sign of x)
    y = int.from_bytes(raw, "little") & (1 << 255) - 1
    return y < P and y not in (0, 1, P - 1, Y8, P - Y8)
def read_key(pem):  # SubjectPublicKeyInfo in PEM -> (key id, 32 bytes)
    match = re.fullmatch(rb"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*", pem)
    der = base64.b64decode(match[1]) if match and len(pem) <= 4 * KIB else b""
    need(len(der) == 44 and der[:12].hex() == "302a300506032b6570032100" and good_point(der[12:]), "key", "not an Ed25519 key in PEM, or weak")
    return base64.b64encode(hashlib.sha256(der).digest()).decode(), der[12:]
def is_signed(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return good_point(signature[:32]) and int.from_bytes(signature[32:], "little") < L
    except (InvalidSignature, ValueError): return False

# ------------------------------------------------------------------------------------------------------ §7 verification
class Verifier:
    def __init__(self, path, keys=(), expected=None):
        self.path, self.keys, self.expected = path, [read_key(pem) for pem in keys], expected
        self.id, self.config, self.seen, self.faults, self.attestations = None, None, {}, [], []
        self.unsigned, self.statements, self.unrecorded, self.uncounted = [], set(), {}, False
        self.lists, self.folder = {}, tempfile.TemporaryDirectory()
    def attempt(self, function, *arguments):  # Step 9 goes on with what follows, unless the tar itself is broken.
        try: return function(*arguments)
        except (Fault, OSError) as error:
            self.faults.append(error if isinstance(error, Fault) else Fault("unreadable", error))
            need(self.faults[-1].code != "tar", self.faults[0].code, self.faults[0].detail)
    def blob(self, descriptor, limit, output=None, keep=False):  # As in step 3: is there; has its size, at most the limit; has its digest. Read once, whoever points to it.
        digest, size, again = descriptor["digest"], descriptor["size"], descriptor["digest"] in self.seen
        found, data = self.seen[digest] if again else (self.source.take("blobs/sha256/" + digest[7:]), None)
        need(found is not None, "unfinished" if self.unfinished() else "blob-missing", digest)
        self.seen[digest] = found, data
        need(found == size <= limit, "blob-size", digest)
        need(not again or data is not None, "blob-digest", digest)             # as was found before
        if again: return data
        hasher = hashlib.sha256()
        for data in pieces(self.source, size):
            hasher.update(data)
            if output: output.write(data)
        need("sha256:" + hasher.hexdigest() == digest, "blob-digest", digest)
        self.seen[digest] = found, output.getvalue() if keep else True         # most are not kept: a hostile bundle has thousands
        return output
    def read_blob(self, descriptor, limit, keep=False):
        data = self.blob(descriptor, limit, io.BytesIO(), keep)
        return data.getvalue() if isinstance(data, io.BytesIO) else data
    def read_list(self, descriptor, uses):  # a file with the segment list; lists that later items share stay in a folder
        digest, kept = descriptor["digest"], self.lists
        uses[digest] -= 1
        path = os.path.join(self.folder.name, digest[7:])
        if kept.pop(digest, None) is None or not os.path.exists(path):
            with open(path, "wb") as file: self.blob(descriptor, 16 * MIB - sum(kept.values()), file)
        listed = open(path, "rb", buffering=0)
        if uses[digest]: kept[digest] = descriptor["size"]
        else: os.unlink(path)
        return listed
    def small_file(self, name, limit, code):
        size = self.source.take(name)
        need(size is not None and size <= limit, "unfinished" if size is None and self.unfinished() else code, "missing or too long")
        return self.source.read(size)
    def unfinished(self): return os.path.isdir(self.path) and "UNFINISHED" in os.listdir(self.path)                     # §3.5
    def integrity(self):
        self.source = Folder(self.path) if os.path.isdir(self.path) else Tar(self.path)
        document(self.small_file("oci-layout", 64, "oci-layout"), {"imageLayoutVersion": "1.0.0"}, "oci-layout", False)  # step 1
        raw = self.small_file("index.json", 64 * KIB, "index")                                                           # step 2
        listed, manifests = document(raw, INDEX_FORM, "index", False)["manifests"], []
        digests = {descriptor["digest"] for descriptor in listed}
        need(len(digests) == len(listed) <= 64, "index", "too many, or one twice")
        need(not re.search(rb"\s", re.sub(rb'"([^"\\]|\\.)*"', b"", raw)), "index", "white space")
        left = MIB                                                             # for all manifests together
        for descriptor in listed:                                                                                        # step 3
            manifest = document(self.read_blob(descriptor, left), MANIFEST_FORM, "manifest")
            left -= descriptor["size"]
            kind, name = manifest["artifactType"], descriptor.get("annotations", {}).get(REF_NAME)
            blobs = [manifest["config"]] + manifest["layers"]
            need(kind != SIGSTORE or blobs[0] == EMPTY and [(blob["mediaType"], len(blob)) for blob in blobs[1:]] == [(SIGSTORE, 3)],
                 "manifest", "not that of an attestation")                     # §3.3; vectors: of a manifest's form
            need(kind == EXHIBIT + "bundle.v1" or descriptor["size"] <= 64 * KIB, "blob-size", "of a referrer's manifest")
            need(descriptor.get("artifactType", kind) == kind, "index", "artifactType")
            need(name in (None, {EXHIBIT + "bundle.v1": "bundle", SIGSTORE: "attestation", EXHIBIT + "public-key.v1": "public-key"}.get(kind, name)), "index", "name")
            manifests.append((descriptor, manifest, blobs))
        bundles = [found for found in manifests if found[1]["artifactType"] == EXHIBIT + "bundle.v1"]                    # step 4
        need(bundles or not any(found[1]["artifactType"].startswith(EXHIBIT) and "subject" not in found[1] for found in manifests), "other-kind")
        need(len(bundles) == 1, "bundle-count", len(bundles))
        descriptor, bundle, bundle_blobs = bundles[0]
        self.id, referrers = descriptor["digest"], [found[1:] for found in manifests if found[1] is not bundle]
        need(self.expected in (None, self.id), "other-bundle", self.id)
        self.unsigned = sorted((found[1]["artifactType"], found[0]["digest"]) for found in manifests if found[1]["artifactType"] not in (SIGSTORE, EXHIBIT + "bundle.v1"))
        taken = digests | {blob["digest"] for blob in bundle_blobs}
        for manifest, blobs in referrers:
            need(manifest.get("subject") == {"digest": self.id, "mediaType": MANIFEST, "size": descriptor["size"]}, "referrer", "subject")
            need(not any(blob["digest"] in taken for blob in blobs), "referrer", "blobs of others")
        layers = {blobs[1]["digest"] for manifest, blobs in referrers if manifest["artifactType"] == SIGSTORE}
        for manifest, blobs in referrers:                                                                                # step 5
            attests = manifest["artifactType"] == SIGSTORE
            for blob in blobs: read = self.read_blob(blob, 64 * KIB, True) if blob["digest"] in layers else self.blob(blob, 64 * KIB if attests else ANY)
            if attests:
                found = document(read, SIGSTORE_FORM, "attestation")
                key_ids = [signature["keyid"] for signature in found["dsseEnvelope"]["signatures"]]
                material = found["verificationMaterial"]
                need(key_ids == [material["publicKey"]["hint"]], "attestation", "key ids")
                material["tlogEntries"] = bool(material["tlogEntries"])        # takes little memory
                self.attestations.append(found)
        raw = self.read_blob(bundle["config"], 2 * MIB)                                                                            # step 6
        need(version(raw) == 1, "version")
        config = document(raw, CONFIG_FORM, "config")
        items, key, steps = config["items"], config["disclosureKey"], config["plan"]["steps"]
        uses = collections.Counter([key] + [i[name] for i in items for name in ("layer", "segments")])
        need(len({i["name"] for i in items}) == len(items) <= 1000 and len({step["item"] for step in steps}) == len(steps) <= 1000, "config", "number or names of items or steps")
        need(ordered(config["window"]) and 1 <= len(config["clock"]) <= 64, "config", "window or clock")
        for i in items:
            check_source(i["source"])
            check_coverage(i["coverage"], i["redactions"])
        need(all(i["records"] <= i["leaves"] <= i["bytes"] <= 1 << 44 and uses[i["layer"]] == 1 and i["segments"] != key for i in items), "config", "sizes or digests")
        self.config, wanted = config, [("disclosure-key.v1", "disclosure-key", key)]                                     # step 7
        for i in items:
            wanted += ("segments.v1+zstd", i["name"] + ".segments.zst", i["segments"]), ("item.v1+zstd", i["name"] + ".warc.zst", i["layer"])
        sizes = {layer["digest"]: layer["size"] for layer in bundle["layers"]}
        layers = [{"annotations": {TITLE: title}, "digest": digest, "mediaType": EXHIBIT + kind, "size": sizes.get(digest, 0)}
                  for kind, title, digest in wanted]
        head = {name: bundle["config"][name] for name in ("digest", "size")} | {"mediaType": EXHIBIT + "config.v1+json"}
        follows = {"artifactType": EXHIBIT + "bundle.v1", "config": head, "layers": layers, "mediaType": MANIFEST, "schemaVersion": 2}
        need(bundle == follows, "manifest-config")
        need(layers[0]["size"] == 32, "disclosure-key", "size")                                                          # step 8
        key, shared = self.read_blob(layers[0], 32), collections.Counter(i["segments"] for i in items)
        for item, cuts, layer in zip(items, layers[1::2], layers[2::2]):                                             # step 9
            listed, content = self.attempt(self.read_list, cuts, shared), self.attempt(self.blob, layer, ANY, tempfile.TemporaryFile(buffering=0))
            gaps = collections.Counter()
            if listed and content: self.unrecorded[item["name"]] = self.attempt(check_item, item, key, listed, content, gaps)
            counted = {gap["reason"]: gap["count"] for gap in item["coverage"]["gaps"]}
            self.uncounted |= any(count > counted.get(reason, 0) for reason, count in gaps.items())
        for fault in [f for f in self.faults if f.code != "unreadable"] + self.faults: raise fault   # the machine's gives way to the bundle's
        self.source.rest({"blobs/sha256/" + digest[7:] for digest in self.seen})                                         # step 10
    def statement(self, attestation):  # §7.2: the case of one attestation
        envelope, key_id = attestation["dsseEnvelope"], attestation["verificationMaterial"]["publicKey"]["hint"]
        payload, signature = base64.b64decode(envelope["payload"]), base64.b64decode(envelope["signatures"][0]["sig"])
        message = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
        try:
            need(any(key_id == name and is_signed(key, signature, message) for name, key in self.keys), "other-signer")
            need(len(message) <= 4095, "statement", "too long")                # vectors: of the statement's form
            statement = document(payload, STATEMENT_FORM, "statement")
            predicate, subjects = statement["predicate"], [subject["digest"]["sha256"] for subject in statement["subject"]]
            need(len(subjects) == 1 and (predicate["stream"]["prev"] is None) == (predicate["stream"]["seq"] == 0), "statement")
            incident = self.config["incident"] if self.config else predicate["incident"]
            need(("sha256:" + subjects[0], predicate["incident"]) == (self.id, incident), "statement-subject")
            reserved = predicate["role"] != "collector" or "notBefore" in predicate or attestation["verificationMaterial"]["tlogEntries"]
            need(not reserved, "reserved")                                     # §9
            self.statements.add((key_id, payload))
            return "ok"
        except Fault as fault: return fault.code
    def signer(self, integrity):  # §7.2
        if self.id is None or not self.attestations and integrity[0] != "ok": return "not checked", "no attestation was read"
        if not (self.attestations and self.keys): return ("not checked", "no key was given") if self.attestations else ("failed", "unsigned")
        found = [self.statement(attestation) for attestation in self.attestations]
        differ = len({key_id for key_id, _ in self.statements}) < len(self.statements)
        order = ["statements-differ"] * differ + ["ok", "statement-subject", "statement", "reserved", "other-signer"]
        code = next(code for code in order if code in found or code == "statements-differ")
        return ("ok",) if code == "ok" else ("failed", code)
    def run(self):  # -> ({name: ("ok",) | ("failed", code, detail) | ("not checked", reason)}, exit code)
        integrity, completeness, later = ("ok",), ("not checked", "integrity is not ok"), ("not checked", "not in version 1")
        try:
            self.integrity()
            items, coverages = self.config["items"], [item["coverage"] for item in self.config["items"]]                  # §7.4
            codes = ["plan-items"] * bool({step["item"] for step in self.config["plan"]["steps"]} - {item["name"] for item in items}) + ["gap-count"] * self.uncounted
            codes += ["gaps" for c in coverages if c["ended"] != "complete" or any(gap["reason"] != "process_ended" for gap in c["gaps"])]
            for c in coverages:
                if None not in (c["declared"], c["events"]) and c["declared"] > c["events"]: codes.append("declared")
                if c["asked"] and c["effective"] != c["asked"]: codes.append("narrowed")
                if c["provisionalUntil"]: codes.append("provisional")
            completeness = ("failed", codes[0]) if codes else ("ok",)
        except (Fault, OSError) as error:
            integrity = ("failed", error.code, error.detail) if isinstance(error, Fault) else ("failed", "unreadable", str(error))
        findings = {"integrity": integrity, "signer": self.signer(integrity), "time": later, "log": later, "completeness": completeness}
        if any(finding[0] == "failed" and finding[1] not in ("unreadable", "other-kind", "version", "reserved") for finding in (integrity, findings["signer"])):    # §7.5
            return findings, 1
        return findings, 3 if not integrity == findings["signer"] == ("ok",) else 4 if completeness[0] == "failed" else 0
summary = lambda finding: " ".join(finding[:2]) if finding[0] == "failed" else finding[0]

def say(line): print("".join(character if character.isprintable() else "?" for character in line))      # no terminal escapes

def main():
    parser = argparse.ArgumentParser(description=__doc__)                      # exits with 2
    for name, more in (("path", {"metavar": "BUNDLE"}), ("--key", {"action": "append", "default": [], "metavar": "PUB.pem"}),
                       ("--bundle", {"metavar": "sha256:..."}), ("--json", {"action": "store_true"})):
        parser.add_argument(name, **more)
    options = parser.parse_args()
    try:
        need(options.bundle is None or DIGEST.fullmatch(options.bundle), "--bundle", "not a digest")
        verifier = Verifier(options.path, [open(name, "rb").read(4 * KIB + 1) for name in options.key], options.bundle)
    except (OSError, ValueError) as error: parser.error(str(error))
    findings, code = verifier.run()
    if options.json:
        print(json.dumps({"bundle": verifier.id, "findings": {name: summary(f) for name, f in findings.items()}, "exit": code,
                          "statements": [[key_id, json.loads(payload)] for key_id, payload in sorted(verifier.statements)], "unsigned": verifier.unsigned, "unrecorded": verifier.unrecorded}))
    else:
        for kind, digest in verifier.unsigned: say(f"also in this file, signed by nobody: {kind} {digest}")
    for name, finding in () if options.json else findings.items():
        line = f"{name}: {summary(finding)}" + "".join(f" ({part})" for part in finding[1 + (finding[0] == "failed"):] if part)
        say(line)
    sys.exit(code)
if __name__ == "__main__": main()
