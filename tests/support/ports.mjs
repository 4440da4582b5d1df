// Ports for servers that are started later.

import { once } from 'node:events'
import { createServer } from 'node:net'

/** A port at which nobody listens: below those that Linux gives to whoever asks for any, so that nobody else gets it meanwhile. */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const listener = createServer().listen(port, '127.0.0.1')
    try {
      await once(listener, 'listening')
    } catch {
      continue
    }
    listener.close()
    await once(listener, 'close')
    return port
  }
}
