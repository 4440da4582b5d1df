// What the tests of clients share.

import assert from 'node:assert/strict'

export const SERVER = process.env.SERVER_URL
assert(SERVER, 'SERVER_URL is missing: scripts/test sets it')

export const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code'

/** The secret of the client `vault` of tests/directory.toml, whose services the tests log in to. */
export const SECRET = process.env.TEST_CLIENT_SECRET

/** POSTs a form and reads the JSON of the answer. */
export async function post(path, fields, headers = {}) {
  const response = await fetch(new URL(path, SERVER), { method: 'POST', headers, body: new URLSearchParams(fields) })
  return { status: response.status, headers: response.headers, body: await response.json() }
}

/** Asks for a code as a client that knows nothing but the standard. */
export async function askForCode(fields) {
  const { status, body } = await post('/auth/device/code', fields)
  assert.equal(status, 200, JSON.stringify(body))
  return body
}

export const basic = (id, secret = '') => ({ authorization: `Basic ${btoa(`${id}:${secret}`)}` })
