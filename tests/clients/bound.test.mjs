// Tokens bound to a key (RFC 9449), by three libraries: npm jose makes proofs by hand, oauth4webapi and openid-client by
// themselves, with the nonces that a service may demand.

import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { describe, test } from 'node:test'
import { SignJWT, calculateJwkThumbprint, createRemoteJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'

import { approve } from './approve.mjs'
import { DEVICE_CODE, SERVER, post } from './support.mjs'

const INSECURE = { [oauth.allowInsecureRequests]: true }
const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', SERVER))

/** A device that holds a key: what its proofs are, and its thumbprint. */
async function device(algorithm) {
  const { publicKey, privateKey } = await generateKeyPair(algorithm)
  const jwk = await exportJWK(publicKey)
  const proof = (method, path, claims = {}) =>
    new SignJWT({ jti: randomUUID(), htm: method, htu: `${SERVER}${path}`, ...claims })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: algorithm, jwk })
      .setIssuedAt()
      .sign(privateKey)
  return { proof, thumbprint: await calculateJwkThumbprint(jwk) }
}

async function askBound(device, client_id, scope) {
  const headers = { dpop: await device.proof('POST', '/auth/device/code') }
  const { status, body } = await post('/auth/device/code', { client_id, scope }, headers)
  assert.equal(status, 200, JSON.stringify(body))
  return body
}

describe('tokens bound to a key', { concurrency: true }, () => {
  for (const algorithm of ['ES256', 'EdDSA', 'PS256', 'RS256']) {
    test(`jose proves an ${algorithm} key`, async () => {
      const ours = await device(algorithm)
      const code = await askBound(ours, 'quick-cli', 'openid read offline_access')
      await approve(code.verification_uri_complete)
      const fields = { grant_type: DEVICE_CODE, device_code: code.device_code, client_id: 'quick-cli' }
      const theirs = await device(algorithm)
      const stolen = await post('/auth/token', fields, { dpop: await theirs.proof('POST', '/auth/token') })
      assert.equal(stolen.body.error, 'invalid_grant', 'the code alone is worth nothing')
      const { body: tokens } = await post('/auth/token', fields, { dpop: await ours.proof('POST', '/auth/token') })
      assert.equal(tokens.token_type, 'DPoP')
      const { payload } = await jwtVerify(tokens.access_token, keys, { typ: 'at+jwt', algorithms: ['ES256'] })
      assert.deepEqual(payload.cnf, { jkt: ours.thumbprint })

      const ath = createHash('sha256').update(tokens.access_token).digest('base64url')
      const userinfo = async (who, claims) => {
        const dpop = await who.proof('GET', '/auth/userinfo', claims)
        return fetch(`${SERVER}/auth/userinfo`, { headers: { authorization: `DPoP ${tokens.access_token}`, dpop } })
      }
      assert.equal((await userinfo(ours, { ath })).status, 200)
      assert.equal((await userinfo(theirs, { ath })).status, 401)
      const without = await userinfo(ours)
      assert.equal(without.status, 401)
      assert.match(without.headers.get('www-authenticate'), /^DPoP .*error="invalid_dpop_proof"/)

      const refresh = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token, client_id: 'quick-cli' }
      const { body: copied } = await post('/auth/token', refresh, { dpop: await theirs.proof('POST', '/auth/token') })
      assert.equal(copied.error, 'invalid_grant')
      const { body: next } = await post('/auth/token', refresh, { dpop: await ours.proof('POST', '/auth/token') })
      assert.equal((await jwtVerify(next.access_token, keys)).payload.cnf.jkt, ours.thumbprint)
    })
  }

  for (const clientId of ['quick-cli', 'bound-cli']) {
    test(`oauth4webapi logs in as ${clientId}`, async () => {
      const issuer = new URL(SERVER)
      const found = await oauth.discoveryRequest(issuer, { algorithm: 'oidc', ...INSECURE })
      const server = await oauth.processDiscoveryResponse(issuer, found)
      const client = { client_id: clientId }
      const pair = await oauth.generateKeyPair('ES256')
      const DPoP = oauth.DPoP(client, pair)
      const options = { DPoP, ...INSECURE }
      const none = oauth.None()
      /** Sends again when the server wants its nonce, as the library leaves it to its user. */
      const withNonce = async (request, process) => {
        const attempt = async () => process(await request())
        return attempt().catch((error) => (oauth.isDPoPNonceError(error) ? attempt() : Promise.reject(error)))
      }
      const code = await withNonce(
        () => oauth.deviceAuthorizationRequest(server, client, none, { scope: 'openid read offline_access' }, INSECURE),
        (answer) => oauth.processDeviceAuthorizationResponse(server, client, answer),
      )
      await approve(code.verification_uri_complete)
      const tokens = await withNonce(
        () => oauth.deviceCodeGrantRequest(server, client, none, code.device_code, options),
        (answer) => oauth.processDeviceCodeResponse(server, client, answer),
      )
      assert.equal(tokens.token_type, 'dpop')
      const { sub } = oauth.getValidatedIdTokenClaims(tokens)
      const person = await withNonce(
        () => oauth.userInfoRequest(server, client, tokens.access_token, options),
        (answer) => oauth.processUserInfoResponse(server, client, sub, answer),
      )
      assert.equal(person.sub, sub)
      const next = await withNonce(
        () => oauth.refreshTokenGrantRequest(server, client, none, tokens.refresh_token, options),
        (answer) => oauth.processRefreshTokenResponse(server, client, answer),
      )
      assert.equal(next.token_type, 'dpop')
      const thumbprint = await calculateJwkThumbprint(await exportJWK(pair.publicKey))
      assert.equal((await jwtVerify(next.access_token, keys)).payload.cnf.jkt, thumbprint)
    })

    test(`openid-client logs in as ${clientId}`, async () => {
      const config = await openid.discovery(new URL(SERVER), clientId, undefined, openid.None(), {
        execute: [openid.allowInsecureRequests],
      })
      const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair())
      const code = await openid.initiateDeviceAuthorization(config, { scope: 'openid read offline_access' })
      const [tokens] = await Promise.all([
        openid.pollDeviceAuthorizationGrant(config, code, undefined, { DPoP }),
        approve(code.verification_uri_complete),
      ])
      assert.equal(tokens.token_type, 'dpop')
      const next = await openid.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
      assert.equal(next.token_type, 'dpop')
      const person = await openid.fetchUserInfo(config, next.access_token, tokens.claims().sub, { DPoP })
      assert.equal(person.sub, tokens.claims().sub)
      await assert.rejects(openid.refreshTokenGrant(config, next.refresh_token), (thrown) => thrown.error.includes('dpop'))
    })
  }
})
