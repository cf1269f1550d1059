// An OpenID Connect issuer of Node's own cryptography, for tests of whoever takes its tokens.
//
// It says where it listens, and answers: /.well-known/openid-configuration and /jwks as an issuer does;
// /token?alg=…&claims=… with a token of these claims; /rotate takes new keys; /stop and it is away.

import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { createServer } from "node:http";

const base64 = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
let keys = {};
let generation = 0;

function rotate() {
  generation += 1;
  keys = {
    RS256: generateKeyPairSync("rsa", { modulusLength: 2048 }),
    ES256: generateKeyPairSync("ec", { namedCurve: "P-256" }),
    EdDSA: generateKeyPairSync("ed25519"),
  };
}

const published = () =>
  Object.entries(keys).map(([alg, { publicKey }]) => ({ ...publicKey.export({ format: "jwk" }), kid: `${alg}-${generation}`, alg, use: "sig" }));

// What a public key looks like to whoever takes it for a secret.
const pem = () => keys.RS256.publicKey.export({ format: "pem", type: "spki" });

function signature(alg, input) {
  const data = Buffer.from(input);
  switch (alg) {
    case "RS256": return sign("sha256", data, keys.RS256.privateKey);
    case "ES256": return sign("sha256", data, { key: keys.ES256.privateKey, dsaEncoding: "ieee-p1363" });
    case "EdDSA": return sign(null, data, keys.EdDSA.privateKey);
    case "HS256": return createHmac("sha256", pem()).update(data).digest();
    default: return Buffer.alloc(0);
  }
}

function token(query) {
  const alg = query.get("alg");
  const header = { alg, typ: "at+jwt", kid: query.get("kid") ?? `${alg}-${generation}` };
  const input = `${base64(header)}.${base64(query.get("claims"))}`;
  return `${input}.${signature(alg, input).toString("base64url")}`;
}

rotate();
const server = createServer((request, response) => {
  const url = new URL(request.url, `http://${request.headers.host}`);
  const issuer = `http://${request.headers.host}`;
  const json = (value) => response.setHeader("content-type", "application/json").end(JSON.stringify(value));
  switch (url.pathname) {
    case "/.well-known/openid-configuration": return json({ issuer, jwks_uri: `${issuer}/jwks`, id_token_signing_alg_values_supported: Object.keys(keys) });
    case "/jwks": return json({ keys: [{ kty: "FUTURE", kid: "unknown" }, ...published()] });
    case "/token": return response.end(token(url.searchParams));
    case "/rotate": rotate(); return response.end();
    case "/stop": response.end(); return server.close(() => process.exit());
    default: return response.writeHead(404).end();
  }
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.on("end", () => process.exit()).resume(); // it ends with whoever has started it
