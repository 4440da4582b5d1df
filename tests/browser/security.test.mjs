// What a person proves themself with, looked after at the account pages: authenticator, recovery codes, password.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { account, enter, open } from './account.mjs'
import { tabOrder, tabTo } from './focus.mjs'
import {
  DESKTOP, PASSWORD, PHONE, SERVER, at, browser, heading, isToldBeside, portray, signIn, totp, verify,
  withoutTheBrowsersOwnChecks,
} from './support.mjs'

const OFFICE = account('office')
const person = (name, password = PASSWORD) => ({ email: `${name}@office.example`, password })

const shownSecret = async (page) => (await page.locator('.secret').innerText()).replace(/\s/g, '')
const click = (page, name) => page.getByRole('button', { name, exact: true }).click()
const follow = (page, name) => page.getByRole('link', { name, exact: true }).click()
const told = (page) => page.getByRole('status').innerText()

/** A code that is certainly wrong, and of the right form. */
const wrong = (secret) => String((Number(totp(secret)) + 500_000) % 1_000_000).padStart(6, '0')

async function changePassword(page, now, next, again = next) {
  await page.getByLabel('Password now').fill(now)
  await page.getByLabel('New password', { exact: true }).fill(next)
  await page.getByLabel('New password once more').fill(again)
  await click(page, 'Change the password')
}

