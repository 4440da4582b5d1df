// Names, scopes and addresses longer than pages are drawn for, and a provider that does not answer.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { device, enter, logIn, names, open } from './account.mjs'
import { PASSWORD, askForCode, at, browser, decide, enterCode, heading, poll, portray, signIn } from './support.mjs'

const MAXIMILIANE = {
  email: 'maximiliane.oberhuber-von-hohenstein-waldburg.referat-4711@donaudampfschifffahrt.lang.example',
  password: PASSWORD,
}
const WILHELMINE = {
  email: 'wilhelmine.von-der-niederung-altmuehldorf.referat-0815@donaudampfschifffahrt.lang.example',
  password: PASSWORD,
}

// As long as they may be and never broken; right to left; both directions in one.
const UNBROKEN = 'Dienstrechner_'.repeat(4) + 'Referat4'
const RIGHT_TO_LEFT = 'حاسوب المكتب (الطابق ٣)'
const DEVICES = [UNBROKEN, 'W'.repeat(64), RIGHT_TO_LEFT, 'build-7 של משרד!']

describe('long names', () => {
  const somebody = browser()

  test('fit on every page', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'lang-cli', device_name: UNBROKEN })
      await enterCode(page, code.user_code)
      await at(page, '/activate/sign-in')
      await portray(page, 'long-2-sign-in')
      await page.getByRole('link', { name: 'Continue with Zentrales' }).click()
      assert.match(await heading(page), /can’t be reached just now/)
      await portray(page, 'message-unreachable')
      await page.getByRole('link', { name: 'Try again' }).click()
      assert.match(await heading(page), /can’t be reached just now/)
      await page.goBack()
      await at(page, '/activate/sign-in')
      await signIn(page, MAXIMILIANE)
      await at(page, '/activate/confirm')
      await portray(page, 'long-4-confirm')
      await decide(page, 'Approve')
      await at(page, '/activate/done')
      await portray(page, 'long-5-approved')
      assert.equal((await poll(code, 'lang-cli')).token_type, 'Bearer')
    }))

  test('fit on the account pages, and mix with no other text', () =>
    somebody(async (page) => {
      await enter(page, 'lang', WILHELMINE)
      for (const name of DEVICES) await logIn(page, 'lang-cli', name)
      await open(page, 'lang')
      assert.deepEqual(await names(page), DEVICES.toReversed())
      await portray(page, 'account-long-3-devices')
      await open(page, 'lang', '/end-others')
      await portray(page, 'account-long-5-end-others')
      for (const name of DEVICES) {
        await open(page, 'lang')
        await device(page, name).getByRole('link', { name: 'Rename' }).click()
        assert.equal(await heading(page), name)
        if (name === UNBROKEN) await portray(page, 'account-long-4-device')
        await page.getByRole('link', { name: 'End the access of this device' }).click()
        assert.equal(await heading(page), `End the access of “${name}”?`)
        if (name === RIGHT_TO_LEFT) await portray(page, 'account-long-5-end')
        // What follows the name is drawn after it, whatever its direction.
        const [before, after] = await page.locator('h1').evaluate((heading) => {
          const end = (range) => range.getBoundingClientRect()
          const [first, last] = [document.createRange(), document.createRange()]
          first.selectNodeContents(heading.firstChild)
          last.selectNodeContents(heading.lastChild)
          return [end(first), end(last)].map(({ left, top }) => ({ left, top }))
        })
        assert(after.top > before.top || after.left > before.left, JSON.stringify({ before, after }))
      }
    }))
})
