// What the pages never do, whatever somebody does with tabs, history, links and time.

import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'

import {
  DESKTOP, SERVER, askForCode, at, browser, decide, enterCode, heading, isToldBeside, poll, portray, signIn,
  walkToConfirm,
} from './support.mjs'

describe('the pages', () => {
  const somebody = browser()
  // Begun at once, so that it expires while the other tests run.
  let expiry
  before(() => {
    expiry = somebody(expire)
    // Told by the test that waits for it.
    expiry.catch(() => {})
  })

  test('keep cookies that scripts and other sites cannot use, and change the session at sign-in', () =>
    somebody(async (page, context) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await enterCode(page, code.user_code)
      await at(page, '/activate/sign-in')
      const [before, ...others] = await context.cookies()
      assert.deepEqual(others, [])
      const { name, httpOnly, sameSite, path, domain, expires } = before
      assert.deepEqual({ httpOnly, sameSite, path, expires }, { httpOnly: true, sameSite: 'Lax', path: '/', expires: -1 })
      assert.equal(domain, 'localhost', 'of this host alone')
      assert.match(before.value, /^[\w-]{43}$/)
      await signIn(page)
      await at(page, '/activate/mfa')
      const cookies = await context.cookies()
      assert.deepEqual(cookies.map((cookie) => cookie.name).sort(), [name, `${name}-known`])
      assert.ok(cookies.every((cookie) => cookie.httpOnly && cookie.sameSite === 'Lax' && cookie.domain === domain))
      const after = cookies.find((cookie) => cookie.name === name)
      assert.notEqual(after.value, before.value)
      assert.equal(await page.evaluate(() => document.cookie), '')
    }))

  test('are kept by nobody, framed by nobody, and run nothing', () =>
    somebody(async (page) => {
      const response = await page.goto(`${SERVER}/activate`)
      const headers = response.headers()
      assert.equal(headers['cache-control'], 'no-store')
      assert.equal(headers['referrer-policy'], 'no-referrer')
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.equal(headers['access-control-allow-origin'], undefined)
      const policy = headers['content-security-policy']
      for (const part of ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"]) {
        assert(policy.includes(part), policy)
      }
      assert(!policy.includes('unsafe'), policy)
      assert.equal(await page.locator('script, [style], style, [onclick]').count(), 0)
    }))

  test('a link approves nothing', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await walkToConfirm(page, code)
      await page.goto(`${SERVER}/activate/confirm?decision=approve&mine=yes&scope=read`)
      assert.equal(await heading(page), 'Allow Demo CLI to act as you?')
      assert.equal((await poll(code, 'demo-cli')).error, 'authorization_pending')
    }))

  test('after denying, going back and approving changes nothing', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await walkToConfirm(page, code)
      await decide(page, 'Deny')
      await at(page, '/activate/done')
      await page.goBack()
      await page.waitForLoadState()
      // Whether the browser asks again or shows what it remembers: where there is a form, it is sent.
      if (new URL(page.url()).pathname === '/activate/confirm') await decide(page, 'Approve')
      await at(page, '/activate/done')
      assert.equal(await heading(page), 'Denied')
      assert.equal((await poll(code, 'demo-cli')).error, 'access_denied')
    }))

  test('a form that was remembered from before the decision is refused too', () =>
    somebody(async (page, context) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await walkToConfirm(page, code)
      const second = await context.newPage()
      await second.goto(`${SERVER}/activate/confirm`)
      await decide(page, 'Deny')
      await at(page, '/activate/done')
      await decide(second, 'Approve')
      await at(second, '/activate/done')
      assert.equal(await heading(second), 'Denied')
      assert.equal((await poll(code, 'demo-cli')).error, 'access_denied')
    }))

  test('a form left open for another code is refused, and both codes stay undecided', () =>
    somebody(async (page, context) => {
      const [first, second] = [await askForCode({ client_id: 'demo-cli' }), await askForCode({ client_id: 'demo-cli' })]
      await walkToConfirm(page, first)
      const other = await context.newPage()
      await enterCode(other, second.user_code)
      await at(other, '/activate/mfa')
      await decide(page, 'Approve')
      await page.waitForLoadState()
      for (const code of [first, second]) assert.equal((await poll(code, 'demo-cli')).error, 'authorization_pending')
      await at(page, '/activate/mfa')

      // The same, when the form's own step is the one that is due.
      await other.getByLabel('Six-digit code').fill(await page.locator('.note-development .digits').innerText())
      await other.getByRole('button', { name: 'Continue' }).click()
      await at(other, '/activate/confirm')
      await enterCode(page, first.user_code)
      await at(page, '/activate/confirm')
      await decide(other, 'Approve')
      assert.equal(await heading(other), 'This page is out of date')
      await portray(other, 'message-out-of-date')
      for (const code of [first, second]) assert.equal((await poll(code, 'demo-cli')).error, 'authorization_pending')
      await decide(page, 'Approve')
      await at(page, '/activate/done')
      assert.equal((await poll(first, 'demo-cli')).token_type, 'Bearer')
      assert.equal((await poll(second, 'demo-cli')).error, 'authorization_pending')
    }, { viewport: DESKTOP }))

  test('a code that one browser has taken is no code for another', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await enterCode(page, code.user_code)
      await at(page, '/activate/sign-in')
      await somebody(async (other) => {
        await enterCode(other, code.user_code)
        await isToldBeside(other, 'Code', /not valid/)
      })
      // Its own browser may enter it again.
      await enterCode(page, code.user_code)
      await at(page, '/activate/sign-in')
    }))

  test('a code that expired meanwhile is said to have, at every step', () => expiry)
})

async function expire(page) {
  const ask = () => askForCode({ client_id: 'brief-cli' })
  const [claimed, untouched, ends] = [await ask(), await ask(), Date.now() + 60_000]
  await walkToConfirm(page, claimed)
  await new Promise((resolve) => setTimeout(resolve, ends + 500 - Date.now()))
  await decide(page, 'Approve')
  assert.equal(await heading(page), 'This code has expired')
  assert.equal(await page.getByText('Signed in as').count(), 0, 'there is no step to sign out of')
  await portray(page, 'message-expired')
  for (const step of ['sign-in', 'mfa', 'confirm']) {
    const response = await page.goto(`${SERVER}/activate/${step}`)
    assert.equal(response.status(), 410)
  }
  await page.getByRole('link', { name: 'Enter a new code' }).click()
  await at(page, '/activate')
  await enterCode(page, untouched.user_code)
  await isToldBeside(page, 'Code', /not valid/)
  assert.equal((await poll(claimed, 'brief-cli')).error, 'expired_token')
}
