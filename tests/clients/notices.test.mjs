// What somebody is told who approves: a mail, received by npm smtp-server and read by postal-mime, and a webhook's message,
// verified by standardwebhooks. From a `countersign serve` of its own, which is configured for both.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import PostalMime from 'postal-mime'
import { SMTPServer } from 'smtp-server'
import { Webhook } from 'standardwebhooks'

import { freePort } from '../support/ports.mjs'
import { approve } from './approve.mjs'
import { DEVICE_CODE } from './support.mjs'

const ADA = { email: 'ada@acme.example', password: process.env.TEST_PASSWORD }
const HOOK_SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const MAIL_PASSWORD = 'p@ss:w/rd'

/** Things that come one after the other, for whom they have to be waited for. */
function inbox() {
  const kept = []
  const waiting = []
  return {
    put: (one) => (waiting.length > 0 ? waiting.shift()(one) : kept.push(one)),
    next: () => (kept.length > 0 ? Promise.resolve(kept.shift()) : new Promise((resolve) => waiting.push(resolve))),
    left: () => kept.length,
  }
}

const listening = async (server) => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}

/** A mail server that wants a password. This machine speaks to itself: TLS isn't asked for. */
async function mailServer(mails) {
  const smtp = new SMTPServer({
    allowInsecureAuth: true,
    disabledCommands: ['STARTTLS'],
    logger: false,
    onAuth({ username, password }, _session, done) {
      const known = username === 'login' && password === MAIL_PASSWORD
      done(known ? null : new Error('who is that?'), { user: username })
    },
    onData(stream, session, done) {
      const chunks = []
      stream.on('data', (chunk) => chunks.push(chunk))
      stream.on('end', () => {
        mails.put({ envelope: session.envelope, raw: Buffer.concat(chunks) })
        done()
      })
    },
  })
  const server = smtp.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: server.address().port, close: () => smtp.close() }
}

async function receiver(messages) {
  const server = createServer((request, response) => {
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => {
      messages.put({ headers: request.headers, body: Buffer.concat(chunks).toString() })
      response.writeHead(204).end()
    })
  })
  return { port: await listening(server), close: () => server.close() }
}

const directory = (hook) => `
[[organization]]
slug = "acme"
name = "Acme"
mfa = "off"
[[organization.service]]
slug = "cli"
name = "Größe & Co"
client_id = "acme-cli"
device_login = true
scopes = { read = "Read your projects" }
default_scopes = ["read"]
interval = 1
[[organization.provider]]
slug = "password"
kind = "password"
[[organization.user]]
email = "${ADA.email}"
password = { env = "TEST_PASSWORD" }
[[organization.webhook]]
url = "http://127.0.0.1:${hook}/countersign"
secret = { env = "HOOK_SECRET" }
`

