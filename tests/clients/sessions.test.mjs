// npm openid-client and oauth4webapi: a login, and what it is good for afterwards. Refresh, userinfo, introspection,
// revocation; by bearers, and by those who hold a key (RFC 9449), with the nonces that a service may demand.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { calculateJwkThumbprint, exportJWK } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'

import { approve } from './approve.mjs'
import { SECRET, SERVER } from './support.mjs'

const SCOPE = 'openid email read offline_access'

const WAYS = [
  { way: 'as a bearer', clientId: 'quick-cli', bound: false, nonces: false },
  { way: 'with a key', clientId: 'quick-cli', bound: true, nonces: false },
  { way: 'with a key and nonces', clientId: 'bound-cli', bound: true, nonces: true },
]

/** Fetches, and counts how often the server wanted its nonce first. */
function counter() {
  const counting = async (...request) => {
    const answer = await fetch(...request)
    if (!answer.ok && (await answer.clone().text()).includes('use_dpop_nonce')) counting.demands += 1
    return answer
  }
  counting.demands = 0
  return counting
}

const thumbprint = async (pair) => calculateJwkThumbprint(await exportJWK(pair.publicKey))

const isInvalidGrant = (thrown) => thrown.error === 'invalid_grant' && thrown.error_description.length > 0

const discover = (clientId, authentication = openid.None(), fetches = fetch) =>
  openid.discovery(new URL(SERVER), clientId, undefined, authentication, {
    execute: [openid.allowInsecureRequests],
    [openid.customFetch]: fetches,
  })

async function logIn(config, options) {
  const code = await openid.initiateDeviceAuthorization(config, { scope: SCOPE })
  const polling = openid.pollDeviceAuthorizationGrant(config, code, undefined, options)
  const [tokens] = await Promise.all([polling, approve(code.verification_uri_complete)])
  return tokens
}

/** What oauth4webapi leaves to its user: sends again when the server wants its nonce. */
async function withNonce(request, process) {
  const attempt = async () => process(await request())
  return attempt().catch((error) => (oauth.isDPoPNonceError(error) ? attempt() : Promise.reject(error)))
}

