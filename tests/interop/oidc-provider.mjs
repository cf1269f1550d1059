// An OpenID provider, somebody else's (npm oidc-provider), for tests of whoever takes its tokens; it says where it listens.
//
// POST /token gives access tokens as RFC 9068 has them to the clients below, by client_credentials. What no provider gives is made
// with its keys by npm jose: /test/sign?alg=…&kid=…&claims=… a token of these claims; /test/rotate takes new keys; /test/stop and
// it is away.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The packages are where install.sh puts them, which is no folder above this file.
const folder = new URL('../../target/interop/node/', import.meta.url);
const load = async (name) => import(pathToFileURL(createRequire(folder).resolve(name)));
const { default: Provider } = await load('oidc-provider');
const jose = await load('jose');

console.info = () => {}; // its hints: after the first line nobody reads what this says

// Who asks, for whom, and with which groups.
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
  if (alg === 'none') return `${base64(header)}.${base64(claims)}.`; // jose makes no such token with a key's name
  // What a public key looks like to whoever takes it for a secret.
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
process.stdin.on('end', () => process.exit()).resume(); // it ends with whoever has started it
