// A client that does not know how to authenticate sends each poll twice, first as Basic, then in the body, as Go's
// golang.org/x/oauth2 does. It keeps to the interval all the same, and gives up when it is told to slow down.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { approve, deny } from './approve.mjs'
import { DEVICE_CODE, askForCode, basic, post } from './support.mjs'

const CLIENT = 'quick-cli'
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

/** One poll: as Basic, and when that fails, whatever the reason, in the body. */
async function poll(code) {
  const fields = { grant_type: DEVICE_CODE, device_code: code.device_code }
  const first = await post('/auth/token', fields, basic(CLIENT))
  if (first.status === 200) return first
  const second = await post('/auth/token', { ...fields, client_id: CLIENT })
  if (second.status !== 200) assert.equal(first.body.error, second.body.error, 'both styles are told the same')
  return second
}

describe('a client that sends each poll twice', { concurrency: true }, () => {
  test('is never told to slow down', async () => {
    const code = await askForCode({ client_id: CLIENT, scope: 'openid read' })
    for (let polls = 0; polls < 10; polls += 1) {
      await pause(code.interval)
      const { status, headers, body } = await poll(code)
      assert.equal(status, 400)
      assert.equal(body.error, 'authorization_pending', `poll ${polls + 1}`)
      assert.equal(body.error_code, 'DEVICE_CODE_PENDING')
      assert.equal(headers.get('www-authenticate'), null)
      assert.equal(headers.get('retry-after'), null)
    }
    await approve(code.verification_uri_complete)
    const { status, body } = await poll(code)
    assert.equal(status, 200, JSON.stringify(body))
    assert.equal(body.token_type, 'Bearer')
  })

  test('is told that the person denied, in both styles', async () => {
    const code = await askForCode({ client_id: CLIENT })
    await deny(code.verification_uri_complete)
    assert.equal((await poll(code)).body.error, 'access_denied')
  })

  test('is told so when it does flood, and its next legal poll is fine', async () => {
    const code = await askForCode({ client_id: CLIENT })
    const fields = { grant_type: DEVICE_CODE, device_code: code.device_code, client_id: CLIENT }
    const flood = await Promise.all(Array.from({ length: 20 }, () => post('/auth/token', fields)))
    const errors = flood.map(({ body }) => body.error)
    assert.deepEqual([...new Set(errors)].sort(), ['authorization_pending', 'slow_down'])
    await pause(code.interval)
    assert.equal((await post('/auth/token', fields)).body.error, 'authorization_pending')
  })
})
