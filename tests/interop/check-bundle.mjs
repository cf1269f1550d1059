// usage: node check-bundle.mjs BUNDLE.tar KEY.pem
// Checks signatures, digests, config and record trees of an Exhibit bundle. Exit code 0: ok, 1: not ok, 2: unreadable input.
// Written from SPEC.md alone, by somebody who knew nothing else of Exhibit, in under 150 lines of code. Left out are the
// form of the tar, of oci-layout, of index.json and of referrers; zstd frames; WARC; completeness; folders; an expected id.
// check-bundle-accepts.txt lists the vectors that it therefore accepts.
import { readFileSync } from 'node:fs';
import { createHash, createHmac, createPublicKey, verify } from 'node:crypto';
import { execFileSync } from 'node:child_process';
const EXHIBIT = 'application/vnd.exhibit.', MANIFEST = 'application/vnd.oci.image.manifest.v1+json', MIB = 2 ** 20;
const SIGSTORE = 'application/vnd.dev.sigstore.bundle.v0.3+json', IN_TOTO = 'application/vnd.in-toto+json';
const need = (holds, code) => { if (!holds) throw Error(code); };
const sha = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
const hmac = (key, label, data) => createHmac('sha256', key).update(label + '\0').update(data).digest();
const unique = list => new Set(list).size === list.length;
const isObject = v => typeof v === 'object' && v !== null && !Array.isArray(v); // §2: canonical JSON
const jcs = v => Array.isArray(v) ? `[${v.map(jcs)}]` : !isObject(v) ? JSON.stringify(v)
  : `{${Object.keys(v).sort().map(k => JSON.stringify(k) + ':' + jcs(v[k]))}}`;
