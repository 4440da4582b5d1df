// What the tests of the account pages share: signing in there, and devices that are on the list.

import assert from 'node:assert/strict'

import { post } from '../clients/support.mjs'
import { SERVER, askForCode, at, decide, enterCode, poll, signIn } from './support.mjs'

/** Where the account pages of an organization begin. */
export const account = (organization) => `/account/${organization}`

/** Opens one of the account pages. */
export const open = (page, organization, path = '') => page.goto(`${SERVER}${account(organization)}${path}`)

/** Signs in at the account pages, and is at the list of devices then. */
export async function enter(page, organization, person) {
  await open(page, organization)
  await at(page, `${account(organization)}/sign-in`)
  await signIn(page, person)
  await at(page, account(organization))
}

/** Logs a device in, approved in this browser by whoever is signed in there: its tokens. */
export async function logIn(page, clientId, deviceName) {
  const code = await askForCode({ client_id: clientId, ...(deviceName && { device_name: deviceName }) })
  await enterCode(page, code.user_code)
  await at(page, '/activate/confirm')
  await decide(page, 'Approve')
  await at(page, '/activate/done')
  const tokens = await poll(code, clientId)
  assert(tokens.access_token, JSON.stringify(tokens))
  return tokens
}

/** Refreshes: what the device is told. */
export async function refresh(clientId, tokens) {
  const fields = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token, client_id: clientId }
  return (await post('/auth/token', fields)).body
}

/** The names on the list, in its order. */
export const names = (page) => page.locator('.devices h2').allInnerTexts()

/** The part of the list that is about the device of this name. */
export const device = (page, name) => page.getByRole('listitem').filter({ has: page.getByRole('heading', { name, exact: true }) })
