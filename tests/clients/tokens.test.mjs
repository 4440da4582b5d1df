// npm jose: what resource servers and applications read from tokens.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { before, describe, test } from 'node:test'
import { calculateJwkThumbprint, createRemoteJWKSet, decodeProtectedHeader, importJWK, jwtVerify } from 'jose'

import { approve } from './approve.mjs'
import { DEVICE_CODE, SERVER, askForCode, post } from './support.mjs'

const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', SERVER))

async function logIn(scope) {
  const code = await askForCode({ client_id: 'quick-cli', scope })
  await approve(code.verification_uri_complete)
  const fields = { grant_type: DEVICE_CODE, device_code: code.device_code, client_id: 'quick-cli' }
  const { status, headers, body } = await post('/auth/token', fields)
  assert.equal(status, 200, JSON.stringify(body))
  assert.equal(headers.get('cache-control'), 'no-store')
  return body
}

describe('tokens', () => {
  let tokens
  let started

  before(async () => {
    started = Math.floor(Date.now() / 1000)
    tokens = await logIn('openid email profile read offline_access')
  })

  test('the access token is at+jwt, ES256, with every claim', async () => {
    const { payload, protectedHeader } = await jwtVerify(tokens.access_token, keys, {
      issuer: SERVER,
      audience: 'quick-cli',
      typ: 'at+jwt',
      algorithms: ['ES256'],
    })
    assert.deepEqual(Object.keys(protectedHeader).sort(), ['alg', 'kid', 'typ'])
    const { iss, sub, aud, client_id, exp, iat, jti, scope, sid, auth_time, amr, org, service, email, ...rest } = payload
    assert.deepEqual(rest, {}, 'nothing else is in it')
    assert.deepEqual(
      { iss, aud, client_id, scope, amr, org, service, email },
      {
        iss: SERVER,
        aud: 'quick-cli',
        client_id: 'quick-cli',
        scope: 'openid email profile read offline_access',
        amr: ['pwd', 'otp', 'mfa'],
        org: 'demo',
        service: 'quick',
        email: 'demo@example.com',
      },
    )
    for (const id of [sub, jti, sid]) assert.match(id, /^[\w-]{20,}$/)
    assert.equal(new Set([sub, jti, sid]).size, 3)
    assert.equal(exp - iat, 900)
    assert.equal(tokens.expires_in, 900)
    assert(auth_time >= started && auth_time <= iat, `${started} ≤ ${auth_time} ≤ ${iat}`)
  })

  test('the id_token is RS256 and bound to the access token', async () => {
    const { payload } = await jwtVerify(tokens.id_token, keys, {
      issuer: SERVER,
      audience: 'quick-cli',
      algorithms: ['RS256'],
    })
    const digest = createHash('sha256').update(tokens.access_token).digest()
    assert.equal(payload.at_hash, digest.subarray(0, 16).toString('base64url'))
    assert.equal(payload.email, 'demo@example.com')
    assert.equal(payload.email_verified, true)
    assert.equal(payload.name, 'Demo')
    assert.deepEqual(payload.amr, ['pwd', 'otp', 'mfa'])
    const access = await jwtVerify(tokens.access_token, keys)
    assert.equal(payload.sub, access.payload.sub)
    assert.equal(payload.sid, access.payload.sid)
    assert.equal(payload.auth_time, access.payload.auth_time)
  })

  test('the answer holds what was asked for, and names the scope always', async () => {
    assert.equal(tokens.token_type, 'Bearer')
    assert.match(tokens.refresh_token, /^csr_[\w-]{43,}$/)
    const little = await logIn('read')
    assert.deepEqual(Object.keys(little).sort(), ['access_token', 'expires_in', 'scope', 'token_type'])
    assert.equal(little.scope, 'read')
    const { payload } = await jwtVerify(little.access_token, keys, { typ: 'at+jwt' })
    assert.equal(payload.email, undefined)
  })

  test('an access token and an id_token are not taken for each other', async () => {
    assert.notEqual(decodeProtectedHeader(tokens.access_token).kid, decodeProtectedHeader(tokens.id_token).kid)
    await assert.rejects(jwtVerify(tokens.id_token, keys, { typ: 'at+jwt' }))
    await assert.rejects(jwtVerify(tokens.access_token, keys, { algorithms: ['RS256'] }))
  })

  test('the key set holds public keys only, and any origin may read it', async () => {
    const response = await fetch(new URL('/.well-known/jwks.json', SERVER), { headers: { origin: 'https://app.example' } })
    assert.equal(response.headers.get('access-control-allow-origin'), '*')
    assert.equal(response.headers.get('access-control-allow-credentials'), null)
    const set = await response.json()
    const algorithms = [...new Set(set.keys.map((key) => key.alg))].sort()
    assert.deepEqual(algorithms, ['ES256', 'EdDSA', 'RS256'])
    assert.equal(new Set(set.keys.map((key) => key.kid)).size, set.keys.length, 'each has a name of its own')
    for (const key of set.keys) {
      assert.equal(key.use, 'sig')
      assert.equal(key.kid, await calculateJwkThumbprint(key))
      assert.equal((await importJWK(key)).type, 'public')
      for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) {
        assert(!(secret in key), `${key.kid} has ${secret}`)
      }
    }
  })
})
