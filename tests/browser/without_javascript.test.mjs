// JavaScript is off, and fingers touch a phone.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { DEMO, PHONE, askForCode, at, browser, heading, isToldBeside, poll, totp } from './support.mjs'

const PLAIN = { viewport: PHONE, javaScriptEnabled: false, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }

describe('without JavaScript', () => {
  const somebody = browser()

  test('the whole login, mistakes included', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'quick-cli', scope: 'read deploy' })
      const tap = (name) => page.getByRole('button', { name }).tap()
      await page.goto(code.verification_uri)
      await page.getByLabel('Code').fill('BBBB-BBBB')
      await tap('Continue')
      await isToldBeside(page, 'Code', /not valid/)
      await page.getByLabel('Code').fill(` ${code.user_code.toLowerCase()} `)
      await tap('Continue')

      await at(page, '/activate/sign-in')
      await page.getByLabel('Email address').fill(DEMO.email)
      await page.getByLabel('Password').fill('not the password')
      await tap('Sign in')
      await isToldBeside(page, 'Password', /don’t fit together/)
      assert.equal(await page.getByLabel('Email address').inputValue(), DEMO.email, 'the address is kept')
      await page.getByLabel('Password').fill(DEMO.password)
      await tap('Sign in')

      await at(page, '/activate/mfa')
      await page.getByText('Lost your device?').tap()
      assert(await page.getByLabel('Recovery code').isVisible(), 'it unfolds without a script')
      const now = totp(DEMO.totpSecret)
      await page.getByLabel('Six-digit code').fill(now)
      await tap('Continue')

      await at(page, '/activate/confirm')
      await page.getByText('Deploy to production').tap()
      assert.equal(await page.getByLabel('Deploy to production').isChecked(), false, 'the words are part of the box')
      await page.getByText('This is my device, and I started').tap()
      await tap('Approve')

      await at(page, '/activate/done')
      assert.equal(await heading(page), 'Approved')
      assert.equal((await poll(code, 'quick-cli')).scope, 'read')
    }, PLAIN))
})
