// Checks a bundle's attestation with Sigstore's own JavaScript verifier and a managed key:
//
//   node sigstore-verify.mjs BUNDLE_DIR PUB.pem
//
// Exit code 0: the key has signed a statement about the bundle's manifest. Any other exit code is a failure.
import assert from 'node:assert/strict';
import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// install.sh puts the packages in a folder that Node would not search.
const require = createRequire(new URL('../../target/interop/node/', import.meta.url));
const { bundleFromJSON, isBundleWithPublicKey, isBundleWithDsseEnvelope } = require('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

const [folder, keyFile] = process.argv.slice(2);
const read = (digest) => readFileSync(`${folder}/blobs/sha256/${digest.replace('sha256:', '')}`);
const manifests = JSON.parse(readFileSync(`${folder}/index.json`)).manifests;
const named = (name) => manifests.find((m) => m.annotations['org.opencontainers.image.ref.name'] === name).digest;

const attestation = JSON.parse(read(named('attestation')));
const bundle = bundleFromJSON(JSON.parse(read(attestation.layers[0].digest)));
assert(isBundleWithPublicKey(bundle) && isBundleWithDsseEnvelope(bundle));

// The hint identifies the key: base64 of the SHA-256 of its DER form. The key comes from the auditor, and is valid at any time.
const der = createPublicKey(readFileSync(keyFile)).export({ type: 'spki', format: 'der' });
const hint = createHash('sha256').update(der).digest('base64');
const keys = { [hint]: { rawBytes: der } };
const nothing = { mediaType: '', tlogs: [], ctlogs: [], certificateAuthorities: [], timestampAuthorities: [] };

// A bundle of version 1 has no log entry and no timestamp, so none is required.
const verifier = new Verifier(toTrustMaterial(nothing, keys), { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
verifier.verify(toSignedEntity(bundle));

// The verifier does not check the statement; its caller must.
const statement = JSON.parse(bundle.content.dsseEnvelope.payload);
assert.deepEqual(statement.subject.map((s) => `sha256:${s.digest.sha256}`), [named('bundle')]);
console.log(`@sigstore/verify: ok, ${named('bundle')}`);
