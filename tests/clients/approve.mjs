// A person at the activation page, over HTTP, as a browser without JavaScript would show it to them.
//
// For tests that log in: `await approve(uri)`, `await deny(uri)`. For programs in other languages:
// `node approve.mjs URI [approve|deny] [--without SCOPE]… [--person ADDRESS:PASSWORD]`.

import { createHmac } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/** Everybody knows them: they exist in development mode only. */
export const DEMO = {
  email: 'demo@example.com',
  password: 'countersign-demo',
  totpSecret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP',
}

/** How many seconds somebody waits who is told to. */
const LONGEST_PATIENCE = 5

/** More pages than a walk has. */
const LONGEST_WALK = 12

/** Approves what the device behind this address asks for, except the scopes in `without`. */
export const approve = (uri, { person = DEMO, without = [] } = {}) => walk(uri, person, 'approve', without)

/** Denies it. */
export const deny = (uri, { person = DEMO } = {}) => walk(uri, person, 'deny', [])

/** The code that an authenticator with this secret (base32) shows (RFC 6238). */
export function totp(secret, at = Date.now()) {
  const bits = [...secret].map((sign) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(sign).toString(2).padStart(5, '0'))
  const key = Buffer.from(bits.join('').match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  const step = Buffer.alloc(8)
  step.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)))
  const mac = createHmac('sha1', key).update(step).digest()
  const number = mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff
  return String(number % 1_000_000).padStart(6, '0')
}

async function walk(uri, person, decision, without) {
  const browser = new Browser(new URL(uri).origin)
  let page = await browser.open(uri)
  for (let pages = 0; pages < LONGEST_WALK; pages += 1) {
    if (page.path === '/activate/done') return page
    const fields = fillIn(page, person, decision, without)
    const send = () => browser.open(page.path, [['csrf_token', page.values('csrf_token')[0]], ...fields])
    page = await (page.path === '/activate/sign-in' ? inTurn(send) : send())
  }
  throw new Error(`the walk does not end; it is at ${page.path}`)
}

let turn = Promise.resolve()

/** One after the other: many sign-ins of one person at the same moment look like guessing, and are told to wait. */
function inTurn(work) {
  const mine = turn.then(work)
  turn = mine.catch(() => {})
  return mine
}

/** What a person enters on a page. */
function fillIn(page, person, decision, without) {
  switch (page.path) {
    case '/activate':
      return [['user_code', page.values('user_code')[0]]]
    case '/activate/sign-in':
      return [['email', person.email], ['password', person.password]]
    case '/activate/mfa':
      return [['code', totp(person.totpSecret)]]
    case '/activate/confirm': {
      const scopes = page.values('scope').filter((scope) => !without.includes(scope))
      return [...scopes.map((scope) => ['scope', scope]), ['mine', 'yes'], ['decision', decision]]
    }
    default:
      throw new Error(`the walk led to ${page.path}`)
  }
}

/** As much of a browser as the pages need: cookies, and redirects after which forms are not sent again. */
class Browser {
  #origin
  #cookies = new Map()

  constructor(origin) {
    this.#origin = origin
  }

  async open(address, form) {
    let url = new URL(address, this.#origin)
    let init = form && { method: 'POST', body: new URLSearchParams(form) }
    for (let hops = 0; hops < LONGEST_WALK; hops += 1) {
      const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
      const headers = cookie ? { cookie } : {}
      const response = await fetch(url, { ...init, headers, redirect: 'manual' })
      // Other tests sign the same person in: whoever is told to wait waits, and tries again.
      const wait = response.status === 429 ? Number(response.headers.get('retry-after')) : 0
      if (wait > 0 && wait <= LONGEST_PATIENCE) {
        await setTimeout(wait * 1000)
        continue
      }
      for (const set of response.headers.getSetCookie()) {
        const [, name, value] = set.match(/^([^=]+)=([^;]*)/)
        this.#cookies.set(name, value)
      }
      const html = await response.text()
      const next = response.headers.get('location')
      if (!next) {
        if (!response.ok) throw new Error(`${url.pathname} answered ${response.status}`)
        return new Page(url.pathname, html)
      }
      url = new URL(next, url)
      init = undefined
    }
    throw new Error(`${address} leads in a circle`)
  }
}

class Page {
  constructor(path, html) {
    this.path = path
    this.html = html
  }

  /** The values of the fields of this name that are filled in or ticked already. */
  values(name) {
    const tags = this.html.match(/<input[^>]*>/g) ?? []
    const attribute = (tag, name) => tag.match(new RegExp(` ${name}="([^"]*)"`))?.[1]
    return tags
      .filter((tag) => attribute(tag, 'name') === name && !/ disabled/.test(tag))
      .map((tag) => attribute(tag, 'value'))
      .filter((value) => value !== undefined)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { without: { type: 'string', multiple: true, default: [] }, person: { type: 'string' } },
  })
  const [uri, decision = 'approve'] = positionals
  const [email, password] = values.person?.split(':') ?? []
  await walk(uri, values.person ? { email, password } : DEMO, decision, values.without)
}
