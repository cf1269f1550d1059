// A third-party OpenID provider (npm oidc-provider) for tests of programs that accept its tokens. It prints its URL.
//
// POST /token gives the clients below access tokens in the format of RFC 9068, by client_credentials. Tests control it by:
// /test/sign?alg=…&kid=…&claims=…, which returns a token with any claims, signed by npm jose with the provider's keys; /test/rotate,
// which replaces its keys; and /test/stop, which ends it.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// install.sh puts the packages in a folder that Node would not search.
const folder = new URL('../../target/interop/node/', import.meta.url);
const load = async (name) => import(pathToFileURL(createRequire(folder).resolve(name)));
const { default: Provider } = await load('oidc-provider');
const jose = await load('jose');

console.info = () => {}; // drops its hints: the test reads only the first line

// The clients, with the groups in their tokens.
const CLIENTS = {
  responder: { groups: ['sec-oncall'] },
  leader: { groups: ['staff', 'sec-oncall', 'sec-leads'] },
  auditor: { groups: ['audit'] },
  edwards: { groups: ['sec-oncall'], alg: 'EdDSA' },
  elliptic: { groups: ['sec-oncall'], alg: 'ES256' },
  nobody: { groups: ['staff'] },
  elsewhere: { groups: ['sec-oncall'], audience: 'https://other.example' },
};

let generation = 0;
let keys = {};
let provider;

async function rotate() {
  generation += 1;
  keys = {};
  for (const alg of ['RS256', 'ES256', 'EdDSA']) {
    const { privateKey, publicKey } = await jose.generateKeyPair(alg, { extractable: true });
    const kid = `${alg}-${generation}`;
    keys[kid] = { privateKey, publicKey, jwk: { ...(await jose.exportJWK(privateKey)), kid, alg, use: 'sig' } };
  }
  provider = new Provider(issuer, {
    clients: Object.keys(CLIENTS).map((id) => ({
      client_id: id, client_secret: `secret-of-${id}`, token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    })),
    jwks: { keys: Object.values(keys).map((key) => key.jwk) },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx) => CLIENTS[ctx.oidc.client.clientId].audience ?? 'exhibit:api',
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource, client) => ({
          audience: resource === 'exhibit:api' ? 'exhibit' : resource,
          scope: '', accessTokenFormat: 'jwt', accessTokenTTL: 300,
          jwt: { sign: { alg: CLIENTS[client.clientId].alg ?? 'RS256' } },
        }),
      },
    },
    extraTokenClaims: (ctx, token) => ({ groups: CLIENTS[token.clientId].groups }),
    interactions: { url: () => '/' },
  });
  provider.on('server_error', (ctx, error) => console.error(error));
}

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

async function sign(query) {
  const [alg, kid, claims] = [query.get('alg'), query.get('kid'), JSON.parse(query.get('claims'))];
  const header = { alg, kid, typ: 'at+jwt' };
  if (alg === 'none') return `${base64(header)}.${base64(claims)}.`; // jose cannot make such a token with a key id
  // The public key as an HMAC secret, for verifiers that confuse the two.
  const pem = async (key) => new TextEncoder().encode(await jose.exportSPKI(key.publicKey));
  const key = alg === 'HS256' ? await pem(keys[`RS256-${generation}`]) : keys[`${alg}-${generation}`].privateKey;
  return new jose.SignJWT(claims).setProtectedHeader(header).sign(key);
}

async function told(url, response) {
  switch (url.pathname) {
    case '/test/sign': return response.end(await sign(url.searchParams));
    case '/test/rotate': await rotate(); return response.end();
    case '/test/stop': response.end(); return server.close(() => process.exit());
    default: return response.writeHead(404).end();
  }
}

const server = createServer((request, response) => {
  const url = new URL(request.url, issuer);
  if (url.pathname.startsWith('/test/')) told(url, response).catch((error) => response.writeHead(500).end(String(error)));
  else provider.callback()(request, response);
});
let issuer;
server.listen(0, '127.0.0.1', async () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  await rotate();
  console.log(issuer);
});
process.stdin.on('end', () => process.exit()).resume(); // exits with the process that has started it
