// Every wrong input gets its page again, with a message beside the field; everything else that stands in the way has a
// page that says what to do next.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import {
  DEMO, SERVER, askForCode, at, browser, decide, enterCode, heading, isToldBeside, poll, portray, signIn, totp, verify,
  walkToConfirm, withoutTheBrowsersOwnChecks,
} from './support.mjs'

/** A code that is certainly wrong, and of the right form. */
const wrongTotp = () => String((Number(totp(DEMO.totpSecret)) + 500_000) % 1_000_000).padStart(6, '0')

describe('mistakes', () => {
  const somebody = browser()

  test('in the code', () =>
    somebody(async (page) => {
      const enter = async (typed) => {
        await page.getByLabel('Code').fill(typed)
        await withoutTheBrowsersOwnChecks(page)
        await page.getByRole('button', { name: 'Continue' }).click()
      }
      await page.goto(`${SERVER}/activate`)
      await enter('')
      await isToldBeside(page, 'Code', /Enter the code that your device shows/)
      await enter('WDJB')
      await isToldBeside(page, 'Code', /has eight letters/)
      assert.equal(await page.getByLabel('Code').inputValue(), 'WDJB', 'what was typed is kept')
      await enter('BBBB-BBBB')
      await isToldBeside(page, 'Code', /not valid/)
      await portray(page, '1-code-refused')
    }))

  test('in address and password', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await enterCode(page, code.user_code)
      await at(page, '/activate/sign-in')
      await withoutTheBrowsersOwnChecks(page)
      await signIn(page, { email: '', password: '' })
      await isToldBeside(page, 'Email address', /Enter your email address/)
      await withoutTheBrowsersOwnChecks(page)
      await signIn(page, { email: DEMO.email, password: '' })
      await isToldBeside(page, 'Password', /Enter your password/)
      await signIn(page, { email: DEMO.email, password: 'wrong' })
      await isToldBeside(page, 'Password', /don’t fit together/)
      assert.equal(await page.getByLabel('Password').inputValue(), '', 'a password is never sent back')
      await portray(page, '2-sign-in-refused')
      const told = await page.getByRole('alert').innerText()
      await signIn(page, { email: 'nobody@example.com', password: DEMO.password })
      await page.getByRole('alert').waitFor()
      assert.equal(await page.getByRole('alert').innerText(), told, 'nobody learns who has an account')
    }))

  test('in the second factor', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await enterCode(page, code.user_code)
      await signIn(page)
      await at(page, '/activate/mfa')
      await withoutTheBrowsersOwnChecks(page)
      await verify(page, '')
      await isToldBeside(page, 'Six-digit code', /Enter the six-digit code/)
      await verify(page, wrongTotp())
      await isToldBeside(page, 'Six-digit code', /not right/)
      await portray(page, '3-verify-refused')
      await page.getByText('Lost your device?').click()
      await page.getByLabel('Recovery code').fill('a7kq-x2md-p9tw')
      await page.getByRole('button', { name: 'Use this recovery code' }).click()
      await isToldBeside(page, 'Recovery code', /not one of your recovery codes/)
      await portray(page, '3-verify-recovery-refused')
      // Groups of three, as many authenticators show them.
      await verify(page, totp(DEMO.totpSecret).replace(/^.../, '$& '))
      await at(page, '/activate/confirm')
    }))

  test('in the tick box', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'quick-cli', scope: 'read deploy' })
      await walkToConfirm(page, code)
      await page.getByLabel('Deploy to production').uncheck()
      await withoutTheBrowsersOwnChecks(page)
      await page.getByRole('button', { name: 'Approve' }).click()
      await isToldBeside(page, 'This is my device', /Tick this box/)
      assert.equal(await page.getByLabel('Deploy to production').isChecked(), false, 'what was unticked stays so')
      await portray(page, '4-confirm-not-ticked')
      assert.equal((await poll(code, 'quick-cli')).error, 'authorization_pending')
      await decide(page, 'Approve')
      await at(page, '/activate/done')
      assert.equal((await poll(code, 'quick-cli')).scope, 'read')
    }))

  test('in the order: a later page leads back to the missing step', () =>
    somebody(async (page) => {
      const leadsTo = async (path) => {
        for (const later of ['sign-in', 'mfa', 'confirm', 'done']) {
          await page.goto(`${SERVER}/activate/${later}`)
          await at(page, path)
        }
      }
      await leadsTo('/activate')
      const code = await askForCode({ client_id: 'demo-cli' })
      await enterCode(page, code.user_code)
      await leadsTo('/activate/sign-in')
      await signIn(page)
      await at(page, '/activate/mfa')
      await leadsTo('/activate/mfa')
      await verify(page)
      await at(page, '/activate/confirm')
      await leadsTo('/activate/confirm')
      await decide(page, 'Deny')
      await at(page, '/activate/done')
      await leadsTo('/activate/done')
    }))

  test('in the address', () =>
    somebody(async (page) => {
      await page.goto(`${SERVER}/activate/settings`)
      assert.equal(await heading(page), 'There is no such page')
      await portray(page, 'message-not-found')
      await page.getByRole('link', { name: 'Enter a code' }).click()
      await at(page, '/activate')
    }))
})
