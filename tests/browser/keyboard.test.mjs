// The whole login on a phone's screen by keyboard alone: where the focus goes, in which order, and that it is seen.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { DEMO, PHONE, askForCode, at, browser, decide, poll, totp, walkToConfirm } from './support.mjs'

/** Who has the focus: its name, where it is, and whether a person sees that it has it. `null`: nobody. */
function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement
    if (!element || element === document.body) return null
    const style = getComputedStyle(element)
    const box = element.getBoundingClientRect()
    const [x, y] = [box.left + box.width / 2, box.top + Math.min(box.height / 2, 20)]
    const onTop = document.elementFromPoint(x, y)
    return {
      name: (element.labels?.[0] ?? element).innerText.split('\n')[0].trim(),
      top: Math.round(box.top + window.scrollY),
      left: Math.round(box.left),
      outlined: element.matches(':focus-visible') && style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2,
      inView: box.top >= 0 && box.bottom <= window.innerHeight && box.left >= 0 && box.right <= window.innerWidth,
      uncovered: element.contains(onTop) || onTop?.contains(element) || false,
    }
  })
}

/** Tabs once around the page. Every stop is seen, and they come in the order in which the page is read. */
async function tabOrder(page) {
  const stops = []
  let passedTheEnd = 0
  for (let presses = 0; presses < 40 && passedTheEnd < 2; presses += 1) {
    await page.keyboard.press('Tab')
    const stop = await focused(page)
    if (!stop) passedTheEnd += 1
    // The first round may begin in the middle, at a field that has the focus from the start.
    else if (passedTheEnd === 1) stops.push(stop)
  }
  assert.equal(passedTheEnd, 2, 'the focus is caught somewhere')
  for (const [index, stop] of stops.entries()) {
    assert(stop.outlined && stop.inView && stop.uncovered, `the focus is not seen: ${JSON.stringify(stop)}`)
    const before = stops[index - 1]
    const inOrder = !before || stop.top > before.top || (stop.top === before.top && stop.left > before.left)
    assert(inOrder, `${before?.name} comes before ${stop.name}`)
  }
  return stops.map((stop) => stop.name)
}

async function tabTo(page, name) {
  for (let presses = 0; presses < 40; presses += 1) {
    if ((await focused(page))?.name.startsWith(name)) return
    await page.keyboard.press('Tab')
  }
  assert.fail(`Tab never reaches ${name}`)
}

describe('by keyboard alone', () => {
  const somebody = browser()

  test('the whole login, on a phone', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'quick-cli', scope: 'read deploy openid' })
      await page.goto(code.verification_uri)
      assert.equal((await focused(page)).name, 'Code', 'one can type at once')
      assert.deepEqual(await tabOrder(page), ['Code', 'Continue'])
      await tabTo(page, 'Code')
      // As people type it.
      await page.keyboard.type(code.user_code.toLowerCase().replace('-', ' '))
      await page.keyboard.press('Enter')

      await at(page, '/activate/sign-in')
      assert.deepEqual(await tabOrder(page), ['Email address', 'Password', 'Sign in'])
      await tabTo(page, 'Email address')
      await page.keyboard.type(DEMO.email)
      await page.keyboard.press('Tab')
      await page.keyboard.type(DEMO.password)
      await page.keyboard.press('Enter')

      await at(page, '/activate/mfa')
      assert.equal((await focused(page)).name, 'Six-digit code')
      const verifying = ['Not you?', 'Six-digit code', 'Continue', 'Lost your device? Use a recovery code']
      assert.deepEqual(await tabOrder(page), verifying)
      await tabTo(page, 'Lost your device?')
      await page.keyboard.press('Enter')
      assert.deepEqual(await tabOrder(page), [...verifying, 'Recovery code', 'Use this recovery code'])
      await tabTo(page, 'Six-digit code')
      await page.keyboard.type(totp(DEMO.totpSecret))
      await page.keyboard.press('Enter')

      await at(page, '/activate/confirm')
      const mine = 'This is my device, and I started this sign-in just now'
      const order = await tabOrder(page)
      // The required scope can't be changed and is passed over.
      assert.deepEqual(order, ['Not you?', 'Deploy to production', order[2], mine, 'Deny', 'Approve'])
      await tabTo(page, 'Deploy to production')
      await page.keyboard.press('Space')
      await tabTo(page, mine)
      await page.keyboard.press('Space')
      await tabTo(page, 'Approve')
      await page.keyboard.press('Enter')

      await at(page, '/activate/done')
      assert.equal((await poll(code, 'quick-cli')).scope, 'read openid')
    }, { viewport: PHONE }))

  test('Enter in a tick box does not approve: what it sends is the safe decision', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await walkToConfirm(page, code)
      await tabTo(page, 'This is my device')
      await page.keyboard.press('Space')
      await page.keyboard.press('Enter')
      await at(page, '/activate/done')
      assert.equal((await poll(code, 'demo-cli')).error, 'access_denied')
    }))

  test('a forgotten tick is pointed at, and the form goes on from there', () =>
    somebody(async (page) => {
      const code = await askForCode({ client_id: 'demo-cli' })
      await walkToConfirm(page, code)
      await tabTo(page, 'Approve')
      await page.keyboard.press('Enter')
      assert.equal((await focused(page)).name, 'This is my device, and I started this sign-in just now')
      assert.equal((await poll(code, 'demo-cli')).error, 'authorization_pending')
      await decide(page, 'Approve')
      await at(page, '/activate/done')
    }))
})
