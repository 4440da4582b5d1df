// Tokens bound to a key (RFC 9449), by proofs that npm jose makes one by one: what a key opens, and what opens nothing
// without it. Then an API that checks a bound token by itself, with oauth4webapi.

import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { SignJWT, calculateJwkThumbprint, createRemoteJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'

import { approve } from './approve.mjs'
import { DEVICE_CODE, SERVER, post } from './support.mjs'

const INSECURE = { [oauth.allowInsecureRequests]: true }
const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', SERVER))

/** A device that holds a key: what its proofs are, and its thumbprint. */
async function device(algorithm) {
  const pair = await generateKeyPair(algorithm)
  const jwk = await exportJWK(pair.publicKey)
  const proof = (method, path, claims = {}) =>
    new SignJWT({ jti: randomUUID(), htm: method, htu: `${SERVER}${path}`, ...claims })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: algorithm, jwk })
      .setIssuedAt()
      .sign(pair.privateKey)
  const send = async (path, fields) => post(path, fields, { dpop: await proof('POST', path) })
  return { pair, proof, send, thumbprint: await calculateJwkThumbprint(jwk) }
}

/** Asks with a proof, so that the login is bound before anybody approves it. */
async function askBound(device) {
  const fields = { client_id: 'quick-cli', scope: 'openid read offline_access' }
  const { status, body } = await device.send('/auth/device/code', fields)
  assert.equal(status, 200, JSON.stringify(body))
  await approve(body.verification_uri_complete)
  return { grant_type: DEVICE_CODE, device_code: body.device_code, client_id: 'quick-cli' }
}

const refreshing = (tokens) => ({
  grant_type: 'refresh_token',
  refresh_token: tokens.refresh_token,
  client_id: 'quick-cli',
})

async function userinfo(access_token, dpop, scheme = 'DPoP') {
  const headers = { authorization: `${scheme} ${access_token}`, ...(dpop && { dpop }) }
  const answer = await fetch(`${SERVER}/auth/userinfo`, { headers })
  return { status: answer.status, challenge: answer.headers.get('www-authenticate'), body: await answer.json() }
}

describe('tokens bound to a key', { concurrency: true }, () => {
  for (const algorithm of ['ES256', 'EdDSA', 'PS256', 'RS256']) {
    test(`jose proves an ${algorithm} key`, async () => {
      const [ours, theirs] = [await device(algorithm), await device(algorithm)]
      const fields = await askBound(ours)
      const stolen = await theirs.send('/auth/token', fields)
      assert.equal(stolen.body.error, 'invalid_grant', 'the code alone is worth nothing')
      const dpop = await ours.proof('POST', '/auth/token')
      const { body: tokens } = await post('/auth/token', fields, { dpop })
      assert.equal(tokens.token_type, 'DPoP')
      const { payload } = await jwtVerify(tokens.access_token, keys, { typ: 'at+jwt', algorithms: ['ES256'] })
      assert.deepEqual(payload.cnf, { jkt: ours.thumbprint })

      const replayed = await post('/auth/token', refreshing(tokens), { dpop })
      assert.equal(replayed.body.error, 'invalid_dpop_proof', 'a proof is good once')
      const copied = await theirs.send('/auth/token', refreshing(tokens))
      assert.equal(copied.body.error, 'invalid_grant')
      const { body: next } = await ours.send('/auth/token', refreshing(tokens))
      assert.deepEqual((await jwtVerify(next.access_token, keys)).payload.cnf, { jkt: ours.thumbprint })
    })
  }

  test('userinfo takes a proof for this very token, by its key, once', async () => {
    const [ours, theirs] = [await device('ES256'), await device('ES256')]
    const { body: tokens } = await ours.send('/auth/token', await askBound(ours))
    const ath = createHash('sha256').update(tokens.access_token).digest('base64url')
    const good = await ours.proof('GET', '/auth/userinfo', { ath })
    assert.equal((await userinfo(tokens.access_token, good)).status, 200)

    const another = createHash('sha256').update('another token').digest('base64url')
    for (const [error, dpop, scheme] of [
      ['invalid_dpop_proof', good],
      ['invalid_dpop_proof', await ours.proof('GET', '/auth/userinfo')],
      ['invalid_dpop_proof', await ours.proof('GET', '/auth/userinfo', { ath: another })],
      ['invalid_dpop_proof', await ours.proof('POST', '/auth/userinfo', { ath })],
      ['invalid_dpop_proof', undefined],
      ['invalid_token', await theirs.proof('GET', '/auth/userinfo', { ath })],
      ['invalid_token', await ours.proof('GET', '/auth/userinfo', { ath }), 'Bearer'],
    ]) {
      const refused = await userinfo(tokens.access_token, dpop, scheme)
      assert.deepEqual([refused.status, refused.body.error], [401, error])
      assert.match(refused.challenge, new RegExp(`^DPoP .*error="${error}"`))
    }
  })

  test('an API checks the token and the proof by itself', async () => {
    const [ours, theirs] = [await device('ES256'), await device('ES256')]
    const { body: tokens } = await ours.send('/auth/token', await askBound(ours))
    const issuer = new URL(SERVER)
    const found = await oauth.discoveryRequest(issuer, { algorithm: 'oidc', ...INSECURE })
    const server = await oauth.processDiscoveryResponse(issuer, found)
    /** What this device sends to an API, and what the API makes of it. */
    const validate = async ({ pair }) => {
      let sent
      const client = { client_id: 'quick-cli' }
      await oauth.protectedResourceRequest(
        tokens.access_token,
        'GET',
        new URL('https://api.example/projects'),
        new Headers(),
        null,
        {
          DPoP: oauth.DPoP(client, pair),
          [oauth.customFetch]: async (url, { method, headers }) => {
            sent = new Request(url, { method, headers })
            return new Response()
          },
        },
      )
      return oauth.validateJwtAccessToken(server, sent, 'quick-cli', INSECURE)
    }
    assert.deepEqual((await validate(ours)).cnf, { jkt: ours.thumbprint })
    await assert.rejects(validate(theirs), /confirmation/)
  })

  test('whoever comes without a key gets nothing where tokens are always bound', async () => {
    const { body: code } = await post('/auth/device/code', { client_id: 'bound-cli', scope: 'read' })
    await approve(code.verification_uri_complete)
    const fields = { grant_type: DEVICE_CODE, device_code: code.device_code, client_id: 'bound-cli' }
    const refused = await post('/auth/token', fields)
    assert.deepEqual([refused.status, refused.body.error], [400, 'invalid_dpop_proof'])
    // The code waits for the key.
    const ours = await device('ES256')
    const first = await ours.send('/auth/token', fields)
    assert.equal(first.body.error, 'use_dpop_nonce')
    const nonce = first.headers.get('dpop-nonce')
    const { body: tokens } = await post('/auth/token', fields, { dpop: await ours.proof('POST', '/auth/token', { nonce }) })
    assert.equal(tokens.token_type, 'DPoP')
  })
})
