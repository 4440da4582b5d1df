// People who have no second factor yet set one up on the way: QR code, first code, recovery codes.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import {
  DESKTOP, PASSWORD, PHONE, SERVER, askForCode, at, browser, decide, enterCode, heading, isToldBeside, poll, portray, signIn,
  totp, verify,
} from './support.mjs'

const person = (name) => ({ email: `${name}@acme.example`, password: PASSWORD })

/** Comes as far as the second factor. */
async function comeToMfa(page, who) {
  const code = await askForCode({ client_id: 'acme-cli' })
  await enterCode(page, code.user_code)
  await signIn(page, who)
  await at(page, '/activate/mfa')
  return code
}

const shownSecret = async (page) => (await page.locator('.secret').innerText()).replace(/\s/g, '')

/** Answers the page that asks for the first code, and reads the recovery codes. */
async function enrol(page) {
  await verify(page, totp(await shownSecret(page)))
  await page.getByRole('heading', { name: 'Save your recovery codes' }).waitFor()
  return page.locator('.codes code').allInnerTexts()
}

async function useRecoveryCode(page, recoveryCode) {
  const field = page.getByLabel('Recovery code')
  if (!(await field.isVisible())) await page.getByText('Lost your device?').click()
  await field.fill(recoveryCode)
  await page.getByRole('button', { name: 'Use this recovery code' }).click()
}

describe('setting up a second factor', () => {
  const somebody = browser()

  test('with a QR code and its first code; the recovery codes are shown once, and each works once', async () => {
    let recoveryCodes
    await somebody(async (page) => {
      const code = await comeToMfa(page, person('ada'))
      assert.equal(await heading(page), 'Set up an authenticator')
      const uri = new URL(await page.getByRole('link', { name: 'open the app' }).getAttribute('href'))
      assert.equal(`${uri.protocol}//${uri.host}`, 'otpauth://totp')
      assert.equal(decodeURIComponent(uri.pathname), '/Acme:ada@acme.example')
      assert.equal(uri.searchParams.get('issuer'), 'Acme')
      const secret = await shownSecret(page)
      assert.equal(uri.searchParams.get('secret'), secret)
      const square = await page.getByRole('img', { name: 'QR code' }).locator('svg').boundingBox()
      assert(square.width >= 150 && Math.abs(square.width - square.height) < 1, 'a square that phones can read')
      await portray(page, '3-set-up')

      await verify(page, '000000')
      await isToldBeside(page, 'Six-digit code', /not right/)
      assert.equal(await shownSecret(page), secret, 'what was scanned stays right')
      await portray(page, '3-set-up-refused')

      recoveryCodes = await enrol(page)
      assert.equal(new Set(recoveryCodes).size, 10)
      for (const viewport of [PHONE, DESKTOP]) {
        await page.setViewportSize(viewport)
        const codes = page.locator('.codes code')
        const lines = await codes.evaluateAll((codes) => codes.map((code) => code.getClientRects().length))
        assert.deepEqual([...new Set(lines)], [1], 'no code is broken over two lines')
      }
      await portray(page, '3-recovery-codes')
      await page.getByRole('link', { name: 'I have saved them' }).click()
      await at(page, '/activate/confirm')
      await decide(page, 'Approve')
      await at(page, '/activate/done')
      assert.equal((await poll(code, 'acme-cli')).scope, 'read')
    }, { viewport: DESKTOP })

    await somebody(async (page) => {
      const code = await comeToMfa(page, person('ada'))
      assert.equal(await heading(page), 'Verify that it is you')
      await useRecoveryCode(page, recoveryCodes[0].toUpperCase().replaceAll('-', ' '))
      await at(page, '/activate/confirm')
      await decide(page, 'Approve')
      await at(page, '/activate/done')
      assert.equal((await poll(code, 'acme-cli')).token_type, 'Bearer')
    })

    await somebody(async (page) => {
      await comeToMfa(page, person('ada'))
      await useRecoveryCode(page, recoveryCodes[0])
      await isToldBeside(page, 'Recovery code', /not one of your recovery codes, or it was used before/)
      await useRecoveryCode(page, recoveryCodes[1])
      await at(page, '/activate/confirm')
    })
  })

  test('in two browsers at once: each shows its own secret, and the first one counts', () =>
    somebody(async (first) => {
      await comeToMfa(first, person('grace'))
      await somebody(async (second) => {
        await comeToMfa(second, person('grace'))
        assert.notEqual(await shownSecret(first), await shownSecret(second))
        const secret = await shownSecret(first)
        await enrol(first)
        await verify(second, totp(await shownSecret(second)))
        await second.getByRole('heading', { name: 'Verify that it is you' }).waitFor()
        await verify(second, totp(secret))
        await at(second, '/activate/confirm')
      })
      // Reloaded, the page that showed recovery codes shows them no more.
      await first.goto(`${SERVER}/activate/mfa`)
      await at(first, '/activate/confirm')
    }))
})
