// Names, scopes and addresses longer than pages are drawn for, and a provider that does not answer.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { PASSWORD, askForCode, at, browser, decide, enterCode, heading, poll, portray, signIn } from './support.mjs'

const MAXIMILIANE = {
  email: 'maximiliane.oberhuber-von-hohenstein-waldburg.referat-4711@donaudampfschifffahrt.lang.example',
  password: PASSWORD,
}

describe('long names', () => {
  const somebody = browser()

  test('fit on every page', () =>
    somebody(async (page) => {
      const deviceName = 'Dienstrechner_'.repeat(4) + 'Referat4'
      const code = await askForCode({ client_id: 'lang-cli', device_name: deviceName })
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
})
