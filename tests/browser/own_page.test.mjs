// The activation page of docs/clients/own-activation-page.md, as an organization would serve it: the service `cli` of
// `portal`, which scripts/test sets up, names its address.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { PASSWORD, SERVER, askForCode, at, browser, decide, heading, poll, portray, signIn } from './support.mjs'

const PAGE = process.env.OWN_PAGE
const FILES = fileURLToPath(new URL('../../examples/clients/activation-page/', import.meta.url))
const GUIDE = fileURLToPath(new URL('../../docs/clients/own-activation-page.md', import.meta.url))
const TYPES = { '.html': 'text/html', '.mjs': 'text/javascript', '.css': 'text/css' }
const ADA = { email: 'ada@portal.example', password: PASSWORD }

const text = (name) => readFileSync(join(FILES, name), 'utf8')

describe('an activation page of one’s own', () => {
  let server
  before(async () => {
    assert(PAGE, 'OWN_PAGE is missing: scripts/test sets it')
    server = createServer((request, response) => {
      const { pathname } = new URL(request.url, PAGE)
      const name = pathname === '/' ? 'index.html' : pathname.slice(1)
      response.writeHead(200, { 'content-type': TYPES[extname(name)] })
      response.end(text(name).replaceAll('https://login.acme.example', SERVER))
    })
    await new Promise((resolve) => server.listen(new URL(PAGE).port, '127.0.0.1', resolve))
  })
  after(() => {
    server?.closeAllConnections()
    server?.close()
  })
  const somebody = browser(PAGE ? [new URL(PAGE).origin] : [])
  const ask = () => askForCode({ client_id: 'portal-cli', scope: 'read' })

  test('the guide shows its files', () => {
    const guide = readFileSync(GUIDE, 'utf8')
    for (const name of ['index.html', 'page.mjs', 'authos.mjs']) {
      assert(guide.includes(`\n${text(name)}\`\`\`\n`), `docs/clients/own-activation-page.md shows another ${name}`)
    }
  })

  for (const [decision, title] of [['Approve', 'Go back to your device'], ['Deny', 'Denied']]) {
    test(`leads to the sign-in, and is returned to: ${decision}`, () =>
      somebody(async (page) => {
        const code = await ask()
        assert.equal(code.verification_uri, PAGE)
        await page.goto(code.verification_uri)
        await page.getByLabel('The code that your device shows').fill(code.user_code.toLowerCase().replace('-', ' '))
        await page.getByRole('button', { name: 'Continue' }).click()
        const link = page.getByRole('link', { name: 'Sign in with password' })
        await link.waitFor()
        assert.equal(await heading(page), 'Sign in to Portal CLI')
        await portray(page, `own-page-providers-${decision.toLowerCase()}`)
        await link.click()
        await at(page, '/activate/sign-in')
        await signIn(page, ADA)
        await at(page, '/activate/confirm')
        await decide(page, decision)
        await page.waitForURL((url) => url.href.startsWith(PAGE))
        await page.getByRole('heading', { name: title }).waitFor()
        const told = await poll(code, 'portal-cli')
        assert.equal(told.scope ?? told.error, decision === 'Approve' ? 'read' : 'access_denied')
      }))
  }

  test('a link only fills the code in', () =>
    somebody(async (page) => {
      const code = await ask()
      await page.goto(code.verification_uri_complete)
      const field = page.getByLabel('The code that your device shows')
      await field.waitFor()
      assert.equal(await field.inputValue(), code.user_code)
      assert.match(await page.getByRole('status').innerText(), /Does your device show this very code\?/)
      assert.equal(await page.getByRole('link').count(), 0)
      await portray(page, 'own-page-code')
    }))

  test('says that a code is wrong', () =>
    somebody(async (page) => {
      await page.goto(PAGE)
      await page.getByLabel('The code that your device shows').fill('BCDF-GHJK')
      await page.keyboard.press('Enter')
      await page.getByText('This code is not valid').waitFor()
    }))

  test('says that there were too many wrong codes, and that the server is away', () =>
    somebody(async (page) => {
      const answers = [
        { status: 429, json: { error: 'temporarily_unavailable', error_code: 'TEMPORARILY_UNAVAILABLE' } },
        { status: 502, body: 'Bad Gateway' },
      ]
      const headers = { 'access-control-allow-origin': '*' }
      await page.route(`${SERVER}/auth/device/verify`, (route) => route.fulfill({ headers, ...answers.shift() }))
      await page.goto(PAGE)
      await page.getByLabel('The code that your device shows').fill('BCDF-GHJK')
      await page.getByRole('button', { name: 'Continue' }).click()
      await page.getByText('too many wrong codes').waitFor()
      await page.getByRole('button', { name: 'Continue' }).click()
      await page.getByText('can’t be checked right now').waitFor()
    }))
})
