// The whole login on a phone's screen by keyboard alone: where the focus goes, in which order, and that it is seen.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { focused, tabOrder, tabTo } from './focus.mjs'
import { DEMO, PHONE, askForCode, at, browser, decide, poll, totp, walkToConfirm } from './support.mjs'

describe('by keyboard alone', () => {
  const somebody = browser()

  test('the whole login, on a phone', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'quick-cli', scope: 'read deploy openid' })
      await page.goto(code.verification_uri)
      assert.equal((await focused(page)).name, 'Code', 'one can type at once')
      assert.deepEqual(await tabOrder(page), ['Code', 'Continue'])
      await tabTo(page, 'Code')
      // As people type it.
      await page.keyboard.type(code.user_code.toLowerCase().replace('-', ' '))
      await page.keyboard.press('Enter')

      await at(page, '/activate/sign-in')
      assert.deepEqual(await tabOrder(page), ['Email address', 'Password', 'Sign in'])
      await tabTo(page, 'Email address')
      await page.keyboard.type(DEMO.email)
      await page.keyboard.press('Tab')
      await page.keyboard.type(DEMO.password)
      await page.keyboard.press('Enter')

      await at(page, '/activate/mfa')
      assert.equal((await focused(page)).name, 'Six-digit code')
      const verifying = ['Not you?', 'Six-digit code', 'Continue', 'Lost your device? Use a recovery code']
      assert.deepEqual(await tabOrder(page), verifying)
      await tabTo(page, 'Lost your device?')
      await page.keyboard.press('Enter')
      assert.deepEqual(await tabOrder(page), [...verifying, 'Recovery code', 'Use this recovery code'])
      await tabTo(page, 'Six-digit code')
      await page.keyboard.type(totp(DEMO.totpSecret))
      await page.keyboard.press('Enter')

      await at(page, '/activate/confirm')
      const mine = 'This is my device, and I started this sign-in just now'
      const order = await tabOrder(page)
      // The required scope can't be changed and is passed over.
      assert.deepEqual(order, ['Not you?', 'Deploy to production', order[2], mine, 'Deny', 'Approve'])
      await tabTo(page, 'Deploy to production')
      await page.keyboard.press('Space')
      await tabTo(page, mine)
      await page.keyboard.press('Space')
      await tabTo(page, 'Approve')
      await page.keyboard.press('Enter')

      await at(page, '/activate/done')
      assert.equal((await poll(code, 'quick-cli')).scope, 'read openid')
    }, { viewport: PHONE }))

  test('Enter in a tick box does not approve: what it sends is the safe decision', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await walkToConfirm(page, code)
      await tabTo(page, 'This is my device')
      await page.keyboard.press('Space')
      await page.keyboard.press('Enter')
      await at(page, '/activate/done')
      assert.equal((await poll(code, 'demo-cli')).error, 'access_denied')
    }))

  test('a forgotten tick is pointed at, and the form goes on from there', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await walkToConfirm(page, code)
      await tabTo(page, 'Approve')
      await page.keyboard.press('Enter')
      assert.equal((await focused(page)).name, 'This is my device, and I started this sign-in just now')
      assert.equal((await poll(code, 'demo-cli')).error, 'authorization_pending')
      await decide(page, 'Approve')
      await at(page, '/activate/done')
    }))
})
