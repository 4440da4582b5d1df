// The programs of docs/clients, in each language: the whole life of a login as somebody at a terminal has it, and what
// can go wrong. What stands in the guides is the text of these programs.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { approve, deny } from './approve.mjs'
import { SERVER, post } from './support.mjs'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..')
const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target')
const example = (path) => join(ROOT, 'examples/clients', path)

const scene = mkdtempSync(join(tmpdir(), 'guides-'))
after(() => rmSync(scene, { recursive: true }))
// Node.js looks for packages beside the program: a copy finds those of the tests.
copyFileSync(example('node/acme.mjs'), join(scene, 'acme.mjs'))
symlinkSync(join(ROOT, 'tests/node_modules'), join(scene, 'node_modules'))

/** The guides, their programs, and how each is started. Go's is compiled by scripts/test, Rust's by cargo test. */
const LANGUAGES = {
  go: { program: 'go/main.go', command: [join(TARGET, 'test-run/acme-go')] },
  rust: { program: 'rust/main.rs', command: [join(TARGET, 'debug/examples/client_rust')] },
  python: { program: 'python/acme.py', command: [join(TARGET, 'venv/bin/python'), example('python/acme.py')] },
  node: { program: 'node/acme.mjs', command: [process.execPath, join(scene, 'acme.mjs')] },
  shell: { program: 'shell/acme', command: ['sh', example('shell/acme')] },
}

/** Somebody's machine with the tool on it: `run` starts a command of it, which ends with its code and what it wrote. */
function machine(language, clientId, issuer = SERVER) {
  const config = mkdtempSync(join(scene, 'home-'))
  const env = { ...process.env, ACME_ISSUER: issuer, ACME_CLIENT_ID: clientId, XDG_CONFIG_HOME: config }
  const [program, ...first] = LANGUAGES[language].command
  return {
    store: join(config, 'acme/tokens.json'),
    kept() {
      return JSON.parse(readFileSync(this.store, 'utf8'))
    },
    start(command) {
      return new Running(spawn(program, [...first, command], { env }))
    },
    async run(command) {
      const running = this.start(command)
      running.process.stdin.end()
      return running.ended
    },
  }
}

class Running {
  said = ''
  printed = ''
  #told = []

  constructor(process) {
    this.process = process
    // It may be gone before it was told everything.
    process.stdin.on('error', () => {})
    process.stdout.setEncoding('utf8').on('data', (text) => (this.printed += text))
    process.stderr.setEncoding('utf8').on('data', (text) => {
      this.said += text
      this.#tell()
    })
    this.ended = new Promise((resolve, reject) => {
      process.on('error', reject)
      process.on('close', (code) => {
        this.code = code
        this.#tell()
        resolve(this)
      })
    })
    this.ended.catch(() => {})
  }

  /** Waits until it says this on the terminal, and returns the match. */
  says(pattern) {
    return new Promise((resolve, reject) => {
      this.#told.push({ pattern, resolve, reject })
      this.ended.catch(reject)
      this.#tell()
    })
  }

  #tell() {
    for (const { pattern, resolve, reject } of this.#told) {
      const match = this.said.match(pattern)
      if (match) resolve(match)
      else if (this.code !== undefined) reject(new Error(`it ended with ${this.code}, saying: ${this.said}`))
    }
  }

  /** The address that it shows, with the code in it. */
  async address() {
    const [, uri, code] = await this.says(/^Open (\S+)\nin any browser, and compare the code that it shows: (\S+)\n/m)
    assert.equal(new URL(uri).searchParams.get('user_code'), code)
    return uri
  }
}

async function logIn(tool) {
  const login = tool.start('login')
  await approve(await login.address())
  await login.ended
  assert.equal(login.code, 0, login.said)
  assert.match(login.said, /Signed in\.\n$/)
  assert.equal(login.printed, '', 'tokens are printed by `token` alone')
}