describe('a login and after', { concurrency: true }, () => {
  for (const { way, clientId, bound, nonces } of WAYS) {
    test(`openid-client ${way}`, async () => {
      const fetches = counter()
      const config = await discover(clientId, openid.None(), fetches)
      const api = await discover('demo-api', openid.ClientSecretBasic(SECRET))
      const pair = await openid.randomDPoPKeyPair()
      const options = bound ? { DPoP: openid.getDPoPHandle(config, pair) } : {}
      const confirmation = bound ? { jkt: await thumbprint(pair) } : undefined

      const first = await logIn(config, options)
      assert.equal(first.token_type, bound ? 'dpop' : 'bearer')
      const { sub, auth_time } = first.claims()
      const person = await openid.fetchUserInfo(config, first.access_token, sub, options)
      assert.equal(person.email, 'demo@example.com')
      assert.equal(person.org, 'demo')

      const second = await openid.refreshTokenGrant(config, first.refresh_token, undefined, options)
      assert.notEqual(second.refresh_token, first.refresh_token)
      assert.equal(second.token_type, first.token_type)
      assert.equal(second.claims().sub, sub)
      assert.equal(second.claims().auth_time, auth_time)
      const fewer = await openid.refreshTokenGrant(config, second.refresh_token, { scope: 'read' }, options)
      assert.equal(fewer.scope, 'read')
      assert.equal(fewer.claims(), undefined, 'openid was not asked for')

      const known = await openid.tokenIntrospection(api, fewer.access_token)
      assert.equal(known.active, true)
      assert.equal(known.token_type, bound ? 'DPoP' : 'Bearer')
      assert.deepEqual(known.cnf, confirmation)
      assert.equal(known.client_id, clientId)
      assert.equal(known.scope, 'read')
      assert.equal(known.iss, SERVER)

      await openid.tokenRevocation(config, fewer.refresh_token, { token_type_hint: 'refresh_token' })
      assert.deepEqual(await openid.tokenIntrospection(api, fewer.access_token), { active: false })
      const over = openid.refreshTokenGrant(config, fewer.refresh_token, undefined, options)
      await assert.rejects(over, isInvalidGrant)
      // Once more, and something that never was a token: both are as good as revoked (RFC 7009 §2.2).
      await openid.tokenRevocation(config, fewer.refresh_token)
      await openid.tokenRevocation(config, 'nothing')
      assert.equal(fetches.demands > 0, nonces, `${fetches.demands} nonces were demanded`)
    })

    test(`oauth4webapi ${way}, as strict as the standards`, async () => {
      const fetches = counter()
      const insecure = { [oauth.allowInsecureRequests]: true, [oauth.customFetch]: fetches }
      const issuer = new URL(SERVER)
      const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })
      const server = await oauth.processDiscoveryResponse(issuer, found)
      const client = { client_id: clientId }
      const none = oauth.None()
      const pair = await oauth.generateKeyPair('ES256')
      const options = bound ? { DPoP: oauth.DPoP(client, pair), ...insecure } : insecure
      const confirmation = bound ? { jkt: await thumbprint(pair) } : undefined

      const asked = await oauth.deviceAuthorizationRequest(server, client, none, { scope: SCOPE }, insecure)
      const code = await oauth.processDeviceAuthorizationResponse(server, client, asked)
      await approve(code.verification_uri_complete)
      const first = await withNonce(
        () => oauth.deviceCodeGrantRequest(server, client, none, code.device_code, options),
        (answer) => oauth.processDeviceCodeResponse(server, client, answer),
      )
      assert.equal(first.token_type, bound ? 'dpop' : 'bearer')

      const tokens = await withNonce(
        () => oauth.refreshTokenGrantRequest(server, client, none, first.refresh_token, options),
        async (answer) => {
          const read = await oauth.processRefreshTokenResponse(server, client, answer)
          await oauth.validateApplicationLevelSignature(server, answer, insecure)
          return read
        },
      )
      assert.notEqual(tokens.refresh_token, first.refresh_token)
      assert.equal(tokens.token_type, first.token_type)
      const { sub } = oauth.getValidatedIdTokenClaims(tokens)
      assert.equal(sub, oauth.getValidatedIdTokenClaims(first).sub)

      const whoIsIt = () =>
        withNonce(
          () => oauth.userInfoRequest(server, client, tokens.access_token, options),
          (answer) => oauth.processUserInfoResponse(server, client, sub, answer),
        )
      assert.equal((await whoIsIt()).email, 'demo@example.com')

      const api = { client_id: 'demo-api' }
      const secret = oauth.ClientSecretPost(SECRET)
      const ask = async (token) => {
        const answer = await oauth.introspectionRequest(server, api, secret, token, insecure)
        return oauth.processIntrospectionResponse(server, api, answer)
      }
      for (const token of [tokens.access_token, tokens.refresh_token]) {
        const known = await ask(token)
        assert.deepEqual([known.active, known.sub, known.cnf], [true, sub, confirmation])
      }
      assert.equal((await ask('nothing')).active, false)
      // Whoever is no API of the organization learns nothing.
      const curious = await oauth.introspectionRequest(server, client, none, tokens.access_token, insecure)
      await assert.rejects(oauth.processIntrospectionResponse(server, client, curious), oauth.ResponseBodyError)

      const revocation = await oauth.revocationRequest(server, client, none, tokens.access_token, insecure)
      await oauth.processRevocationResponse(revocation)
      assert.equal((await ask(tokens.refresh_token)).active, false, 'one token ends the session')
      await assert.rejects(
        whoIsIt(),
        (thrown) => thrown instanceof oauth.WWWAuthenticateChallengeError && thrown.status === 401,
      )
      assert.equal(fetches.demands > 0, nonces, `${fetches.demands} nonces were demanded`)
    })
  }

  test('openid-client is told that a refresh token was replaced long ago', async () => {
    const config = await discover('quick-cli')
    const first = await logIn(config)
    const second = await openid.refreshTokenGrant(config, first.refresh_token)
    const third = await openid.refreshTokenGrant(config, second.refresh_token)
    await assert.rejects(openid.refreshTokenGrant(config, first.refresh_token), isInvalidGrant)
    await assert.rejects(openid.refreshTokenGrant(config, third.refresh_token), isInvalidGrant, 'the session is over')
  })
})
