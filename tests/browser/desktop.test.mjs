// The usual way: a link or a code, a mouse and a desktop.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import {
  DESKTOP, SERVER, askForCode, at, browser, decide, enterCode, heading, poll, portray, signIn, verify, walkToConfirm,
} from './support.mjs'

describe('a login on a desktop', () => {
  const somebody = browser()

  test('by the link that the device shows, approved', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'quick-cli', scope: 'openid email read deploy', device_name: 'ada@build-7' })
      await page.goto(code.verification_uri_complete)
      assert.equal(await heading(page), 'Does your device show this code?')
      assert(await page.getByText(code.user_code, { exact: true }).isVisible())
      await portray(page, '1-code-from-link')
      await page.getByRole('button', { name: 'Yes, it shows this code' }).click()

      await at(page, '/activate/sign-in')
      assert.match(await page.getByRole('banner').innerText(), /Demo · Quick CLI/)
      await portray(page, '2-sign-in')
      await signIn(page)

      await at(page, '/activate/mfa')
      assert(await page.getByText('Signed in as demo@example.com').isVisible())
      await portray(page, '3-verify')
      await verify(page)

      await at(page, '/activate/confirm')
      assert.equal(await heading(page), 'Allow Quick CLI to act as you?')
      const main = await page.getByRole('main').innerText()
      for (const said of ['“ada@build-7”', 'A Node.js program', '127.0.0.1', 'just now', 'Deploy to production', code.user_code]) {
        assert(main.includes(said), `${said} is missing in: ${main}`)
      }
      assert(await page.getByLabel('Read your projects').isDisabled(), 'a required scope is fixed')
      await portray(page, '4-confirm')
      await page.getByLabel('Deploy to production').uncheck()
      assert.equal((await poll(code, 'quick-cli')).error, 'authorization_pending')
      await decide(page, 'Approve')

      await at(page, '/activate/done')
      assert.equal(await heading(page), 'Approved')
      await portray(page, '5-approved')
      const tokens = await poll(code, 'quick-cli')
      assert.equal(tokens.scope, 'openid email read')
    }, { viewport: DESKTOP }))

  test('by a typed code, denied', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await page.goto(code.verification_uri)
      await portray(page, '1-code')
      await walkToConfirm(page, code)
      await decide(page, 'Deny')
      await at(page, '/activate/done')
      assert.equal(await heading(page), 'Denied')
      await portray(page, '5-denied')
      assert.equal((await poll(code, 'demo-cli')).error, 'access_denied')
    }, { viewport: DESKTOP }))

  test('"Not you?" leads back to signing in, and what was proven is forgotten', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await walkToConfirm(page, code)
      await page.getByRole('button', { name: 'Not you?' }).click()
      await at(page, '/activate/sign-in')
      assert.equal(await page.getByText('Signed in as').count(), 0)
      await page.goto(`${SERVER}/activate/confirm`)
      await at(page, '/activate/sign-in')
      assert.equal((await poll(code, 'demo-cli')).error, 'authorization_pending')
    }, { viewport: DESKTOP }))

  test('a browser that is signed in still verifies every device anew', () =>
    somebody(async (page) => {
      const first = await askForCode({ client_id: 'demo-cli' })
      await walkToConfirm(page, first)
      await decide(page, 'Approve')
      await at(page, '/activate/done')
      const second = await askForCode({ client_id: 'demo-cli' })
      await enterCode(page, second.user_code)
      await at(page, '/activate/mfa')
      assert(await page.getByText('Signed in as demo@example.com').isVisible())
      await verify(page)
      await at(page, '/activate/confirm')
    }, { viewport: DESKTOP }))

  test('a code of a service without prefilling has to be typed', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'typed-cli' })
      assert.equal(code.verification_uri_complete, undefined)
      await page.goto(`${SERVER}/activate?user_code=${code.user_code}&utm_source=mail`)
      await page.getByRole('button', { name: 'Yes, it shows this code' }).click()
      assert(await page.getByLabel('Code').isVisible())
      assert.match(await page.getByRole('alert').innerText(), /type the code/)
      await page.getByLabel('Code').fill(code.user_code)
      await page.getByRole('button', { name: 'Continue' }).click()
      await at(page, '/activate/sign-in')
    }, { viewport: DESKTOP }))
})
