import { SsoClient } from './authos.mjs'

const sso = new SsoClient({ baseURL: 'https://login.acme.example' })
const [heading, message, form, providers] = ['heading', 'message', 'code', 'providers'].map((id) =>
  document.getElementById(id),
)
const asked = new URLSearchParams(location.search)

const WORDS = {
  INVALID_GRANT: 'This code is not valid: it may be mistyped, expired, or used already. Ask your device for a new one.',
  TEMPORARILY_UNAVAILABLE: 'There were too many wrong codes from here. Please wait an hour before you try again.',
}

switch (asked.get('device_flow_status')) {
  case 'success':
    show('Go back to your device', 'It goes on there by itself. This page may be closed.')
    break
  case 'denied':
    show('Denied', 'Nothing was shared with the device.')
    break
  default: {
    form.hidden = false
    const code = asked.get('user_code')
    if (code) {
      // Only filled in: somebody else may have sent this link.
      form.elements.user_code.value = code
      message.textContent = 'Does your device show this very code? If you did not start this yourself, close this page.'
    }
  }
}

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  const userCode = form.elements.user_code.value
  message.textContent = ''
  try {
    const context = await sso.auth.deviceCode.verify(userCode)
    providers.replaceChildren(...context.available_providers.map((provider) => link(provider, context, userCode)))
    form.hidden = true
    providers.hidden = false
    show(`Sign in to ${context.service_name ?? context.service_slug}`, 'How do you want to sign in?')
  } catch (error) {
    message.textContent = WORDS[error.errorCode] ?? 'The code can’t be checked right now. Please try again.'
    form.elements.user_code.focus()
  }
})

/** A link for this browser: it claims the code there, and comes back here after the decision. */
function link(provider, context, userCode) {
  const platform = context.org_slug === 'platform' && context.service_slug === 'admin-cli'
  const anchor = document.createElement('a')
  anchor.href = platform
    ? sso.auth.getAdminLoginUrl(provider, { user_code: userCode })
    : sso.auth.getLoginUrl(provider, {
        org: context.org_slug,
        service: context.service_slug,
        user_code: userCode,
      })
  anchor.textContent = `Sign in with ${provider}`
  const item = document.createElement('li')
  item.append(anchor)
  return item
}

function show(title, words) {
  document.title = title
  heading.textContent = title
  message.textContent = words
  heading.focus()
}
