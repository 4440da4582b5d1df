// A person's own list of devices: what acts as them, under which name, and how it ends.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { account, device, enter, logIn, names, open, refresh } from './account.mjs'
import { focused, tabOrder, tabTo } from './focus.mjs'
import {
  DESKTOP, PASSWORD, PHONE, SERVER, at, browser, heading, isToldBeside, portray, signIn, withoutTheBrowsersOwnChecks,
} from './support.mjs'

const OFFICE = account('office')
const person = (name) => ({ email: `${name}@office.example`, password: PASSWORD })

const ENDED = /This device was signed out: it was ended in the account's list of devices/

const click = (page, name) => page.getByRole('button', { name, exact: true }).click()
const follow = (page, name) => page.getByRole('link', { name, exact: true }).click()

describe("a person's devices", () => {
  const somebody = browser()

  test('are reached by naming the organization and signing in, mistakes included', () =>
    somebody(async (page) => {
      await page.goto(`${SERVER}/account`)
      assert.equal(await heading(page), 'Which organization?')
      await portray(page, 'account-1-start')
      await page.getByLabel('Organization').fill('ofice')
      await click(page, 'Continue')
      await isToldBeside(page, 'Organization', /no organization of this name/)
      await portray(page, 'account-1-start-unknown')
      await page.getByLabel('Organization').fill(' Office ')
      await click(page, 'Continue')
      await at(page, `${OFFICE}/sign-in`)
      await portray(page, 'account-2-sign-in')
      await signIn(page, { ...person('barbara'), password: 'not hers' })
      await isToldBeside(page, 'Password', /don’t fit together/)
      await portray(page, 'account-2-sign-in-refused')
      await signIn(page, person('barbara'))
      await at(page, OFFICE)
      assert.equal(await heading(page), 'Your devices')
      assert(await page.getByText('No device is signed in as you at Office').isVisible())
      await portray(page, 'account-3-no-device')

      await page.goto(`${SERVER}/account`)
      await portray(page, 'account-1-start-signed-in')
      await follow(page, 'Office')
      await at(page, OFFICE)
      await click(page, 'Not you?')
      await at(page, `${OFFICE}/sign-in`)
      await open(page, 'office')
      await at(page, `${OFFICE}/sign-in`)

      await open(page, 'office', '/nothing')
      assert.equal(await heading(page), 'There is no such page')
      await portray(page, 'account-message-not-found')
    }))

  test('can be renamed and ended, and an ended one can refresh no more', () =>
    somebody(async (page) => {
      await enter(page, 'office', person('edith'))
      const laptop = await logIn(page, 'office-cli', 'edith@laptop')
      const screen = await logIn(page, 'office-screen')
      await follow(page, 'See your signed-in devices')
      await at(page, OFFICE)
      assert.deepEqual(await names(page), ['Office Screen', 'edith@laptop'])
      const said = await device(page, 'edith@laptop').innerText()
      for (const fact of ['Office CLI', 'Read your projects', 'A Node.js program', '127.0.0.1', 'where you are now']) {
        assert(said.includes(fact), `${fact} is missing in: ${said}`)
      }
      assert.match(said, /just now|\d+ (second|minute)s? ago/)
      await portray(page, 'account-3-devices')

      await follow(page, 'Rename edith@laptop')
      assert.equal(await heading(page), 'edith@laptop')
      await portray(page, 'account-4-device')
      await withoutTheBrowsersOwnChecks(page)
      await page.getByLabel('Name of this device').fill('   ')
      await click(page, 'Save the name')
      await isToldBeside(page, 'Name of this device', /Enter a name/)
      await portray(page, 'account-4-device-refused')
      await page.getByLabel('Name of this device').fill('The red one')
      await click(page, 'Save the name')
      assert.equal(await page.getByRole('status').innerText(), 'The new name is saved.')
      assert.equal(await heading(page), 'The red one')
      await portray(page, 'account-4-device-renamed')

      await follow(page, 'End the access of this device')
      assert.equal(await heading(page), 'End the access of “The red one”?')
      await portray(page, 'account-5-end')
      await follow(page, 'Keep it')
      await at(page, OFFICE)
      assert.deepEqual(await names(page), ['Office Screen', 'The red one'])
      await follow(page, 'End access of The red one')
      const form = page.url()
      await click(page, 'End access')
      await at(page, OFFICE)
      assert.equal(await page.getByRole('status').innerText(), 'The device is signed out.')
      assert.deepEqual(await names(page), ['Office Screen'])

      const refused = await refresh('office-cli', laptop)
      assert.equal(refused.error, 'invalid_grant')
      assert.match(refused.error_description, ENDED)
      assert((await refresh('office-screen', screen)).access_token, 'the other one goes on')
      await page.goto(form)
      assert.equal(await heading(page), 'There is no such page')
    }))

  test('can be ended all but one, or all', () =>
    somebody(async (page) => {
      await enter(page, 'office', person('frances'))
      const tokens = []
      for (const name of ['one', 'two', 'three']) tokens.push(await logIn(page, 'office-cli', name))
      await open(page, 'office')
      await follow(page, 'End the access of all others, or of all')
      assert.equal(await heading(page), 'End the access of all others?')
      await portray(page, 'account-5-end-others')
      await withoutTheBrowsersOwnChecks(page)
      await click(page, 'End access')
      await isToldBesideTheChoice(page)
      await portray(page, 'account-5-end-others-refused')
      await follow(page, 'Keep them all')
      await at(page, OFFICE)
      assert.equal((await names(page)).length, 3)

      await follow(page, 'Rename two')
      await follow(page, 'Keep only this device')
      assert(await page.getByRole('radio', { name: 'two' }).isChecked(), 'it is chosen already')
      await click(page, 'End access')
      await at(page, OFFICE)
      assert.equal(await page.getByRole('status').innerText(), 'All other devices are signed out.')
      assert.deepEqual(await names(page), ['two'])
      assert.deepEqual([(await refresh('office-cli', tokens[0])).error, (await refresh('office-cli', tokens[2])).error], [
        'invalid_grant', 'invalid_grant',
      ])
      const kept = await refresh('office-cli', tokens[1])
      assert(kept.access_token)

      await open(page, 'office', '/end-others')
      await page.getByText('None: end all of them').click()
      await click(page, 'End access')
      await at(page, OFFICE)
      assert.equal(await page.getByRole('status').innerText(), 'All devices are signed out.')
      assert.equal((await refresh('office-cli', kept)).error, 'invalid_grant')
      await open(page, 'office', '/end-others')
      assert.equal(await heading(page), 'No device is signed in')
      await portray(page, 'account-5-nothing-to-end')
    }, { viewport: DESKTOP }))

  test('by keyboard alone, on a phone', () =>
    somebody(async (page) => {
      await enter(page, 'office', person('hedy'))
      const tokens = await logIn(page, 'office-cli', 'hedy@laptop')
      await logIn(page, 'office-screen', 'A screen')
      await open(page, 'office')
      const around = ['Devices', 'Sign-in and security', 'Not you?']
      assert.deepEqual(await tabOrder(page), [
        ...around, 'Rename A screen', 'End access of A screen', 'Rename hedy@laptop', 'End access of hedy@laptop',
        'End the access of all others, or of all',
      ])
      await tabTo(page, 'Rename hedy@laptop')
      await page.keyboard.press('Enter')
      await page.getByLabel('Name of this device').waitFor()
      assert.deepEqual(await tabOrder(page), [
        ...around, 'Name of this device', 'Save the name', 'End the access of this device', 'Keep only this device',
      ])
      await tabTo(page, 'Name of this device')
      await page.keyboard.press('Control+A')
      await page.keyboard.type('Kept by nobody')
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: 'Kept by nobody' }).waitFor()
      await tabTo(page, 'Keep only this device')
      await page.keyboard.press('Enter')
      await at(page, `${OFFICE}/end-others`)
      // A group of radio buttons is one stop: the chosen one.
      assert.deepEqual(await tabOrder(page), [...around, 'Kept by nobody', 'End access', 'Keep them all'])
      await tabTo(page, 'Kept by nobody')
      await page.keyboard.press('ArrowUp')
      assert.equal((await focused(page)).name, 'A screen')
      await tabTo(page, 'End access')
      await page.keyboard.press('Enter')
      await at(page, OFFICE)
      assert.deepEqual(await names(page), ['A screen'])
      assert.equal((await refresh('office-cli', tokens)).error, 'invalid_grant')
      await tabTo(page, 'Not you?')
      await page.keyboard.press('Enter')
      await at(page, `${OFFICE}/sign-in`)
    }, { viewport: PHONE }))

  test('without JavaScript, by touch', () =>
    somebody(async (page) => {
      const tap = (name) => page.getByRole('button', { name, exact: true }).tap()
      const go = (name) => page.getByRole('link', { name, exact: true }).tap()
      await page.goto(`${SERVER}/account`)
      await page.getByLabel('Organization').fill('office')
      await tap('Continue')
      await signIn(page, person('joan'))
      await at(page, OFFICE)
      const tokens = await logIn(page, 'office-cli', 'joan@laptop')
      await open(page, 'office')
      await go('Rename joan@laptop')
      await page.getByLabel('Name of this device').fill('Found in a taxi')
      await tap('Save the name')
      await page.getByRole('heading', { name: 'Found in a taxi' }).waitFor()
      await go('End the access of this device')
      await tap('End access')
      await at(page, OFFICE)
      assert.deepEqual(await names(page), [])
      assert.equal((await refresh('office-cli', tokens)).error, 'invalid_grant')
    }, { viewport: PHONE, javaScriptEnabled: false, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }))
})

/** The message about a choice stands above the choices, and the page's begins with it and leads to the first. */
async function isToldBesideTheChoice(page) {
  const summary = page.getByRole('alert')
  await summary.waitFor()
  assert.match(await page.title(), /^Error: /)
  const choices = page.getByRole('group', { name: 'Which one stays signed in?' })
  assert.match(await choices.innerText(), /Choose which device stays signed in/)
  const described = await choices.getAttribute('aria-describedby')
  assert.match(await page.locator(`[id="${described}"]`).innerText(), /Choose which device/)
  await summary.getByRole('link').click()
  assert.equal((await focused(page)).name, 'three')
}
