// npm oauth4webapi: every request and every answer of the device grant by itself, as strict as the standards.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as oauth from 'oauth4webapi'

import { approve, deny } from './approve.mjs'
import { SERVER } from './support.mjs'

const INSECURE = { [oauth.allowInsecureRequests]: true }
const CLIENT = { client_id: 'quick-cli' }

/** The server's metadata by one of the two well-known addresses. */
async function discover(algorithm) {
  const issuer = new URL(SERVER)
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...INSECURE }))
}

async function askForCode(server, scope) {
  const response = await oauth.deviceAuthorizationRequest(server, CLIENT, oauth.None(), { scope }, INSECURE)
  return oauth.processDeviceAuthorizationResponse(server, CLIENT, response)
}

async function poll(server, code) {
  const response = await oauth.deviceCodeGrantRequest(server, CLIENT, oauth.None(), code.device_code, INSECURE)
  const tokens = await oauth.processDeviceCodeResponse(server, CLIENT, response)
  return { tokens, response }
}

const isError = (error) => (thrown) =>
  thrown instanceof oauth.ResponseBodyError && thrown.error === error && thrown.status === 400

describe('oauth4webapi', { concurrency: true }, () => {
  for (const algorithm of ['oidc', 'oauth2']) {
    test(`logs in with the metadata found the ${algorithm} way`, async () => {
      const server = await discover(algorithm)
      const code = await askForCode(server, 'openid email read')
      await assert.rejects(poll(server, code), isError('authorization_pending'))
      await approve(code.verification_uri_complete)
      // A decision beats pacing: this poll comes long before its time.
      const { tokens, response } = await poll(server, code)
      await oauth.validateApplicationLevelSignature(server, response, INSECURE)
      const claims = oauth.getValidatedIdTokenClaims(tokens)
      assert.equal(claims.iss, SERVER)
      assert.equal(claims.email, 'demo@example.com')
      await assert.rejects(poll(server, code), isError('invalid_grant'))
    })
  }

  test('validates the access token as a resource server does (RFC 9068)', async () => {
    const server = await discover('oauth2')
    const code = await askForCode(server, 'read')
    await approve(code.verification_uri_complete)
    const { tokens } = await poll(server, code)
    const request = new Request('https://api.example/', { headers: { authorization: `Bearer ${tokens.access_token}` } })
    const claims = await oauth.validateJwtAccessToken(server, request, 'quick-cli', INSECURE)
    assert.equal(claims.client_id, 'quick-cli')
    assert.equal(claims.scope, 'read')
    assert.deepEqual(claims.amr, ['pwd', 'otp', 'mfa'])
  })

  test('sees that the person denied', async () => {
    const server = await discover('oidc')
    const code = await askForCode(server, 'read')
    await deny(code.verification_uri_complete)
    await assert.rejects(poll(server, code), isError('access_denied'))
    await assert.rejects(poll(server, code), isError('access_denied'))
  })

  test('is told what it may not ask for', async () => {
    const server = await discover('oidc')
    await assert.rejects(askForCode(server, 'sudo'), isError('invalid_scope'))
  })
})
