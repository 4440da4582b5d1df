// "This wasn't me": from the mail that somebody gets who approves, to the end of what they approved.

import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import PostalMime from 'postal-mime'

import { approve } from '../clients/approve.mjs'
import { post } from '../clients/support.mjs'
import { PASSWORD, SERVER, askForCode, browser, heading, poll, portray } from './support.mjs'

/** Nobody else's: what she undoes are all of her open codes. */
const GRETE = { email: 'grete@office.example', password: PASSWORD }

/** The mail about the device of this name, once it is there. */
async function mailAbout(name) {
  for (let tries = 0; tries < 200; tries += 1) {
    for (const file of readdirSync(process.env.MAILS).filter((file) => /^[^.].*\.eml$/.test(file))) {
      const mail = await PostalMime.parse(readFileSync(join(process.env.MAILS, file)))
      if (mail.text.includes(name)) return mail
    }
    await sleep(100)
  }
  throw new Error(`there is no mail about ${name}`)
}

const linkIn = (mail) => mail.text.match(/^http\S+\/activate\/report\?token=\S+$/m)[0]

async function logIn(name) {
  const code = await askForCode({ client_id: 'office-cli', scope: 'read', device_name: name })
  await approve(code.verification_uri_complete, { person: GRETE })
  return poll(code, 'office-cli')
}

const refresh = ({ refresh_token }) => post('/auth/token', { grant_type: 'refresh_token', client_id: 'office-cli', refresh_token })

describe('who is told of an approval', () => {
  const somebody = browser()

  test('undoes it with one click, in a browser that never was here', () =>
    somebody(async (page, context) => {
      const tokens = await logIn('Somebody elses laptop')
      const mail = await mailAbout('Somebody elses laptop')
      const link = linkIn(mail)
      await page.goto(link)
      assert.equal(await heading(page), 'Wasn’t it you?')
      await portray(page, 'report')
      await page.reload()
      assert.equal((await refresh(tokens)).status, 200, 'nothing is done by looking')

      await page.keyboard.press('Tab')
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: 'It is undone' }).waitFor()
      assert.equal(new URL(page.url()).search, '', 'the token is not in the address any more')
      await portray(page, 'report-done')
      const { status, body } = await refresh(tokens)
      assert.deepEqual([status, body.error], [400, 'invalid_grant'])

      await page.goto(link)
      assert.equal(await heading(page), 'It is undone already')
      assert.equal(await page.getByRole('button').count(), 0)
      await portray(page, 'report-before')
      assert.deepEqual(await context.cookies(), [])
    }))

  test('is told what is wrong with a link that was cut off', () =>
    somebody(async (page) => {
      await page.goto(`${SERVER}/activate/report?token=csn_cut`)
      assert.equal(await heading(page), 'This link does not work')
      await portray(page, 'report-unknown')
    }))

  test('reads the mail in every scheme, without anything that it would load', () =>
    somebody(async (page) => {
      await logIn('A device called <b>bold & more')
      const { html } = await mailAbout('A device called <b>bold')
      // As a mail program shows it, which has no address of its own.
      await page.setContent(html)
      assert.equal(await page.locator('b').count(), 0)
      assert.equal(await page.locator('img, script, link, iframe').count(), 0)
      assert.equal(await page.getByRole('link', { name: 'This wasn’t me' }).count(), 1)
      await portray(page, 'mail-approved')
    }))
})
