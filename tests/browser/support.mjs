// What the tests of the pages share: a browser that tells everything it complains of, a person's steps in it, and
// portraits, which are screenshots of a page that axe found nothing wrong with.

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { chromium } from 'playwright-core'

import { DEMO, totp } from '../clients/approve.mjs'
import { DEVICE_CODE, SERVER, askForCode, post } from '../clients/support.mjs'

export { DEMO, SERVER, askForCode, totp }

export const PHONE = { width: 390, height: 844 }
export const DESKTOP = { width: 1280, height: 900 }

/** The password of everybody in tests/directory.toml. */
export const PASSWORD = process.env.TEST_PASSWORD

const SCREENSHOTS = process.env.SCREENSHOTS
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

/**
 * One browser for the tests of a file. `people(options)` opens it for somebody who was never here before. Pages of other
 * origins than the server's are complained of, except for those in `origins`.
 */
export function browser(origins = []) {
  let chrome
  before(async () => {
    assert(process.env.CHROMIUM, 'CHROMIUM is missing: scripts/install finds or installs one')
    chrome = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGUMENTS })
  })
  after(() => chrome?.close())

  /** Runs `visit(page, context)` for a new person, and fails when the browser complained of anything meanwhile. */
  return async function somebody(visit, options = {}) {
    const context = await chrome.newContext({ viewport: PHONE, locale: 'en', ...options })
    context.setDefaultTimeout(20_000)
    const complaints = listen(context, [new URL(SERVER).origin, ...origins])
    try {
      await visit(await context.newPage(), context)
      assert.deepEqual(complaints, [])
    } finally {
      await context.close()
    }
  }
}

/** What goes wrong in a browser without anybody seeing it: refused styles, scripts that fail, requests to others. */
function listen(context, origins) {
  const complaints = []
  context.on('request', (request) => {
    if (!origins.includes(new URL(request.url()).origin)) complaints.push(`request to ${request.url()}`)
  })
  context.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText
    if (reason !== 'net::ERR_ABORTED') complaints.push(`${request.url()} failed: ${reason}`)
  })
  context.on('weberror', (error) => complaints.push(`error: ${error.error()}`))
  context.on('console', (message) => {
    // A page that says what was wrong comes with a status that says so too. Anything else is noted.
    const page = /^Failed to load resource: the server responded with a status of (400|403|404|409|410|429|502)/
    const expected = page.test(message.text()) && !message.location().url.includes('/static/')
    if (!expected) complaints.push(`${message.type()}: ${message.text()}`)
  })
  return complaints
}

// What people do.

/** Opens the page and types the code that the device shows. */
export async function enterCode(page, userCode) {
  await page.goto(`${SERVER}/activate`)
  await page.getByLabel('Code').fill(userCode)
  await page.getByRole('button', { name: 'Continue' }).click()
}

export async function signIn(page, { email, password } = DEMO) {
  await page.getByLabel('Email address').fill(email)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

export async function verify(page, code = totp(DEMO.totpSecret)) {
  await page.getByLabel('Six-digit code').fill(code)
  await page.getByRole('button', { name: 'Continue' }).click()
}

export async function decide(page, decision) {
  if (decision === 'Approve') await page.getByLabel('This is my device').check()
  await page.getByRole('button', { name: decision }).click()
}

/** Walks from the code to the page where the demo person decides. */
export async function walkToConfirm(page, code) {
  await enterCode(page, code.user_code)
  await signIn(page)
  await verify(page)
  await at(page, '/activate/confirm')
}

// What people see.

/** Waits until the browser shows this page. */
export async function at(page, path) {
  await page.waitForURL((url) => url.pathname === path)
}

export const heading = (page) => page.getByRole('heading', { level: 1 }).innerText()

/** What the device is told at its next poll: `error`, or the tokens. */
export async function poll(code, clientId) {
  const fields = { grant_type: DEVICE_CODE, device_code: code.device_code, client_id: clientId }
  return (await post('/auth/token', fields)).body
}

/** Checks that a message stands beside its field, that the field names it, and that the page begins with it. */
export async function isToldBeside(page, label, message) {
  const summary = page.getByRole('alert')
  await summary.waitFor()
  const field = page.getByLabel(label)
  assert.match(await page.title(), /^Error: /)
  assert.equal(await field.getAttribute('aria-invalid'), 'true')
  const described = (await field.getAttribute('aria-describedby')).split(' ')[0]
  const beside = page.locator(`[id="${described}"]`)
  assert.match(await beside.innerText(), message)
  const boxes = [await beside.boundingBox(), await field.boundingBox()]
  const between = boxes[1].y - (boxes[0].y + boxes[0].height)
  assert(between >= -1 && between < 40, `the message is ${between} px above its field`)
  assert.match(await summary.innerText(), message)
  await summary.getByRole('link').click()
  assert(await field.evaluate((element) => element === document.activeElement), 'the summary leads to the field')
}

/** Sends the page's form although a field that the browser insists on is empty. */
export async function withoutTheBrowsersOwnChecks(page) {
  await page.evaluate(() => {
    for (const form of document.forms) form.noValidate = true
  })
}

// Portraits.

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa', 'best-practice']

/** What can be pressed and is lower than 44 px; the words beside a box are part of it. */
const hardToHit = (page) =>
  page.evaluate(() => {
    const pressed = [...document.querySelectorAll('a, button, summary, input')].filter((one) => one.checkVisibility())
    const target = (one) => (['checkbox', 'radio'].includes(one.type) ? one.labels[0] : one)
    return pressed.filter((one) => target(one).getBoundingClientRect().height < 44).map((one) => one.outerHTML)
  })

/** Checks and draws a page as people meet it: on a phone and on a desktop, in light and in dark. */
export async function portray(page, name) {
  const before = page.viewportSize()
  await page.evaluate(axe)
  for (const [device, size] of [['phone', PHONE], ['desktop', DESKTOP]]) {
    await page.setViewportSize(size)
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      const violations = await page.evaluate(async (values) => {
        const { violations } = await globalThis.axe.run({ runOnly: { type: 'tag', values } })
        return violations.map(({ id, help, nodes }) => ({ id, help, html: nodes.map((node) => node.html) }))
      }, RULES)
      assert.deepEqual(violations, [], `${name}, ${device}, ${colorScheme}`)
      if (device === 'phone') assert.deepEqual(await hardToHit(page), [], `${name}: lower than a finger`)
      if (SCREENSHOTS) {
        mkdirSync(SCREENSHOTS, { recursive: true })
        await page.screenshot({ path: join(SCREENSHOTS, `${name}-${device}-${colorScheme}.png`), fullPage: true })
      }
    }
  }
  // WCAG 2.2, 1.4.10: nothing needs scrolling sideways at 320 px.
  await page.setViewportSize({ width: 320, height: 640 })
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
  assert(overflow <= 0, `${name} is ${overflow} px too wide for 320 px`)
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: null })
  await page.setViewportSize(before)
}
