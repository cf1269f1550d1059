// Checks signature, digests, config and record trees of an Exhibit bundle by SPEC.md ("§"), with Node 20 and the program `zstd`. `check` takes a map of the bundle's files and
// the auditor's keys in PEM. It returns the signer's finding, "ok" or "not checked", or throws a Fault with the code of the first broken rule.
// Out of its scope: the forms of tar, index.json, zstd frames and WARC, and limits on bytes.
import { createHash, createHmac, createPublicKey, verify } from "node:crypto";
import { spawnSync } from "node:child_process";

export class Fault extends Error {}
const need = (condition, code) => { if (!condition) throw new Fault(code); };
const hashed = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const hmac = (key, ...parts) => parts.reduce((mac, part) => mac.update(part), createHmac("sha256", key)).digest();
const unique = (list) => new Set(list).size === list.length, isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// §2: the canonical form of RFC 8785. `name` is the member that has the value: two of them may be negative.
function canonical(value, name = "", depth = 1) {
  if (typeof value === "number") need(Number.isSafeInteger(value) && (value >= 0 || name.startsWith("offsetMilliseconds")));
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  need(depth <= 16);
  if (Array.isArray(value)) return `[${value.map((element) => canonical(element, "", depth + 1)).join()}]`;
  return `{${Object.keys(value).sort().map((key) => `${canonical(key)}:${canonical(value[key], key, depth + 1)}`).join()}}`;
}
const isWellFormed = (name, value) => need(name.isWellFormed() && (typeof value !== "string" || value.isWellFormed())) ?? value, TEXT = /"(?:[^"\\]|\\.)*"/gs;
function parse(bytes, code, read = (value, text) => need(canonical(value) === text) ?? value) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return need((text.replace(TEXT, "").match(/[{[,]/g) ?? []).length <= 65536) ?? read(JSON.parse(text, isWellFormed), text);
  } catch { throw new Fault(code); }
}
function version(value, text) { // §4: `v` stands for its name, `s` for other texts, lists and objects
  let [flat, depth] = [text.replace(TEXT, (name, at) => name === '"version"' && /^\s*:/.test(text.slice(at + 9, at + 99)) ? "v" : "s"), 1];
  for (let before; before !== flat; depth++) [before, flat] = [flat, flat.replace(/(?<=[{[][^]*)[{[][^{}[\]]*[\]}]/g, "s")];
  const found = /^\s*\{[^v]*v\s*:\s*(0|[1-9][0-9]*)\s*(,[^v]*)?\}\s*$/.exec(flat);
  return need(found && depth <= 17 && int(Number(found[1]))) ?? Number(found[1]);
}
// A form is a pattern, a function, a list of one form, or an object of forms, of which those called `name?` are optional.
function fits(value, form) {
  if (form instanceof RegExp) return typeof value === "string" && form.test(value);
  if (typeof form === "function") return form(value);
  if (Array.isArray(form)) return Array.isArray(value) && value.every((element) => fits(element, form[0]));
  const members = new Map(Object.entries(form).map(([name, member]) => [name.replace("?", ""), { member, isOptional: name.endsWith("?") }]));
  return isObject(value) && Object.keys(value).every((name) => members.has(name))
    && [...members].every(([name, { member, isOptional }]) => Object.hasOwn(value, name) ? fits(value[name], member) : isOptional);
}
const is = (constant) => (value) => value === constant, or0 = (form) => (value) => value === null || fits(value, form), all = (...forms) => (value) => forms.every((form) => fits(value, form));
const list = (form, max, min = 0) => all([form], (value) => value.length >= min && value.length <= max), words = (text) => (value) => text.split(" ").includes(value);
const any = (value) => typeof value === "string", text = (value) => any(value) && Buffer.byteLength(value) <= 4096;
const int = (value) => Number.isSafeInteger(value) && value >= 0, signed = Number.isSafeInteger, positive = (value) => int(value) && value > 0;
const base64 = (value) => any(value) && Buffer.from(value, "base64").toString("base64") === value, base64Of = (bytes) => all(base64, (value) => Buffer.from(value, "base64").length === bytes);
const DIGEST = /^sha256:[0-9a-f]{64}$/, HEX = /^[0-9a-f]{64}$/, ITEM = /^[a-z0-9][a-z0-9._-]{0,127}$/, INCIDENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
function time(value) {
  const parts = any(value) && /^(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{0,8}[1-9])?Z$/.exec(value);
  const day = parts && parts[1] >= "0001" && parts[1] < "9999" && new Date(`${parts[1]}T00:00:00Z`); // 31 February is 3 March here
  return Boolean(day) && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(parts[1]);
}
const ordered = (...times) => times.every((t, i) => i === 0 || times[i - 1].slice(0, -1) <= t.slice(0, -1)); // without the Z, as texts
const window = or0(all({ from: time, until: time }, (w) => ordered(w.from, w.until)));

// §3.3
const EXHIBIT = "application/vnd.exhibit.", MANIFEST = "application/vnd.oci.image.manifest.v1+json", SIGSTORE = "application/vnd.dev.sigstore.bundle.v0.3+json";
const annotations = (value) => isObject(value) && Object.keys(value).length <= 16 && Object.values(value).every(any), descriptor = { "annotations?": annotations, "artifactType?": any, digest: DIGEST,
  mediaType: any, size: int };
const manifestForm = { artifactType: any, config: descriptor, layers: [descriptor], mediaType: is(MANIFEST), schemaVersion: is(2), "subject?": descriptor };

// §4
const server = all({ origin: all(text, /^https?:\/\/[!-.0-~]+$/), issuer: or0(all(text, (value) => value !== "")), responses: positive }, (s) => s.issuer === null || s.origin.startsWith("https:"));
const place = ({ origin, issuer }) => Buffer.from(`${origin}\0${issuer ?? ""}`), inOrder = (servers) => servers.every((s, i) => i === 0 || Buffer.compare(place(servers[i - 1]), place(s)) < 0);
const offsets = all({ samples: positive, offsetMillisecondsMin: signed, offsetMillisecondsMax: signed }, (value) => value.offsetMillisecondsMin <= value.offsetMillisecondsMax);
const ended = words("complete deadline limit forbidden not_found gone throttled cancelled failed"), reason = words("permission_denied vanished too_large shrank hung special_file read_failed "
  + "deadline over_budget cancelled unsupported crashed retention rate_limited unreachable malformed unauthenticated refused foreign_link process_ended");
const gap = all({ reason, count: positive, examples: list(text, 16), bytesKept: int, bytesLost: int }, (g) => g.examples.length <= g.count);
const coverage = all({ asked: window, effective: window, pages: int, attempts: int, events: or0(int), declared: or0(int), first: or0(time), last: or0(time), duplicates: int, ended,
  gaps: all([gap], (gaps) => unique(gaps.map((g) => g.reason))), provisionalUntil: or0(time) },
({ asked, effective }) => !effective || asked && ordered(asked.from, effective.from) && ordered(effective.until, asked.until), ({ first, last }) => !first || !last || ordered(first, last),
({ events, duplicates, pages, attempts }) => (events === null || duplicates <= events && (pages > 0 || events === 0)) && (attempts === 0 || pages <= attempts));
const source = { provider: text, api: text, account: or0(text), region: or0(text), identity: or0(text), clock: or0(offsets), servers: all(list(server, 32), inOrder), otherResponses: int };
const itemForm = all({ name: ITEM, layer: DIGEST, segments: DIGEST, bytes: (value) => int(value) && value <= 2 ** 44, records: int, leaves: int, root: HEX, source, coverage,
  redactions: all(list({ what: text, count: positive }, 64), (value) => unique(value.map((r) => r.what))) }, (item) => item.records <= item.leaves && item.leaves <= item.bytes);
const step = { item: ITEM, what: text, objectBytesMax: or0(int), itemBytesMax: or0(int) };
const configForm = all({ version: is(1), incident: INCIDENT, supplements: or0(DIGEST), window, disclosureKey: DIGEST, items: all(list(itemForm, 1000), (items) => unique(items.map((i) => i.name))),
  plan: { deadlineSeconds: or0(int), steps: all(list(step, 1000), (steps) => unique(steps.map((s) => s.item))) }, clock: list({ event: text, utc: time, bootNanoseconds: int }, 64, 1),
  collector: { name: text, version: text, commit: or0(text), binary: or0(DIGEST), host: text, kernel: text, boot: or0(text), identity: text },
  examined: or0({ root: text, os: or0(text), machineId: or0(text), host: or0(text) }) }, ({ items, disclosureKey }) => {
  const others = new Set([disclosureKey, ...items.map((item) => item.segments)]);
  return unique(items.map((item) => item.layer)) && items.every((item) => !others.has(item.layer) && item.segments !== disclosureKey);
});

// §6
const material = { publicKey: { hint: base64Of(32) }, tlogEntries: list(isObject, 16), "timestampVerificationData?": { rfc3161Timestamps: list({ signedTimestamp: any }, 16) } };
const envelope = { payload: base64, payloadType: is("application/vnd.in-toto+json"), signatures: list({ keyid: base64Of(32), sig: base64Of(64) }, 1, 1) };
const attestationForm = all({ dsseEnvelope: envelope, mediaType: is(SIGSTORE), verificationMaterial: material }, (a) => a.verificationMaterial.publicKey.hint === a.dsseEnvelope.signatures[0].keyid);
const stream = all({ id: /^[0-9a-f]{32}$/, prev: or0(DIGEST), seq: int }, ({ prev, seq }) => (prev === null) === (seq === 0)), role = words("collector witness custodian auditor counsel");
const statementForm = { _type: is("https://in-toto.io/Statement/v1"), predicateType: is("urn:exhibit:capture:v1"), subject: list({ digest: { sha256: HEX }, name: is("bundle") }, 1, 1),
  predicate: { incident: INCIDENT, "notBefore?": any, role, signedAt: time, stream } };
const P = 2n ** 255n - 19n, L = 2n ** 252n + 27742317777372353535851937790883648493n, number = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
const SMALL = ["00".repeat(32), `01${"00".repeat(31)}`, `ec${"ff".repeat(30)}7f`, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"].map((point) => number(Buffer.from(point, "hex")));
const isGoodPoint = (bytes) => { const y = number(bytes) & (1n << 255n) - 1n; return y < P && !SMALL.includes(y); };
function checkStatement({ dsseEnvelope, verificationMaterial }, keys, id, config) { // returns the key and what it signed
  const { payload, payloadType, signatures: [{ keyid, sig }] } = dsseEnvelope, key = keys.get(keyid), bytes = Buffer.from(payload, "base64"), signature = Buffer.from(sig, "base64");
  const message = Buffer.concat([Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${bytes.length} `), bytes]);
  need(key && isGoodPoint(signature.subarray(0, 32)) && number(signature.subarray(32)) < L && verify(null, message, key, signature), "other-signer");
  const statement = parse(bytes, "statement"), { subject, predicate } = statement ?? {};
  need(message.length <= 4095 && fits(statement, statementForm), "statement");
  need(`sha256:${subject[0].digest.sha256}` === id && predicate.incident === config.incident, "statement-subject");
  need(predicate.role === "collector" && !("notBefore" in predicate) && verificationMaterial.tlogEntries.length === 0, "reserved");
  return { keyid, payload };
}

// §5.3, §5.4
function decompress(blob, code) {
  const { status, stdout } = blob.length ? spawnSync("zstd", ["-dcq"], { input: blob, maxBuffer: 1 << 28 }) : { status: 0, stdout: blob };
  return need(status === 0, code) ?? stdout;
}
function checkItem(item, key, listBlob, layer) {
  const plain = decompress(layer, "frames"), itemKey = hmac(key, "evidence/v1/item\0", item.name), index = Buffer.alloc(8);
  let [at, records, value, factor, level] = [0, 0, 0, 1, []];
  for (const byte of decompress(listBlob, "segment-list")) {
    [value, factor] = [value + (byte & 127) * factor, factor * 128];
    if (byte >= 128) continue;
    const [length, kind] = [Math.floor(value / 2), value % 2];
    need((byte > 0 || factor === 128) && length >= 1 && length <= 2 ** 44, "segment-list");
    index.writeBigUInt64BE(BigInt(level.length));
    level.push(hashed(Buffer.of(0, kind), hmac(itemKey, "evidence/v1/leaf\0", index).subarray(0, 16), plain.subarray(at, at + length)));
    [at, records, value, factor] = [at + length, records + kind, 0, 1];
  }
  need(factor === 1, "segment-list");
  need(plain.length === item.bytes && at === item.bytes && records === item.records && level.length === item.leaves, "item-size");
  // The shape of RFC 6962: neighbours are joined, and the last of an odd number moves up.
  while (level.length > 1) level = level.flatMap((left, i) => i % 2 ? [] : i + 1 < level.length ? [hashed(Buffer.of(1), left, level[i + 1])] : [left]);
  need((level[0] ?? hashed()).toString("hex") === item.root, "item-root");
}

// §7
export function check(files, pems) {
  const keys = new Map(pems.map(createPublicKey).map((key) => [hashed(key.export({ type: "spki", format: "der" })).toString("base64"), key]));
  const blob = ({ digest, size }) => { // step 3
    const bytes = files.get(`blobs/sha256/${digest.slice(7)}`);
    need(bytes?.length === size, bytes ? "blob-size" : "blob-missing");
    return need(`sha256:${hashed(bytes).toString("hex")}` === digest, "blob-digest") ?? bytes;
  };
  const listed = parse(files.get("index.json") ?? Buffer.of(), "index", ({ manifests }) => need(fits(manifests, list(descriptor, 64))) ?? manifests);
  const manifests = listed.map((entry) => ({ id: entry.digest, ...parse(blob(entry), "manifest") }));
  need(manifests.every(({ id, ...manifest }) => fits(manifest, manifestForm) && (manifest.artifactType !== SIGSTORE || manifest.layers.length === 1)), "manifest");
  const bundles = manifests.filter((m) => m.artifactType === `${EXHIBIT}bundle.v1`); // step 4
  need(bundles.length === 1, bundles.length || !manifests.some((m) => m.artifactType.startsWith(EXHIBIT) && !m.subject) ? "bundle-count" : "other-kind");
  const [{ id, ...bundle }] = bundles, referrers = manifests.filter((m) => m.id !== id);
  need(referrers.every((m) => m.subject?.digest === id), "referrer");
  const contents = referrers.map((m) => ({ kind: m.artifactType, blobs: [m.config, ...m.layers].map(blob) })); // step 5
  const attestations = contents.filter(({ kind }) => kind === SIGSTORE).map(({ blobs }) => parse(blobs[1], "attestation"));
  need(fits(attestations, [attestationForm]), "attestation");
  const bytes = blob(bundle.config); // step 6
  need(parse(bytes, "config", version) === 1, "version");
  const config = parse(bytes, "config");
  need(fits(config, configForm), "config");
  const size = (digest) => bundle.layers.findLast((layer) => layer.digest === digest)?.size ?? 0;
  const layer = (kind, title, digest) => ({ annotations: { "org.opencontainers.image.title": title }, digest, mediaType: EXHIBIT + kind, size: size(digest) });
  const layers = [layer("disclosure-key.v1", "disclosure-key", config.disclosureKey), ...config.items.flatMap((item) => [
    layer("segments.v1+zstd", `${item.name}.segments.zst`, item.segments), layer("item.v1+zstd", `${item.name}.warc.zst`, item.layer)])];
  const head = { digest: bundle.config.digest, mediaType: `${EXHIBIT}config.v1+json`, size: bundle.config.size };
  need(canonical(bundle) === canonical({ artifactType: `${EXHIBIT}bundle.v1`, config: head, layers, mediaType: MANIFEST, schemaVersion: 2 }), "manifest-config"); // step 7
  const key = blob(need(layers[0].size === 32, "disclosure-key") ?? layers[0]); // step 8
  config.items.forEach((item, i) => checkItem(item, key, blob(layers[2 * i + 1]), blob(layers[2 * i + 2]))); // step 9
  if (attestations.length && !keys.size) return "not checked"; // §7.2
  const [good, bad] = [[], ["unsigned"]];
  for (const attestation of attestations) try { good.push(checkStatement(attestation, keys, id, config)); } catch (fault) { bad.push(need(fault instanceof Fault, fault) ?? fault.message); }
  need(good.every((one) => good.every((other) => one.keyid !== other.keyid || one.payload === other.payload)), "statements-differ");
  return need(good.length, ["statement-subject", "statement", "reserved", "other-signer", "unsigned"].find((code) => bad.includes(code))) ?? "ok";
}