/** A `countersign serve` with a database of its own. */
async function serve(smtpPort, hookPort) {
  const scene = mkdtempSync(join(tmpdir(), 'countersign-notices-'))
  // Root's PostgreSQL is another account's and has to get there.
  chmodSync(scene, 0o755)
  const port = await freePort()
  const url = `smtp://login:${encodeURIComponent(MAIL_PASSWORD)}@127.0.0.1:${smtpPort}`
  writeFileSync(join(scene, 'smtp'), `${url}\n`, { mode: 0o600 })
  const env = {
    ...process.env,
    COUNTERSIGN_PUBLIC_URL: `http://localhost:${port}`,
    COUNTERSIGN_LISTEN: `127.0.0.1:${port}`,
    COUNTERSIGN_DATA_DIR: join(scene, 'data'),
    COUNTERSIGN_MAIL_SMTP_FILE: join(scene, 'smtp'),
    COUNTERSIGN_MAIL_FROM: 'Acme sign-in <login@acme.example>',
    HOOK_SECRET,
  }
  const child = spawn(process.env.SERVER_BINARY, ['serve'], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  const ready = new Promise((resolve, reject) => {
    child.stderr.on('data', (text) => {
      log += text
      if (log.includes('issuer=')) resolve()
    })
    child.on('exit', () => reject(new Error(`the server does not start: ${log}`)))
  })
  const stop = async () => {
    if (child.exitCode === null) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    rmSync(scene, { recursive: true, force: true })
  }
  try {
    await ready
    const file = join(scene, 'acme.toml')
    writeFileSync(file, directory(hookPort))
    const applied = spawnSync(process.env.SERVER_BINARY, ['apply', file], { env, timeout: 60_000, encoding: 'utf8' })
    assert.equal(applied.status, 0, applied.stderr)
  } catch (error) {
    await stop()
    throw error
  }
  return { issuer: `http://localhost:${port}`, log: () => log, stop }
}

describe('whoever approves a device', () => {
  const [mails, messages] = [inbox(), inbox()]
  const closing = []
  let server
  before(async () => {
    const [smtp, hook] = [await mailServer(mails), await receiver(messages)]
    closing.push(smtp.close, hook.close)
    server = await serve(smtp.port, hook.port)
  })
  after(async () => {
    await server?.stop()
    for (const close of closing) close()
  })

  const post = async (path, fields) => {
    const response = await fetch(server.issuer + path, { method: 'POST', body: new URLSearchParams(fields) })
    return { status: response.status, body: await response.text() }
  }
  const poll = async (code) => {
    const fields = { grant_type: DEVICE_CODE, client_id: 'acme-cli', device_code: code.device_code }
    return JSON.parse((await post('/auth/token', fields)).body)
  }
  const approved = async () => {
    const fields = { client_id: 'acme-cli', scope: 'read offline_access', device_name: 'Büro‮ evil.example' }
    const code = JSON.parse((await post('/auth/device/code', fields)).body)
    await approve(code.verification_uri_complete, { person: ADA })
    return code
  }

  test('is told by mail and by webhook, and can undo it with the link of either', { timeout: 90_000 }, async () => {
    for (const link of ['mail', 'webhook']) {
      const tokens = await poll(await approved())
      assert(tokens.refresh_token, JSON.stringify(tokens))
      const [{ envelope, raw }, message] = await Promise.all([mails.next(), messages.next()])

      const mail = await PostalMime.parse(raw)
      assert.deepEqual(envelope.rcptTo.map(({ address }) => address), [ADA.email])
      assert.equal(envelope.mailFrom.address, 'login@acme.example')
      assert.deepEqual(mail.from, { address: 'login@acme.example', name: 'Acme sign-in' })
      assert.deepEqual(mail.to.map(({ address }) => address), [ADA.email])
      assert.equal(mail.subject, 'Größe & Co may act as you now')
      assert(Math.abs(Date.parse(mail.date) - Date.now()) < 60_000, mail.date)
      assert.match(mail.messageId, /^<[0-9a-f-]{36}@acme\.example>$/)
      for (const part of [mail.text, mail.html]) {
        for (const said of ['Read your projects', ADA.email, 'of Acme may act as you']) assert(part.includes(said), part)
        assert(!part.includes('evil.example'), part)
      }
      assert.equal(mail.attachments.length, 0)
      const [inMail] = mail.text.match(/^http:.*\/activate\/report\?token=csn_[\w-]{64}$/m)

      const payload = new Webhook(HOOK_SECRET).verify(message.body, message.headers)
      assert.equal(payload.type, 'device_login.approved')
      assert.equal(payload.data.user.email, ADA.email)
      assert.equal(payload.data.report_url, inMail)
      assert.throws(() => new Webhook(HOOK_SECRET).verify(message.body.replace('acme', 'evil'), message.headers))

      // Scanners open links, and do nothing by it.
      const address = new URL(link === 'mail' ? inMail : payload.data.report_url)
      for (const method of ['GET', 'HEAD', 'GET']) assert.equal((await fetch(address, { method })).status, 200)
      const page = await (await fetch(address)).text()
      const [, token] = page.match(/name="token" value="([^"]+)"/)
      const done = await post(address.pathname, { token })
      assert.match(done.body, /It is undone/)
      const fields = { grant_type: 'refresh_token', client_id: 'acme-cli', refresh_token: tokens.refresh_token }
      const refused = JSON.parse((await post('/auth/token', fields)).body)
      assert.equal(refused.error, 'invalid_grant')

      const reported = await messages.next()
      const report = new Webhook(HOOK_SECRET).verify(reported.body, reported.headers)
      assert.equal(report.type, 'device_login.reported')
      assert(report.data.ended.session)
    }
    assert.equal(mails.left() + messages.left(), 0)
    for (const secret of ['csn_', HOOK_SECRET, MAIL_PASSWORD, encodeURIComponent(MAIL_PASSWORD)]) {
      assert(!server.log().includes(secret), server.log())
    }
  })
})
