// The setup link: how whoever starts a server becomes its first owner. It needs a server that has none, so one is started on an empty
// database, which prints the link.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'

import { freePort } from '../support/ports.mjs'
import {
  DESKTOP, at, browser, heading, isToldBeside, portray, totp, verify, withoutTheBrowsersOwnChecks,
} from './support.mjs'

const OWNER = { email: 'grace@acme.example', password: 'correct horse battery' }

/** `countersign serve` in a directory of its own, with the PostgreSQL that it brings itself. */
class OwnServer {
  async start() {
    const port = await freePort()
    this.issuer = `http://localhost:${port}`
    this.scene = mkdtempSync(join(tmpdir(), 'setup-'))
    // Open to pass through: root's PostgreSQL is another account's and has to get there.
    chmodSync(this.scene, 0o755)
    const configuration = `public_url = "${this.issuer}"\nlisten = "127.0.0.1:${port}"\ndata_dir = "data"\n`
    writeFileSync(join(this.scene, 'countersign.toml'), configuration)
    return this.startAgain()
  }

  /** Starts it, and gives the link that it prints. */
  async startAgain() {
    this.process = spawn(process.env.SERVER_BINARY, ['serve'], { cwd: this.scene, stdio: ['ignore', 'pipe', 'pipe'] })
    let log = ''
    this.process.stderr.on('data', (data) => (log += data))
    this.ended = new Promise((resolve) => this.process.on('exit', resolve))
    const lines = createInterface({ input: this.process.stdout })
    const link = (async () => {
      for await (const line of lines) if (line.includes('/setup?token=')) return line.trim()
    })()
    const found = await Promise.race([link, this.ended])
    assert.match(String(found), /^http/, `it prints no link: ${log}`)
    // The link is printed before the server listens.
    for (let tries = 0; tries < 300; tries += 1) {
      if (await fetch(`${this.issuer}/.well-known/jwks.json`).then(({ ok }) => ok, () => false)) return found
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`it does not listen: ${log}`)
  }

  async end() {
    this.process?.kill('SIGTERM')
    await this.ended
  }

  async stop() {
    await this.end()
    if (this.scene) rmSync(this.scene, { recursive: true, force: true })
  }
}

/** Fills the form in and sends it. */
async function signUp(page, { email, password, again = password }) {
  await page.getByLabel('Email address').fill(email)
  await page.getByLabel('Name').fill('Grace')
  await page.getByLabel('Password', { exact: true }).fill(password)
  await page.getByLabel('Password once more').fill(again)
  await page.getByRole('button', { name: 'Continue' }).click()
}

const shownSecret = async (page) => (await page.locator('.secret').innerText()).replace(/\s/g, '')

describe('the setup link', () => {
  const server = new OwnServer()
  const origins = []
  const somebody = browser(origins)
  let first

  before(async () => {
    first = await server.start()
    origins.push(server.issuer)
  })
  after(() => server.stop())

  test('one that was cut off, or replaced by a later start, says what to do', async () => {
    await server.end()
    const second = await server.startAgain()
    await somebody(async (page) => {
      await page.goto(first.slice(0, -5))
      assert.equal(await heading(page), 'This is no setup link')
      await portray(page, '0-setup-unknown')
      await page.goto(first)
      assert.equal(await heading(page), 'There is a newer setup link')
      await portray(page, '0-setup-replaced')
    })
    first = second
  })

  test('leads through the form and an authenticator to an account, and then to nothing more', async () => {
    await somebody(async (page) => {
      await page.goto(first)
      assert.equal(await heading(page), 'The first owner')
      await portray(page, '0-setup')

      await withoutTheBrowsersOwnChecks(page)
      await signUp(page, { ...OWNER, email: 'grace' })
      await isToldBeside(page, 'Email address', /Enter your email address/)
      assert.equal(await page.getByLabel('Name').inputValue(), 'Grace', 'what was typed stays')
      await portray(page, '0-setup-refused')

      await signUp(page, { ...OWNER, again: 'another one' })
      await isToldBeside(page, 'Password once more', /not the same/)
      await signUp(page, OWNER)
      await page.getByRole('heading', { name: 'Set up an authenticator' }).waitFor()
      const secret = await shownSecret(page)
      const square = await page.getByRole('img', { name: 'QR code' }).locator('svg').boundingBox()
      assert(square.width >= 150 && Math.abs(square.width - square.height) < 1, 'a square that phones can read')
      await portray(page, '0-setup-authenticator')

      const right = totp(secret)
      await verify(page, right === '000000' ? '000001' : '000000')
      await isToldBeside(page, 'Six-digit code', /not right/)
      assert.equal(await shownSecret(page), secret, 'what was scanned stays right')
      await verify(page, totp(secret))
      await page.getByRole('heading', { name: 'Save your recovery codes' }).waitFor()
      assert.equal(await page.locator('.codes code').count(), 10)
      await portray(page, '0-setup-recovery-codes')

      await page.getByRole('link', { name: 'I have saved them' }).click()
      await at(page, '/setup/done')
      assert.equal(await heading(page), 'What comes next')
      await portray(page, '0-setup-done')

      await page.goto(first)
      assert.equal(await heading(page), 'This server is set up already')
      await portray(page, '0-setup-owned')
      await page.getByRole('link', { name: 'Sign in' }).click()
      await at(page, '/account/platform/sign-in')
    }, { viewport: DESKTOP })
  })
})
