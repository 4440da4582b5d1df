// npm openid-client: discovery, the device grant polled by the library, the id_token validated by it.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as openid from 'openid-client'

import { approve, deny } from './approve.mjs'
import { SECRET, SERVER } from './support.mjs'

const discover = (clientId, metadata, authentication = openid.None()) =>
  openid.discovery(new URL(SERVER), clientId, metadata, authentication, { execute: [openid.allowInsecureRequests] })

/** Asks for a code, lets `person` act on it while the library polls, and returns what the library makes of it. */
async function logIn(config, scope, person) {
  const code = await openid.initiateDeviceAuthorization(config, { scope })
  assert.match(code.user_code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/)
  const polling = openid.pollDeviceAuthorizationGrant(config, code)
  // The person's mistakes are this test's, and are told even if the library gives up before.
  const [tokens] = await Promise.all([polling, person(code.verification_uri_complete)])
  return { code, tokens }
}

/** What the library throws when the server answers this error. */
const isError = (error) => (thrown) =>
  thrown instanceof openid.ResponseBodyError && thrown.error === error && thrown.error_description.length > 0

describe('openid-client', { concurrency: true }, () => {
  test('logs the demo person in at the usual interval', async () => {
    const config = await discover('demo-cli')
    assert(config.serverMetadata().supportsPKCE(), 'the metadata says so')
    const { code, tokens } = await logIn(config, 'openid email profile read offline_access', approve)
    assert.equal(code.interval, 5)
    assert.equal(code.expires_in, 900)
    const claims = tokens.claims()
    assert.equal(claims.iss, SERVER)
    assert.equal(claims.email, 'demo@example.com')
    assert.equal(claims.name, 'Demo')
    assert.equal(tokens.token_type, 'bearer')
    assert.equal(tokens.expiresIn() > 880, true)
    assert.match(tokens.refresh_token, /^csr_/)
  })

  test('polls while nobody has decided', async () => {
    const config = await discover('quick-cli')
    const later = async (uri) => {
      await new Promise((resolve) => setTimeout(resolve, 3_500))
      await approve(uri)
    }
    const { tokens } = await logIn(config, 'read', later)
    assert.equal(tokens.scope, 'read')
    assert.equal(tokens.claims(), undefined, 'no id_token without the scope openid')
  })

  test('tells which scopes the person left ticked', async () => {
    const config = await discover('quick-cli')
    const { tokens } = await logIn(config, 'read deploy', (uri) => approve(uri, { without: ['deploy'] }))
    assert.equal(tokens.scope, 'read')
  })

  for (const [style, authentication] of [
    ['client_secret_basic', openid.ClientSecretBasic(SECRET)],
    ['client_secret_post', openid.ClientSecretPost(SECRET)],
  ]) {
    test(`logs a confidential client in by ${style}, its id_token ES256`, async () => {
      const config = await discover('vault', { id_token_signed_response_alg: 'ES256' }, authentication)
      const { tokens } = await logIn(config, 'openid secrets', approve)
      assert.equal(tokens.claims().aud, 'vault')
      assert.match(tokens.refresh_token, /^csr_/)
    })
  }

  test('is refused with a wrong secret', async () => {
    const config = await discover('vault', undefined, openid.ClientSecretPost('wrong'))
    await assert.rejects(openid.initiateDeviceAuthorization(config, {}), isError('invalid_client'))
    const basic = await discover('vault', undefined, openid.ClientSecretBasic('wrong'))
    await assert.rejects(openid.initiateDeviceAuthorization(basic, {}), (thrown) => {
      assert(thrown instanceof openid.WWWAuthenticateChallengeError, String(thrown))
      return thrown.status === 401
    })
  })

  test('sees that the person denied', async () => {
    const config = await discover('quick-cli')
    await assert.rejects(logIn(config, 'read', deny), isError('access_denied'))
  })

  test('sees that a code expired', async () => {
    const config = await discover('brief-cli')
    const code = await openid.initiateDeviceAuthorization(config, {})
    assert.equal(code.expires_in, 60)
    // Left alone, the library stops by its own clock at that very moment. This one's clock is slow.
    const polling = openid.pollDeviceAuthorizationGrant(config, { ...code, expires_in: 75 })
    await assert.rejects(polling, isError('expired_token'))
  })
})
