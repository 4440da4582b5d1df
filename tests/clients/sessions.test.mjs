// npm openid-client and oauth4webapi: what a login is good for afterwards. Refresh, userinfo, introspection, revocation.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'

import { approve } from './approve.mjs'
import { SECRET, SERVER } from './support.mjs'

const INSECURE = { [oauth.allowInsecureRequests]: true }
const SCOPE = 'openid email read offline_access'

const discover = (clientId, authentication = openid.None()) =>
  openid.discovery(new URL(SERVER), clientId, undefined, authentication, { execute: [openid.allowInsecureRequests] })

async function logIn(config) {
  const code = await openid.initiateDeviceAuthorization(config, { scope: SCOPE })
  const [tokens] = await Promise.all([
    openid.pollDeviceAuthorizationGrant(config, code),
    approve(code.verification_uri_complete),
  ])
  return tokens
}

const isInvalidGrant = (thrown) => thrown.error === 'invalid_grant' && thrown.error_description.length > 0

describe('a login afterwards', { concurrency: true }, () => {
  test('openid-client refreshes, asks who it is, and signs out', async () => {
    const config = await discover('quick-cli')
    const api = await discover('demo-api', openid.ClientSecretBasic(SECRET))
    const first = await logIn(config)
    const person = await openid.fetchUserInfo(config, first.access_token, first.claims().sub)
    assert.equal(person.email, 'demo@example.com')
    assert.equal(person.org, 'demo')

    const second = await openid.refreshTokenGrant(config, first.refresh_token)
    assert.notEqual(second.refresh_token, first.refresh_token)
    assert.equal(second.claims().sub, first.claims().sub)
    assert.equal(second.claims().auth_time, first.claims().auth_time)
    const fewer = await openid.refreshTokenGrant(config, second.refresh_token, { scope: 'read' })
    assert.equal(fewer.scope, 'read')
    assert.equal(fewer.claims(), undefined, 'openid was not asked for')

    const known = await openid.tokenIntrospection(api, fewer.access_token)
    assert.equal(known.active, true)
    assert.equal(known.client_id, 'quick-cli')
    assert.equal(known.scope, 'read')
    assert.equal(known.iss, SERVER)

    await openid.tokenRevocation(config, fewer.refresh_token, { token_type_hint: 'refresh_token' })
    assert.deepEqual(await openid.tokenIntrospection(api, fewer.access_token), { active: false })
    await assert.rejects(openid.refreshTokenGrant(config, fewer.refresh_token), isInvalidGrant)
    // Once more, and something that never was a token: both are as good as revoked (RFC 7009 §2.2).
    await openid.tokenRevocation(config, fewer.refresh_token)
    await openid.tokenRevocation(config, 'nothing')
  })

  test('openid-client is told that a refresh token was replaced long ago', async () => {
    const config = await discover('quick-cli')
    const first = await logIn(config)
    const second = await openid.refreshTokenGrant(config, first.refresh_token)
    const third = await openid.refreshTokenGrant(config, second.refresh_token)
    await assert.rejects(openid.refreshTokenGrant(config, first.refresh_token), isInvalidGrant)
    await assert.rejects(openid.refreshTokenGrant(config, third.refresh_token), isInvalidGrant, 'the session is over')
  })

  test('oauth4webapi does the same by its own requests, as strict as the standards', async () => {
    const issuer = new URL(SERVER)
    const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...INSECURE })
    const server = await oauth.processDiscoveryResponse(issuer, found)
    const client = { client_id: 'quick-cli' }
    const none = oauth.None()
    const { refresh_token } = await logIn(await discover('quick-cli'))

    const answer = await oauth.refreshTokenGrantRequest(server, client, none, refresh_token, INSECURE)
    const tokens = await oauth.processRefreshTokenResponse(server, client, answer)
    await oauth.validateApplicationLevelSignature(server, answer, INSECURE)
    const { sub } = oauth.getValidatedIdTokenClaims(tokens)

    const userinfo = await oauth.userInfoRequest(server, client, tokens.access_token, INSECURE)
    const person = await oauth.processUserInfoResponse(server, client, sub, userinfo)
    assert.equal(person.email, 'demo@example.com')

    const api = { client_id: 'demo-api' }
    const secret = oauth.ClientSecretPost(SECRET)
    const ask = async (token) =>
      oauth.processIntrospectionResponse(
        server,
        api,
        await oauth.introspectionRequest(server, api, secret, token, INSECURE),
      )
    assert.equal((await ask(tokens.access_token)).sub, sub)
    assert.equal((await ask(tokens.refresh_token)).active, true)
    assert.equal((await ask('nothing')).active, false)
    // Whoever is no API of the organization learns nothing.
    const curious = await oauth.introspectionRequest(server, client, none, tokens.access_token, INSECURE)
    await assert.rejects(oauth.processIntrospectionResponse(server, client, curious), oauth.ResponseBodyError)

    const revocation = await oauth.revocationRequest(server, client, none, tokens.access_token, INSECURE)
    await oauth.processRevocationResponse(revocation)
    assert.equal((await ask(tokens.refresh_token)).active, false, 'one token ends the session')
    const over = await oauth.userInfoRequest(server, client, tokens.access_token, INSECURE)
    await assert.rejects(
      oauth.processUserInfoResponse(server, client, sub, over),
      (thrown) => thrown instanceof oauth.WWWAuthenticateChallengeError && thrown.status === 401,
    )
  })
})