// So many at a time: those that wait for a code to expire begin first.
describe('the programs of the guides', { concurrency: 16 }, () => {
  for (const language of Object.keys(LANGUAGES)) {
    test(`${language}: says that the code has expired`, async () => {
      const asked = Date.now()
      const login = await machine(language, 'brief-cli').run('login')
      assert(Date.now() - asked > 58_000, 'it waits as long as the code lives')
      assert.equal(login.code, 1)
      assert.match(login.said, /\nacme: the code has expired\. Run "acme login" again\.\n$/)
    })
  }

  for (const [language, { program }] of Object.entries(LANGUAGES)) {
    test(`${language}: the guide shows the program`, () => {
      const guide = readFileSync(join(ROOT, `docs/clients/${language}.md`), 'utf8')
      const source = readFileSync(example(program), 'utf8')
      assert(guide.includes(`\n${source}\`\`\`\n`), `docs/clients/${language}.md is not what examples/clients/${program} says`)
    })

    test(`${language}: logs in, says who it is, refreshes, and signs out`, async () => {
      const tool = machine(language, 'quick-cli')
      assert.match((await tool.run('whoami')).said, /^acme: not signed in\. Run "acme login"\.\n$/)
      await logIn(tool)
      assert.equal(statSync(tool.store).mode & 0o777, 0o600)
      const first = tool.kept()
      assert(Math.abs(first.expires_at - Date.now() / 1000 - 900) < 60)

      const whoami = await tool.run('whoami')
      assert.equal(whoami.code, 0, whoami.said)
      assert.equal(JSON.parse(whoami.printed).email, 'demo@example.com')
      assert.equal((await tool.run('token')).printed, `${first.access_token}\n`, 'good for long enough')

      writeFileSync(tool.store, JSON.stringify({ ...first, expires_at: Math.floor(Date.now() / 1000) + 30 }))
      const refreshed = await tool.run('token')
      assert.equal(refreshed.code, 0, refreshed.said)
      const second = tool.kept()
      assert.equal(refreshed.printed, `${second.access_token}\n`)
      assert.notEqual(second.access_token, first.access_token)
      assert.notEqual(second.refresh_token, first.refresh_token)
      assert.equal(statSync(tool.store).mode & 0o777, 0o600)

      const logout = await tool.run('logout')
      assert.deepEqual([logout.code, logout.said], [0, 'Signed out.\n'])
      assert.throws(() => tool.kept(), { code: 'ENOENT' })
      const form = { grant_type: 'refresh_token', refresh_token: second.refresh_token, client_id: 'quick-cli' }
      assert.equal((await post('/auth/token', form)).body.error, 'invalid_grant', 'the server ended the session')
    })

    test(`${language}: says that it was signed out elsewhere`, async () => {
      const tool = machine(language, 'quick-cli')
      await logIn(tool)
      const { refresh_token } = tool.kept()
      await post('/auth/revoke', { token: refresh_token, client_id: 'quick-cli' })
      writeFileSync(tool.store, JSON.stringify({ ...tool.kept(), expires_at: 0 }))
      const ended = await tool.run('token')
      assert.deepEqual([ended.code, ended.printed], [1, ''])
      assert.match(ended.said, /^acme: signed out\. .+ Run "acme login"\.\n$/)
      assert.throws(() => tool.kept(), { code: 'ENOENT' }, 'what is worth nothing is not kept')
    })

    test(`${language}: says that the login was denied`, async () => {
      const login = machine(language, 'quick-cli').start('login')
      await deny(await login.address())
      await login.ended
      assert.equal(login.code, 1)
      assert.match(login.said, /\nacme: the login was denied\.\n$/)
    })

    test(`${language}: asks for the number that the page shows`, async () => {
      const tool = machine(language, 'number-cli')
      const login = tool.start('login')
      const done = await approve(await login.address())
      const number = done.html.match(/class="code"[^]*?aria-hidden="true">(\d\d)</)?.[1]
      assert(number, done.html)
      await login.says(/Type the number that the page shows \(3 tries left\): /)
      login.process.stdin.write(`${number === '99' ? 98 : Number(number) + 1}\n`)
      await login.says(/\(2 tries left\): /)
      login.process.stdin.write(`a & b\n`)
      await login.says(/\(2 tries left\): .*\(2 tries left\): /)
      login.process.stdin.write(`${number}\n`)
      await login.ended
      assert.equal(login.code, 0, login.said)
      tool.kept()
    })

    test(`${language}: says that nobody typed the number`, async () => {
      const login = machine(language, 'number-cli').start('login')
      login.process.stdin.end()
      await approve(await login.address())
      await login.ended
      assert.equal(login.code, 1)
      assert.match(login.said, /acme: the server wants a number, and nobody types one\.?\n$/)
    })

    test(`${language}: says what the server refuses`, async () => {
      const refused = await machine(language, 'nobody').run('login')
      assert.equal(refused.code, 1)
      assert.match(refused.said, /^acme: .*client/i)
    })

    test(`${language}: says that the server is away`, async () => {
      const away = await machine(language, 'quick-cli', 'http://localhost:9').run('login')
      assert.equal(away.code, 1)
      assert.match(away.said, /acme: .+\n$/)
    })

    test(`${language}: takes no addresses from a server that calls itself something else`, async (t) => {
      const server = await standIn(t, () => ({}), { issuer: 'http://localhost:1' })
      const other = await machine(language, 'quick-cli', server.issuer).run('login')
      assert.equal(other.code, 1, other.said)
      assert.deepEqual(server.asked, [])
    })

    test(`${language}: slows down when it is told to, and outlives a poll that failed`, async (t) => {
      const answers = [
        [400, { error: 'slow_down' }],
        [503, { error: 'temporarily_unavailable' }],
        [200, { access_token: 'good', token_type: 'Bearer', expires_in: 900 }],
      ]
      const server = await standIn(t, () => answers.shift())
      const tool = machine(language, 'quick-cli', server.issuer)
      const login = await tool.run('login')
      assert.equal(login.code, 0, login.said)
      assert.match(login.said, /^Open http:\/\/localhost:1\/go\nin any browser, and enter this code: BCDF-GHJK\n/)
      const [, first, second, third] = server.asked
      assert(second.at - first.at > 5_900, `${second.at - first.at} ms after slow_down`)
      assert(third.at - second.at > 5_900, `${third.at - second.at} ms after an answer that was none`)
      assert(server.asked.every(({ prefer }) => prefer === undefined), 'it did not offer to hold polls')
      // What comes without a refresh token is worth nothing once it has expired.
      writeFileSync(tool.store, JSON.stringify({ ...tool.kept(), expires_at: 0 }))
      assert.match((await tool.run('token')).said, /^acme: the access has expired\. Run "acme login" again\.\n$/)
    })
  }
})

/** Another server than Countersign, as far as a tool that logs in sees one. `poll` gives status and body of its answers. */
async function standIn(t, poll, metadata = {}) {
  const asked = []
  const server = createServer((request, response) => {
    const send = (status, body) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    request.resume()
    if (request.url.startsWith('/.well-known/')) {
      const endpoint = (path) => `${issuer}${path}`
      return send(200, {
        issuer,
        device_authorization_endpoint: endpoint('/device'),
        token_endpoint: endpoint('/token'),
        revocation_endpoint: endpoint('/revoke'),
        userinfo_endpoint: endpoint('/userinfo'),
        authorization_endpoint: endpoint('/authorize'),
        jwks_uri: endpoint('/keys'),
        response_types_supported: ['none'],
        ...metadata,
      })
    }
    asked.push({ path: request.url, at: Date.now(), prefer: request.headers.prefer })
    if (request.url === '/token') return send(...poll())
    const codes = { device_code: 'code', user_code: 'BCDF-GHJK', verification_uri: 'http://localhost:1/go' }
    return send(200, { ...codes, expires_in: 60, interval: 1 })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const issuer = `http://localhost:${server.address().port}`
  return { issuer, asked }
}