function canonical(bytes, code) {
  const value = JSON.parse(bytes), bare = bytes.toString().replace(/"[^"\\]*(?:\\.[^"\\]*)*"/g, '');
  return need(Buffer.from(jcs(value)).equals(bytes) && bare.split(/[{[,]/).length <= 65537, code) ?? value;
}
// §2, §4: types; forms, `form name:type…;` (`:type` if not the name, nor text; ? or null; *9 list of up to 9); rules
const like = re => v => typeof v === 'string' && re.test(v), any = s => like(RegExp(`^(${s.replace(/\s+/g, '|')})$`));
const ordered = (a, b) => a === null || b === null || a.slice(0, -1) <= b.slice(0, -1); // of two times
const TYPES = {
  string: v => typeof v === 'string' && v.isWellFormed(), text: v => TYPES.string(v) && Buffer.byteLength(v) <= 4096,
  signed: Number.isSafeInteger, int: v => TYPES.signed(v) && v >= 0, entry: isObject, count: v => TYPES.int(v) && v > 0,
  digest: like(/^sha256:[0-9a-f]{64}$/), incident: like(/^[A-Za-z0-9][\w.-]{0,63}$/), id: like(/^[0-9a-f]{32}$/),
  time: v => like(/^(?!0000|9999)\d{4}(-\d\d){2}T\d\d(:\d\d){2}(\.\d{0,8}[1-9])?Z$/)(v) && !isNaN(new Date(v))
    && new Date(v.slice(0, 19) + 'Z').toISOString().startsWith(v.slice(0, 19)), root: like(/^[0-9a-f]{64}$/),
  itemName: like(/^[a-z0-9][a-z0-9._-]{0,127}$/), origin: v => TYPES.text(v) && /^https?:\/\/[!-.0-~]+$/.test(v),
  reason: any(`permission_denied vanished too_large shrank hung special_file read_failed deadline over_budget
    cancelled unsupported crashed retention rate_limited unreachable malformed unauthenticated refused foreign_link
    process_ended`), ended: any('complete deadline limit forbidden not_found gone throttled cancelled failed'),
};
const FORMS = new Map(`config version:int incident supplements:digest? window? plan collector examined? clock:reading*64
  disclosureKey:digest items:item*1000; window from:time until:time; reading event utc:time bootNanoseconds:int; plan
  deadlineSeconds:int? steps:step*1000; step item:itemName what objectBytesMax:int? itemBytesMax:int?; collector name
  version commit? binary:digest? host kernel boot? identity; examined root:text os? machineId? host?; item name:itemName
  layer:digest segments:digest bytes:int records:int leaves:int root source coverage redactions:redaction*64; redaction
  what count; source provider api account? region? identity? clock:offsets? servers:server*32 otherResponses:int;
  offsets samples:count offsetMillisecondsMin:signed offsetMillisecondsMax:signed; server origin issuer?
  responses:count; coverage asked:window? effective:window? pages:int attempts:int events:int? declared:int? first:time?
  last:time? duplicates:int ended gaps:gap* provisionalUntil:time?; gap reason count examples:text*16 bytesKept:int
  bytesLost:int; stream id prev:digest? seq:int; predicate incident role signedAt:time stream; material publicKey
  timestampVerificationData:stamps tlogEntries:entry*16; publicKey hint; stamps rfc3161Timestamps:stamp*16; stamp
  signedTimestamp:string`.split(/;\s+/).map(s => s.split(/\s+/)).map(([f, ...m]) => [f, m]));
const RULES = {
  config: v => v.clock.length > 0 && unique(v.items.map(i => i.name)) && unique(v.plan.steps.map(s => s.item))
    && unique([...v.items.map(i => i.layer), ...new Set(v.items.map(i => i.segments)), v.disclosureKey]),
  item: i => i.records <= i.leaves && i.leaves <= i.bytes && i.bytes <= 2**44 && unique(i.redactions.map(r => r.what)),
  offsets: v => v.offsetMillisecondsMin <= v.offsetMillisecondsMax, stream: v => (v.prev === null) === (v.seq === 0),
  window: v => ordered(v.from, v.until), server: v => v.issuer === null || v.issuer && v.origin.startsWith('https:'),
  source: v => v.servers.map(s => Buffer.from(`${s.origin}\0${s.issuer ?? ''}`))
    .every((key, i, all) => i === 0 || all[i - 1].compare(key) < 0), gap: v => v.examples.length <= v.count,
  coverage: v => ordered(v.first, v.last) && unique(v.gaps.map(g => g.reason)) && (!v.attempts || v.pages <= v.attempts)
    && (v.events === null || v.duplicates <= v.events && (v.pages > 0 || v.events === 0)) && (v.effective === null
    || v.asked !== null && ordered(v.asked.from, v.effective.from) && ordered(v.effective.until, v.asked.until)),
};
function fits(type, v) {
  const [, base, nullable, list, max] = /^(\w+)(\?)?(\*(\d*))?$/.exec(type), form = FORMS.get(base);
  if (nullable) return v === null || fits(base, v);
  if (list) return Array.isArray(v) && v.length <= (max || Infinity) && v.every(x => fits(base, x));
  if (!form) return (TYPES[base] ?? TYPES.text)(v);
  const names = form.map(member => member.split(/[?:]/)[0]);
  return isObject(v) && Object.keys(v).sort().join() === names.toSorted().join()
    && form.every((member, i) => fits(member.split(':').at(-1), v[names[i]])) && (RULES[base]?.(v) ?? true);
}
const unzstd = (input, maxBuffer) => execFileSync('zstd', ['-dcq'], { input, maxBuffer, stdio: 'pipe' });
function checkItem(item, key, list, layer) { // §5.3, §5.4: its segments, and the root of the tree over them
  const data = unzstd(layer, item.bytes), numbers = unzstd(list, 10 * item.leaves), leaves = [];
  const itemKey = hmac(key, 'evidence/v1/item', item.name), index = Buffer.alloc(8);
  let at = 0, records = 0;
  for (let p = 0, start = 0, number = 0; p < numbers.length; start = p, number = 0) {
    do number += (numbers[p] & 127) * 128 ** (p - start); while (numbers[p++] >= 128 && p < numbers.length);
    const kind = number % 2, length = (number - kind) / 2, last = numbers[p - 1];
    need(last < 128 && (last > 0 || p - start === 1) && length >= 1 && length <= 2 ** 44, 'segment-list');
    index.writeBigUInt64BE(BigInt(leaves.length));
    const salt = hmac(itemKey, 'evidence/v1/leaf', index).subarray(0, 16);
    leaves.push(sha(Buffer.of(0, kind), salt, data.subarray(at, at + length)));
    [at, records] = [at + length, records + kind];
  }
  need(at === item.bytes && data.length === at && records === item.records && leaves.length === item.leaves, 'size');
  const tree = (from, size, half = 2 ** Math.ceil(Math.log2(size) - 1)) => size === 1 ? leaves[from]
    : sha(Buffer.of(1), tree(from, half), tree(from + half, size - half));
  need((leaves.length ? tree(0, leaves.length) : sha()).toString('hex') === item.root, 'item-root');
}
const weak = point => RegExp('^(0[01](00){31}|(e[c-f]|f.)(ff){30}7f|c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc6'
  + '4ec7fd7792ac037a|26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05)$') // §6: or not canonical
  .test(Buffer.concat([point.subarray(0, 31), Buffer.of(point[31] & 127)]).toString('hex'));
function signedBy(key, bytes) { // the payload, or null if the key did not sign it, or if there are log entries
  const { dsseEnvelope: { payload: p, signatures: [s] }, verificationMaterial: more } = canonical(bytes, 'attestation');
  const [text, keyId, signature] = [p, s.keyid, s.sig].map(x => Buffer.from(x, 'base64'));
  const [payload, keyid, sig] = [text, keyId, signature].map(b => b.toString('base64'));
  need(keyId.length === 32 && signature.length === 64 && bytes.equals(Buffer.from(jcs({ mediaType: SIGSTORE,
    dsseEnvelope: { payload, payloadType: IN_TOTO, signatures: [{ keyid, sig }] },
    verificationMaterial: { ...more, publicKey: { hint: keyid } } }))), 'attestation');
  need(fits('material', { timestampVerificationData: { rfc3161Timestamps: [] }, ...more }), 'attestation');
  const signed = Buffer.concat([Buffer.from(`DSSEv1 ${IN_TOTO.length} ${IN_TOTO} ${text.length} `), text]);
  return keyId.equals(sha(key.export({ type: 'spki', format: 'der' }))) && !weak(signature) && signed.length <= 4095
    && verify(null, signed, key, signature) && more.tlogEntries.length === 0 ? text : null;
}
function states(payload, id, incident) {
  try {
    const { predicate } = JSON.parse(payload), subject = [{ digest: { sha256: id.slice(7) }, name: 'bundle' }];
    return fits('predicate', predicate) && payload.equals(Buffer.from(jcs({ _type: 'https://in-toto.io/Statement/v1',
      predicate: { ...predicate, role: 'collector', incident }, predicateType: 'urn:exhibit:capture:v1', subject })));
  } catch { return false; }
}
function check(tar, key) {
  const files = new Map();
  for (let at = 0, size; tar[at]; at += 512 + Math.ceil(size / 512) * 512) {
    size = parseInt(tar.toString('latin1', at + 124, at + 135), 8) || 0;
    files.set(tar.toString('latin1', at, at + 100).replace(/\0.*/s, ''), tar.subarray(at + 512, at + 512 + size));
  }
  const blob = ({ digest, size }, max = Infinity) => {
    const bytes = files.get('blobs/sha256/' + digest.slice(7));
    need(bytes?.length === size && size <= max, bytes ? 'blob-size' : 'blob-missing');
    return need('sha256:' + sha(bytes).toString('hex') === digest, 'blob-digest') ?? bytes;
  };
  const manifests = JSON.parse(files.get('index.json')).manifests.map(d => [d, canonical(blob(d, MIB), 'manifest')]);
  const bundles = manifests.filter(([, m]) => m.artifactType === EXHIBIT + 'bundle.v1'), payloads = [];
  need(bundles.length === 1, 'bundle-count');
  const [[{ digest: id, size: idSize }, bundle]] = bundles;
  for (const [, m] of manifests.filter(m => m !== bundles[0])) {
    need(jcs(m.subject) === jcs({ digest: id, mediaType: MANIFEST, size: idSize }), 'referrer');
    const blobs = [m.config, ...m.layers].map(d => blob(d, m.artifactType === SIGSTORE ? MIB / 16 : Infinity));
    if (m.artifactType === SIGSTORE) payloads.push(signedBy(key, blobs[1]));
  }
  const config = canonical(blob(bundle.config, 2 * MIB), 'config');
  need(config.version === 1 && fits('config', config), 'config');
  const layers = [[config.disclosureKey, 'disclosure-key.v1', 'disclosure-key'], ...config.items.flatMap(i => [
    [i.segments, 'segments.v1+zstd', i.name + '.segments.zst'], [i.layer, 'item.v1+zstd', i.name + '.warc.zst']])]
    .map(([digest, type, title], i) => ({ annotations: { 'org.opencontainers.image.title': title }, digest,
      mediaType: EXHIBIT + type, size: bundle.layers[i]?.size }));
  const { artifactType, config: { digest, size } } = bundle, mediaType = EXHIBIT + 'config.v1+json';
  const built = { artifactType, config: { digest, mediaType, size }, layers, mediaType: MANIFEST, schemaVersion: 2 };
  need(jcs(bundle) === jcs(built), 'manifest-config');
  const [disclosureKey, ...blobs] = layers.map(d => blob(d));
  need(disclosureKey.length === 32, 'disclosure-key');
  config.items.forEach((item, i) => checkItem(item, disclosureKey, blobs[2 * i], blobs[2 * i + 1]));
  const good = payloads.filter(payload => payload && states(payload, id, config.incident)).map(String);
  return need(new Set(good).size === 1, good.length ? 'statements-differ' : 'not signed') ?? 'ok';
}
process.exitCode = 2;
try {
  const key = createPublicKey(readFileSync(process.argv[3])), tar = readFileSync(process.argv[2]);
  need(key.asymmetricKeyType === 'ed25519' && !weak(Buffer.from(key.export({ format: 'jwk' }).x, 'base64url')), 'key');
  process.exitCode = 1;
  console.log(check(tar, key));
  process.exitCode = 0;
} catch (e) { console.log(e.message.split('\n')[0]); }
