// The real OpenID Connect issuer that the tests sign in at: npm oidc-provider on a loopback port of its own.
//
//   node oidc-provider.mjs '{"redirect_uri":"http://localhost:8080/auth/sso/callback"}'
//
// It prints one line, {"issuer":"http://127.0.0.1:PORT"}, and ends when its standard input closes. Its sign-in page asks
// for an account's name and nothing else. POST /control, with any of these in JSON, is the tests' hand behind the curtain:
//
//   account      {"sub":"ada","email":…}   what it says of a person; others get an address at acme.example
//   amr          ["pwd","otp"]             how people prove themselves from now on
//   rotate_keys  true                      other signing keys, under other names
//   claims       {"iss":…} | null          what every id_token claims besides, or instead; properly signed.
//                                          "at_hash":"right" is computed
//   tamper       "signature" | "claims" | "algorithm" | null
//                                          what becomes of id_tokens on their way

import { createHash, createHmac, createPrivateKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

import Provider from 'oidc-provider';

const { redirect_uri: redirectUri } = JSON.parse(process.argv[2]);

const CLIENT_SECRET = 'a-secret-of-the-tests-and-nobody-else';

const accounts = new Map();
let amr = ['pwd'];
let claims = null;
let tamper = null;
let keys;
let provider;

// Nothing but the one line goes to standard output.
console.info = console.error;
console.log = console.error;

function signingKey(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID() };
}

function claimsOf(sub) {
  return accounts.get(sub) ?? { sub, name: sub, email: `${sub}@acme.example`, email_verified: true };
}

const base64url = (value) => Buffer.from(value).toString('base64url');
const read = (part) => JSON.parse(Buffer.from(part, 'base64url'));
const write = (part) => base64url(JSON.stringify(part));

/** An RS256 id_token as an issuer would sign it that says something else. */
function restated(idToken, accessToken) {
  if (!claims) return idToken;
  const [header, payload] = idToken.split('.');
  const stated = { ...read(payload), ...claims };
  if (stated.at_hash === 'right') {
    stated.at_hash = base64url(createHash('sha256').update(accessToken).digest().subarray(0, 16));
  }
  const input = `${header}.${write(stated)}`;
  const key = createPrivateKey({ key: keys[0], format: 'jwk' });
  return `${input}.${base64url(sign('sha256', Buffer.from(input), key))}`;
}

/** An id_token as an attacker on the way would change it. */
function tampered(idToken) {
  const [header, payload, signature] = idToken.split('.');
  switch (tamper) {
    case 'signature':
      return [header, payload, base64url(createHash('sha512').update(signature).digest())].join('.');
    case 'claims':
      return [header, write({ ...read(payload), sub: 'root' }), signature].join('.');
    case 'algorithm': {
      // Signed with what a careless client would take for the key: its own secret.
      const input = `${write({ ...read(header), alg: 'HS256' })}.${payload}`;
      return `${input}.${createHmac('sha256', CLIENT_SECRET).update(input).digest('base64url')}`;
    }
    default:
      return idToken;
  }
}

function makeProvider(issuer) {
  keys = [signingKey('rsa', { modulusLength: 2048 }, 'RS256'), signingKey('ec', { namedCurve: 'P-256' }, 'ES256')];
  const made = new Provider(issuer, {
    clients: [
      { client_id: 'countersign', client_secret: CLIENT_SECRET, redirect_uris: [redirectUri] },
      {
        client_id: 'countersign-public',
        token_endpoint_auth_method: 'none',
        id_token_signed_response_alg: 'ES256',
        redirect_uris: [redirectUri],
      },
    ],
    jwks: { keys },
    pkce: { required: () => true },
    claims: { openid: ['sub', 'amr', 'auth_time'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
    scopes: ['openid', 'groups'],
    cookies: { keys: [randomUUID()] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    // Every token states everything: the tests decide what of it counts.
    findAccount: (ctx, sub) => ({ accountId: sub, claims: () => claimsOf(sub) }),
    // Consent is not what is tested here: whoever signs in has given it.
    async loadExistingGrant(ctx) {
      const { client, session, params } = ctx.oidc;
      const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope(params.scope);
      await grant.save();
      return grant;
    },
  });
  made.use(async (ctx, next) => {
    await next();
    if (ctx.oidc?.route === 'token' && ctx.body?.id_token) {
      ctx.body.id_token = tampered(restated(ctx.body.id_token, ctx.body.access_token));
    }
  });
  return made;
}

const page = (uid) => `<!DOCTYPE html><html lang="en"><title>Sign in</title><main><h1>Sign in</h1>
<form method="post" action="/interaction/${uid}"><label>Account <input name="account" autofocus></label>
<button name="decision" value="sign-in">Sign in</button> <button name="decision" value="cancel">Cancel</button></form></main></html>`;

async function interaction(request, response, uid) {
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page(uid));
    return;
  }
  const form = new URLSearchParams(await text(request));
  const result = form.get('decision') === 'cancel'
    ? { error: 'access_denied', error_description: 'the person cancelled' }
    : { login: { accountId: form.get('account'), amr } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

async function control(request, response) {
  const order = JSON.parse(await text(request));
  if (order.account) accounts.set(order.account.sub, order.account);
  if (order.amr) amr = order.amr;
  if (order.rotate_keys) provider = makeProvider(provider.issuer);
  if ('claims' in order) claims = order.claims;
  if ('tamper' in order) tamper = order.tamper;
  response.writeHead(204).end();
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://127.0.0.1');
  const [, first, uid] = pathname.split('/');
  const answer = async () => {
    if (first === 'interaction') return interaction(request, response, uid);
    if (first === 'control' && request.method === 'POST') return control(request, response);
    return provider.callback()(request, response);
  };
  answer().catch((error) => {
    console.error(error);
    response.writeHead(500).end();
  });
});

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  provider = makeProvider(issuer);
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});

process.stdin.resume().on('end', () => process.exit(0));
