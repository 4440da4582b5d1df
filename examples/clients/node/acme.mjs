// acme: a tool with device login (RFC 8628), with openid-client.
//
//   acme login     signs this machine in
//   acme token     prints an access token that is valid
//   acme whoami    shows who is signed in
//   acme logout    signs this machine out

import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir, hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import * as openid from 'openid-client'

const ISSUER = process.env.ACME_ISSUER || 'https://login.acme.example'
const CLIENT_ID = process.env.ACME_CLIENT_ID || 'acme-cli'
const SCOPE = 'openid email offline_access'
const STORE = join(process.env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'acme', 'tokens.json')

/** What the person is told when a command can't do what it should. */
class Trouble extends Error {}

/** Reads what the server says of itself (RFC 8414). The library compares the issuer. */
async function discover() {
  const options = { algorithm: 'oauth2', execute: [] }
  // Plain HTTP to this machine only.
  if (ISSUER.startsWith('http://localhost')) options.execute.push(openid.allowInsecureRequests)
  const config = await openid.discovery(new URL(ISSUER), CLIENT_ID, undefined, openid.None(), options)
  config.timeout = 60
  return config
}

async function login() {
  const config = await discover()
  const codes = await openid.initiateDeviceAuthorization(config, { scope: SCOPE, device_name: hostname().slice(0, 64) })
  if (codes.verification_uri_complete) {
    tell(`Open ${codes.verification_uri_complete}`)
    tell(`in any browser, and compare the code that it shows: ${codes.user_code}`)
  } else {
    tell(`Open ${codes.verification_uri}`)
    tell(`in any browser, and enter this code: ${codes.user_code}`)
  }
  // The server says when a code has expired. Should it not, this ends the wait; two minutes more are for the number.
  const signal = AbortSignal.timeout((codes.expires_in + 120) * 1000)
  config[openid.customFetch] = poll(config.serverMetadata(), signal)
  // The library polls in time, and minds `slow_down`.
  await keep(await openid.pollDeviceAuthorizationGrant(config, codes, undefined, { signal }))
  tell('Signed in.')
}

/** One poll of the library's, with what the library doesn't do: waiting longer, outliving failures, asking for the number. */
function poll(metadata, giveUp) {
  // A server that can hold a poll until the decision says for how long (RFC 7240). Not longer than 20 s: proxies cut.
  let wait = Math.min(metadata.device_poll_wait_max ?? 0, 20)
  return async (url, request) => {
    for (;;) {
      const headers = new Headers(request.headers)
      if (wait > 0) headers.set('prefer', `wait=${wait}`)
      const signal = AbortSignal.any([giveUp, AbortSignal.timeout((wait + 30) * 1000)])
      const answer = await fetch(url, { ...request, headers, signal }).catch(() => undefined)
      giveUp.throwIfAborted()
      if (!answer || answer.status >= 500 || answer.status === 429) {
        // One poll that failed is not the end: the library waits longer, and no poll is asked to be held.
        wait = 0
        return Response.json({ error: 'slow_down' }, { status: 400 })
      }
      const said = await answer.clone().json().catch(() => ({}))
      if (said.verification !== 'number') return answer
      // Approved, but the page shows a number that has to be typed here.
      request.body.set('verification_number', await ask(said.tries_left))
    }
  }
}

async function ask(triesLeft) {
  process.stderr.write(`Type the number that the page shows (${triesLeft} tries left): `)
  keyboard ??= createInterface({ input: process.stdin })
  lines ??= keyboard[Symbol.asyncIterator]()
  const { value, done } = await lines.next()
  if (done) throw new Trouble('the server wants a number, and nobody types one.')
  return value.trim() || 'none'
}
let keyboard, lines

/** Writes beside the file first, so that it is replaced as a whole or not at all. */
async function keep(answer, oldRefreshToken) {
  const { access_token, refresh_token = oldRefreshToken } = answer
  const tokens = { access_token, refresh_token, expires_at: Math.floor(Date.now() / 1000) + answer.expiresIn() }
  const beside = `${STORE}.${process.pid}`
  await mkdir(dirname(STORE), { recursive: true, mode: 0o700 })
  await writeFile(beside, JSON.stringify(tokens), { mode: 0o600 })
  await rename(beside, STORE)
  return tokens
}

async function kept() {
  try {
    return JSON.parse(await readFile(STORE, 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT') throw new Trouble('not signed in. Run "acme login".')
    throw error
  }
}

/** The access token that is kept, or a new one when that is about to expire. */
async function fresh() {
  let tokens = await kept()
  if (tokens.expires_at < Date.now() / 1000 + 60) {
    if (!tokens.refresh_token) throw new Trouble('the access has expired. Run "acme login" again.')
    const config = await discover()
    try {
      tokens = await keep(await openid.refreshTokenGrant(config, tokens.refresh_token), tokens.refresh_token)
    } catch (error) {
      if (error.error !== 'invalid_grant') throw error
      await rm(STORE, { force: true })
      throw new Trouble(`signed out. ${error.error_description} Run "acme login".`)
    }
  }
  return tokens.access_token
}

async function token() {
  console.log(await fresh())
}

async function whoami() {
  const accessToken = await fresh()
  // `sub` is known from id tokens only, which are not kept here.
  const person = await openid.fetchUserInfo(await discover(), accessToken, openid.skipSubjectCheck)
  console.log(JSON.stringify(person))
}

/** Forgets the tokens whether or not the server could be told. */
async function logout() {
  const tokens = await kept()
  await rm(STORE)
  try {
    await openid.tokenRevocation(await discover(), tokens.refresh_token ?? tokens.access_token)
  } catch (error) {
    throw new Trouble(`the tokens are gone from here, but the server could not be told: ${error.message}`)
  }
  tell('Signed out.')
}

const tell = (line) => process.stderr.write(`${line}\n`)

/** What went wrong, in words for people. */
function words(error) {
  if (error instanceof Trouble) return error.message
  if (error.cause instanceof Trouble) return error.cause.message
  if (error.error === 'access_denied') return 'the login was denied.'
  if (error.error === 'expired_token' || error.cause?.name === 'TimeoutError' || error.name === 'TimeoutError') {
    return 'the code has expired. Run "acme login" again.'
  }
  return error.error_description ?? `${ISSUER}: ${error.cause?.message ?? error.message}`
}

const command = { login, token, whoami, logout }[process.argv[2]]
if (!command) {
  tell('usage: acme login | token | whoami | logout')
  process.exit(2)
}
try {
  await command()
} catch (error) {
  tell(`acme: ${words(error)}`)
  process.exitCode = 1
}
// Whoever reads a keyboard would wait for it.
keyboard?.close()
