// What this page needs of AuthOS's SDK, in the shapes that the SDK has. With the SDK itself this file is not needed:
//
//   import { SsoApiError, SsoClient } from '@drmhse/sso-sdk'

export class SsoApiError extends Error {
  constructor(message, statusCode, errorCode) {
    super(message)
    this.name = 'SsoApiError'
    this.statusCode = statusCode
    this.errorCode = errorCode
  }
}

export class SsoClient {
  constructor({ baseURL }) {
    const url = (path, parameters) => `${baseURL}${path}?${new URLSearchParams(parameters)}`
    this.auth = {
      deviceCode: { verify: (userCode) => post(`${baseURL}/auth/device/verify`, { user_code: userCode }) },
      getLoginUrl: (provider, { org, service, user_code }) => url(`/auth/${provider}`, { org, service, user_code }),
      getAdminLoginUrl: (provider, { user_code }) => url(`/auth/admin/${provider}`, { user_code }),
    }
  }
}

async function post(url, body) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  })
  const said = await answer.json()
  if (answer.ok) return said
  throw new SsoApiError(said.error_description, answer.status, said.error_code)
}
