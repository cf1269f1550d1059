// Checks signature, digests, config and record trees of a bundle, given as a map of its files; `check` throws
// a Fault with SPEC.md's code, or gives "ok" or "not checked" for the signer. Follows SPEC.md, for Node 20 and the program `zstd`. Out of its scope: form of tar, index, frames and WARC.
import { createHash, createHmac, createPublicKey, verify } from "node:crypto";
import { spawnSync } from "node:child_process";
export class Fault extends Error {}
const need = (condition, code) => { if (!condition) throw new Fault(code); };
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest(), same = (a, b) => jcs(a) === jcs(b);
const MANIFEST = "application/vnd.oci.image.manifest.v1+json", EXHIBIT = "application/vnd.exhibit.", SIGSTORE = "application/vnd.dev.sigstore.bundle.v0.3+json";
// §2: RFC 8785, for integers.
function jcs(value, depth = 0, signed = false) {
  if (typeof value === "number") need(Number.isSafeInteger(value) && (signed || value >= 0), "json");
  if (typeof value === "string") need(value.isWellFormed(), "json");
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  need(depth < 16, "json");
  if (Array.isArray(value)) return `[${value.map((element) => jcs(element, depth + 1)).join()}]`;
  return `{${Object.keys(value).sort().map((name) => `${jcs(name)}:${jcs(value[name], depth + 1, name.startsWith("offsetMilliseconds"))}`).join()}}`;
}
function parse(bytes, code, canonical = true) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    need((text.replace(/"(?:[^"\\]|\\.)*"/gs, "").match(/[{[,]/g) ?? []).length <= 65536, code);
    const value = JSON.parse(text);
    need(jcs(value) === text || !canonical, code); // the depth counts in either case
    return value;
  } catch { throw new Fault(code); }
}
// A form: an object ("name?" is optional), a list of one form, a pattern, or a function.
function fits(value, form) {
  if (form instanceof RegExp) return typeof value === "string" && form.test(value);
  if (typeof form === "function") return form(value);
  if (Array.isArray(form)) return Array.isArray(value) && value.every((element) => fits(element, form[0]));
  const names = Object.keys(form).map((name) => name.replace("?", ""));
  return isObject(value) && Object.keys(value).every((name) => names.includes(name))
    && Object.entries(form).every(([name, member]) => name.endsWith("?") && !(name.slice(0, -1) in value) || fits(value[name.replace("?", "")], member));
}
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value), or0 = (form) => (value) => value === null || fits(value, form);
const int = (value) => Number.isSafeInteger(value) && value >= 0, text = (value) => typeof value === "string" && Buffer.byteLength(value) <= 4096, any = (value) => typeof value === "string", is = (constant) => (value) => value === constant;
const DIGEST = /^sha256:[0-9a-f]{64}$/, HEX = /^[0-9a-f]{64}$/, ITEM = /^[a-z0-9][a-z0-9._-]{0,127}$/, INCIDENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, KEY_ID = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/, BASE64 = /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)?$/;
function time(value) {
  const match = any(value) && /^(\d{4})-(\d\d)-(\d\d)T(\d\d):([0-5]\d):([0-5]\d)(\.\d{0,8}[1-9])?Z$/.exec(value);
  if (!match || match[1] < "0001" || match[1] > "9998" || match[4] > "23") return false;
  const date = new Date(`${match[1]}-${match[2]}-${match[3]}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(value.slice(0, 10));
}
const order = (...times) => times.every((t, i) => i === 0 || times[i - 1].slice(0, -1) <= t.slice(0, -1)), window0 = or0((w) => fits(w, { from: time, until: time }) && order(w.from, w.until));
const ENDED = /^(complete|deadline|limit|forbidden|not_found|gone|throttled|cancelled|failed)$/, REASON = /^(permission_denied|vanished|too_large|shrank|hung|special_file|read_failed|deadline|over_budget|cancelled|unsupported|crashed|retention|rate_limited|unreachable|malformed|unauthenticated|refused|foreign_link|process_ended)$/;
const ORIGIN = /^https?:\/\/[!-.0-~]+$/, place = ({ origin, issuer }) => Buffer.from(`${origin}\0${issuer ?? ""}`); // ordered by its bytes
const DESCRIPTOR = { "annotations?": (a) => isObject(a) && Object.values(a).every(any) && Object.keys(a).length <= 16, "artifactType?": any, digest: DIGEST, mediaType: any, size: int }, MANIFEST_FORM = { artifactType: any, config: DESCRIPTOR, layers: [DESCRIPTOR], mediaType: is(MANIFEST), schemaVersion: is(2), "subject?": DESCRIPTOR };
const CONFIG = { version: is(1), incident: INCIDENT, supplements: or0(DIGEST), window: window0, disclosureKey: DIGEST,
  plan: { deadlineSeconds: or0(int), steps: [{ item: ITEM, what: text, objectBytesMax: or0(int), itemBytesMax: or0(int) }] },
  collector: { name: text, version: text, commit: or0(text), binary: or0(DIGEST), host: text, kernel: text, boot: or0(text), identity: text },
  examined: or0({ root: text, os: or0(text), machineId: or0(text), host: or0(text) }), clock: [{ event: text, utc: time, bootNanoseconds: int }],
  items: [{ name: ITEM, layer: DIGEST, segments: DIGEST, bytes: int, records: int, leaves: int, root: HEX,
    source: { provider: text, api: text, account: or0(text), region: or0(text), identity: or0(text),
      clock: or0((c) => fits(c, { samples: int, offsetMillisecondsMin: Number.isSafeInteger, offsetMillisecondsMax: Number.isSafeInteger }) && c.samples > 0 && c.offsetMillisecondsMin <= c.offsetMillisecondsMax),
      servers: (list) => fits(list, [{ origin: ORIGIN, issuer: or0((i) => text(i) && i !== ""), responses: int }]) && list.length <= 32 && list.every((s, i) => text(s.origin) && s.responses > 0
        && !(s.issuer !== null && s.origin.startsWith("http:")) && (i === 0 || Buffer.compare(place(list[i - 1]), place(s)) < 0)), otherResponses: int },
    coverage: { asked: window0, effective: window0, pages: int, attempts: int, events: or0(int), declared: or0(int), first: or0(time), last: or0(time),
      duplicates: int, ended: ENDED, gaps: [{ reason: REASON, count: int, examples: [text], bytesKept: int, bytesLost: int }], provisionalUntil: or0(time) },
    redactions: [{ what: text, count: int }] }] };
const unique = (list) => new Set(list).size === list.length;
function checkCoverage({ asked, effective, first, last, events, duplicates, pages, attempts, gaps }) {
  return (!effective || asked && order(asked.from, effective.from) && order(effective.until, asked.until)) && (!first || !last || order(first, last))
    && (events === null || duplicates <= events && (pages > 0 || events === 0)) && (attempts === 0 || pages <= attempts) && unique(gaps.map((gap) => gap.reason))
    && gaps.every((gap) => gap.count > 0 && gap.examples.length <= Math.min(16, gap.count));
}
// §6: what `verify` does not see to.
const P = 2n ** 255n - 19n, L = 2n ** 252n + 27742317777372353535851937790883648493n, number = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
const Y8 = number(Buffer.from("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "hex"));
const goodPoint = (bytes) => { const y = number(bytes) & (1n << 255n) - 1n; return y < P && ![0n, 1n, P - 1n, Y8, P - Y8].includes(y); };
function statementOf(attestation, keys, id, config) {
  const { payload, payloadType, signatures: [{ keyid, sig }] } = attestation.dsseEnvelope, bytes = Buffer.from(payload, "base64"), signature = Buffer.from(sig, "base64");
  const message = Buffer.concat([Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${bytes.length} `), bytes]), key = keys.get(keyid);
  need(key && goodPoint(signature.subarray(0, 32)) && number(signature.subarray(32)) < L && verify(null, message, key, signature), "other-signer");
  need(message.length <= 4095, "statement");
  const statement = parse(bytes, "statement");
  need(fits(statement, { _type: is("https://in-toto.io/Statement/v1"), predicateType: is("urn:exhibit:capture:v1"), subject: [{ digest: { sha256: HEX }, name: is("bundle") }],
    predicate: { incident: INCIDENT, role: /^(collector|witness|custodian|auditor|counsel)$/, "notBefore?": any, signedAt: time, stream: { id: /^[0-9a-f]{32}$/, prev: or0(DIGEST), seq: int } } })
    && statement.subject.length === 1 && (statement.predicate.stream.prev === null) === (statement.predicate.stream.seq === 0), "statement");
  need(`sha256:${statement.subject[0].digest.sha256}` === id && (!config || statement.predicate.incident === config.incident), "statement-subject");
  need(statement.predicate.role === "collector" && !("notBefore" in statement.predicate) && !attestation.verificationMaterial.tlogEntries.length, "reserved"); // §9
  return `${keyid} ${payload}`;
}
function unzstd(bytes, code) {
  const { status, stdout } = bytes.length ? spawnSync("zstd", ["-dcq"], { input: bytes, maxBuffer: 1 << 28 }) : { status: 0, stdout: bytes };
  return need(status === 0, code) ?? stdout;
}
// §5.3 and §5.4.
function checkItem(item, key, list, layer) {
  const plain = unzstd(layer, "frames"), itemKey = createHmac("sha256", key).update(`evidence/v1/item\0${item.name}`).digest();
  let [at, records, value, factor, level] = [0, 0, 0, 1, []];
  for (const byte of unzstd(list, "segment-list")) {
    [value, factor] = [value + (byte & 127) * factor, factor * 128];
    if (byte & 128) continue;
    const [length, kind, index] = [Math.floor(value / 2), value % 2, Buffer.alloc(8)];
    need(length >= 1 && length <= 2 ** 44 && (byte > 0 || factor === 128), "segment-list");
    index.writeBigUInt64BE(BigInt(level.length));
    const salt = createHmac("sha256", itemKey).update("evidence/v1/leaf\0").update(index).digest().subarray(0, 16);
    level.push(sha256(Buffer.from([0, kind]), salt, plain.subarray(at, at + length)));
    [at, records, value, factor] = [at + length, records + kind, 0, 1];
  }
  need(factor === 1, "segment-list");
  need(plain.length === item.bytes && at === item.bytes && records === item.records && level.length === item.leaves, "item-size");
  while (level.length > 1) level = level.flatMap((left, i) => i % 2 ? [] : i + 1 < level.length ? [sha256(Buffer.from([1]), left, level[i + 1])] : [left]);
  need((level[0] ?? sha256()).toString("hex") === item.root, "item-root");
}
function find(all, { digest, size }) {
  const bytes = all.get(`blobs/sha256/${digest.slice(7)}`);
  need(bytes?.length === size, bytes ? "blob-size" : "blob-missing");
  need(`sha256:${sha256(bytes).toString("hex")}` === digest, "blob-digest");
  return bytes;
}
export function check(all, pems) {
  const keys = new Map(pems.map(createPublicKey).map((key) => [sha256(key.export({ type: "spki", format: "der" })).toString("base64"), key]));
  const index = parse(all.get("index.json") ?? Buffer.of(), "index", false), manifests = (fits(index?.manifests, [DESCRIPTOR]) ? index.manifests : []).map((descriptor) => ({ descriptor, manifest: parse(find(all, descriptor), "manifest") }));
  need(manifests.every(({ manifest }) => fits(manifest, MANIFEST_FORM)), "manifest");
  const bundles = manifests.filter(({ manifest }) => manifest.artifactType === `${EXHIBIT}bundle.v1`);
  need(bundles.length || !manifests.some(({ manifest }) => manifest.artifactType.startsWith(EXHIBIT) && !manifest.subject), "other-kind");
  need(bundles.length === 1, "bundle-count");
  const [{ descriptor: { digest: id }, manifest: bundle }] = bundles, attestations = [];
  for (const { descriptor, manifest } of manifests) {
    need(manifest === bundle || manifest.subject?.digest === id, "referrer");
    const blobs = manifest === bundle ? [] : [manifest.config, ...manifest.layers].map((blob) => find(all, blob));
    if (manifest.artifactType === SIGSTORE) attestations.push(parse(blobs[1] ?? Buffer.of(), "attestation"));
  }
  const material = (m) => fits(m, { publicKey: { hint: KEY_ID }, tlogEntries: (t) => fits(t, [isObject]) && t.length <= 16,
    "timestampVerificationData?": { rfc3161Timestamps: (t) => fits(t, [{ signedTimestamp: any }]) && t.length <= 16 } });
  need(attestations.every((a) => fits(a, { dsseEnvelope: { payload: BASE64, payloadType: is("application/vnd.in-toto+json"), signatures: [{ keyid: KEY_ID, sig: (s) => fits(s, BASE64) && s.length === 88 && s[86] === "=" }] },
    mediaType: is(SIGSTORE), verificationMaterial: material }) && a.dsseEnvelope.signatures.length === 1 && a.dsseEnvelope.signatures[0].keyid === a.verificationMaterial.publicKey.hint), "attestation");
  const bytes = find(all, bundle.config), { version } = parse(bytes, "config", false) ?? {};
  need(!Number.isSafeInteger(version) || version === 1, "version");
  const config = parse(bytes, "config"), { items, plan: { steps } = {} } = config;
  need(fits(config, CONFIG) && items.length <= 1000 && steps.length <= 1000 && unique(items.map((i) => i.name)) && unique(steps.map((s) => s.item)) && config.clock.length >= 1 && config.clock.length <= 64
    && items.every((i) => i.records <= i.leaves && i.leaves <= i.bytes && i.bytes <= 2 ** 44 && i.segments !== config.disclosureKey && checkCoverage(i.coverage)
      && i.redactions.length <= 64 && unique(i.redactions.map((r) => r.what)) && i.redactions.every((r) => r.count > 0))
    && items.every((i) => [config.disclosureKey, ...items.flatMap((other) => [other.segments, other.layer])].filter((digest) => digest === i.layer).length === 1), "config");
  const layer = (kind, title, digest) => ({ annotations: { "org.opencontainers.image.title": title }, digest, mediaType: EXHIBIT + kind, size: bundle.layers.findLast((l) => l.digest === digest)?.size ?? 0 });
  const layers = [layer("disclosure-key.v1", "disclosure-key", config.disclosureKey), ...items.flatMap((i) => [layer("segments.v1+zstd", `${i.name}.segments.zst`, i.segments), layer("item.v1+zstd", `${i.name}.warc.zst`, i.layer)])];
  need(same(bundle, { artifactType: `${EXHIBIT}bundle.v1`, config: { digest: bundle.config.digest, mediaType: `${EXHIBIT}config.v1+json`, size: bundle.config.size }, layers, mediaType: MANIFEST, schemaVersion: 2 }), "manifest-config");
  need(layers[0].size === 32, "disclosure-key");
  const key = find(all, layers[0]);
  items.forEach((item, i) => checkItem(item, key, find(all, layers[2 * i + 1]), find(all, layers[2 * i + 2])));
  if (attestations.length && !keys.size) return "not checked";
  const [good, bad] = [[], ["unsigned"]];
  for (const attestation of attestations) try { good.push(statementOf(attestation, keys, id, config)); } catch (fault) { if (!(fault instanceof Fault)) throw fault; bad.push(fault.message); }
  need(unique([...new Set(good)].map((statement) => statement.split(" ")[0])), "statements-differ");
  need(good.length, ["statement-subject", "statement", "reserved", "other-signer", "unsigned"].find((code) => bad.includes(code)));
  return "ok";
}