describe('sign-in and security', () => {
  const somebody = browser()

  test('an authenticator is set up, asked for, and replaced; recovery codes are renewed', () =>
    somebody(async (page) => {
      await enter(page, 'office', person('mary'))
      await follow(page, 'Sign-in and security')
      assert.equal(await heading(page), 'Sign-in and security')
      await portray(page, 'account-6-security')
      await follow(page, 'Set up an authenticator')
      assert.equal(await heading(page), 'Set up an authenticator')
      await portray(page, 'account-7-set-up')
      await follow(page, 'Not now')
      await at(page, `${OFFICE}/security`)
      await follow(page, 'Set up an authenticator')
      const first = await shownSecret(page)
      await verify(page, wrong(first))
      await isToldBeside(page, 'Six-digit code', /not right/)
      await verify(page, totp(first))
      await page.getByRole('heading', { name: 'Save your recovery codes' }).waitFor()
      await portray(page, 'account-7-recovery-codes')
      await follow(page, 'I have saved them')
      await at(page, `${OFFICE}/security`)
      assert(await page.getByText('10 are left').isVisible())
      await portray(page, 'account-6-security-with-authenticator')

      await follow(page, 'Replace the authenticator')
      assert.equal(await heading(page), 'Replace your authenticator')
      await portray(page, 'account-7-replace')
      await follow(page, 'Keep the one I have')
      await at(page, `${OFFICE}/security`)
      await follow(page, 'Replace the authenticator')
      const second = await shownSecret(page)
      assert.notEqual(second, first)
      await verify(page, wrong(second))
      await isToldBeside(page, 'Six-digit code', /not right/)
      assert.equal(await heading(page), 'Replace your authenticator')
      await portray(page, 'account-7-replace-refused')
      await verify(page, totp(second))
      await at(page, `${OFFICE}/security`)
      await portray(page, 'account-6-security-replaced')

      await follow(page, 'Get new recovery codes')
      assert.equal(await heading(page), 'Get new recovery codes?')
      await portray(page, 'account-8-renew')
      await follow(page, 'Keep the old ones')
      await at(page, `${OFFICE}/security`)
      await follow(page, 'Get new recovery codes')
      await click(page, 'Show new recovery codes')
      await page.getByRole('heading', { name: 'Save your recovery codes' }).waitFor()
      const codes = await page.locator('.codes code').allInnerTexts()
      assert.equal(new Set(codes).size, 10)
      await portray(page, 'account-8-renewed')
      await follow(page, 'I have saved them')
      await at(page, `${OFFICE}/security`)

      // Asked for at the next visit, in another browser.
      await somebody(async (other) => {
        await open(other, 'office')
        await signIn(other, person('mary'))
        await at(other, `${OFFICE}/mfa`)
        await portray(other, 'account-2-verify')
        await verify(other, wrong(second))
        await isToldBeside(other, 'Six-digit code', /not right/)
        await portray(other, 'account-2-verify-refused')
        await other.getByText('Lost your device?').click()
        await other.getByLabel('Recovery code').fill(codes[0])
        await click(other, 'Use this recovery code')
        await at(other, OFFICE)
        // And once more before what a thief would like; there is a way back.
        await open(other, 'office', '/mfa?next=password')
        assert.equal(await heading(other), 'Verify that it is you')
        await portray(other, 'account-6-verify-again')
        await follow(other, 'Not now')
        await at(other, `${OFFICE}/security`)
        assert(await other.getByText('9 are left').isVisible())
        await open(other, 'office', '/mfa?next=password')
        await verify(other, totp(second))
        await at(other, `${OFFICE}/password`)
      })
    }))

  test('another password: what is wrong is told beside its field, and other browsers are signed out', () =>
    somebody(async (page) => {
      const karen = person('karen')
      await enter(page, 'office', karen)
      await somebody(async (other) => {
        await enter(other, 'office', karen)
        await open(page, 'office', '/security')
        await follow(page, 'Change the password')
        assert.equal(await heading(page), 'Change your password')
        await portray(page, 'account-9-password')
        await follow(page, 'Keep the old one')
        await at(page, `${OFFICE}/security`)
        await follow(page, 'Change the password')
        await withoutTheBrowsersOwnChecks(page)
        await changePassword(page, '', 'short')
        await isToldBeside(page, 'Password now', /Enter the password that you have now/)
        await portray(page, 'account-9-password-refused')
        await changePassword(page, karen.password, 'short')
        await isToldBeside(page, /^New password$/, /at least 8 characters/)
        await changePassword(page, karen.password, 'a new one of hers', 'a new one of her')
        await isToldBeside(page, 'New password once more', /not the same/)
        await changePassword(page, 'not hers', 'a new one of hers')
        await isToldBeside(page, 'Password now', /not the password that you have now/)
        await changePassword(page, karen.password, 'a new one of hers')
        await at(page, `${OFFICE}/security`)
        assert.match(await told(page), /password/i)
        await portray(page, 'account-6-security-password-changed')
        await open(other, 'office')
        await at(other, `${OFFICE}/sign-in`)
        await signIn(other, person('karen', 'a new one of hers'))
        await at(other, OFFICE)
      })
    }))

  test('by keyboard alone, on a phone', () =>
    somebody(async (page) => {
      await enter(page, 'office', person('radia'))
      const around = ['Devices', 'Sign-in and security', 'Not you?']
      await tabTo(page, 'Sign-in and security')
      await page.keyboard.press('Enter')
      await at(page, `${OFFICE}/security`)
      assert.deepEqual(await tabOrder(page), [...around, 'Set up an authenticator', 'Change the password'])
      await tabTo(page, 'Set up an authenticator')
      await page.keyboard.press('Enter')
      await at(page, `${OFFICE}/authenticator`)
      assert.deepEqual(await tabOrder(page), [
        ...around, 'Or open the app on this device', 'Six-digit code', 'Continue', 'Not now',
      ])
      const secret = await shownSecret(page)
      await tabTo(page, 'Six-digit code')
      await page.keyboard.type(totp(secret))
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: 'Save your recovery codes' }).waitFor()
      await tabTo(page, 'I have saved them')
      await page.keyboard.press('Enter')
      await at(page, `${OFFICE}/security`)
      await tabTo(page, 'Change the password')
      await page.keyboard.press('Enter')
      await at(page, `${OFFICE}/password`)
      assert.deepEqual(await tabOrder(page), [
        ...around, 'Password now', 'New password', 'New password once more', 'Change the password', 'Keep the old one',
      ])
      await tabTo(page, 'Keep the old one')
      await page.keyboard.press('Enter')
      await at(page, `${OFFICE}/security`)
    }, { viewport: PHONE }))

  test('without JavaScript, by touch', () =>
    somebody(async (page) => {
      const tap = (name) => page.getByRole('button', { name, exact: true }).tap()
      const go = (name) => page.getByRole('link', { name, exact: true }).tap()
      await page.goto(`${SERVER}/account?organization=office`)
      await signIn(page, person('shafi'))
      await go('Sign-in and security')
      await go('Set up an authenticator')
      await page.getByLabel('Six-digit code').fill(totp(await shownSecret(page)))
      await tap('Continue')
      await go('I have saved them')
      await at(page, `${OFFICE}/security`)
      await go('Get new recovery codes')
      await tap('Show new recovery codes')
      await page.getByRole('heading', { name: 'Save your recovery codes' }).waitFor()
      assert.equal(await page.locator('.codes code').count(), 10)
      await go('I have saved them')
      await go('Change the password')
      await page.getByLabel('Password now').fill(PASSWORD)
      await page.getByLabel('New password', { exact: true }).fill('written by thumb')
      await page.getByLabel('New password once more').fill('written by thumb')
      await tap('Change the password')
      await at(page, `${OFFICE}/security`)
    }, { viewport: PHONE, javaScriptEnabled: false, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }))
})
