import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { userId } from './service.mjs'

/** Sign-ins at a time. */
const AT_ONCE = 50

/**
 * Access tokens of so many users of the suite on a port of this machine, by real sign-ins: it looks the session of a
 * token up.
 */
export async function signIn (port, count) {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  const tokenOf = async (index) => {
    const sent = request({
      agent,
      port,
      method: 'POST',
      path: '/auth/token',
      headers: { 'content-type': 'application/json' },
    })
    sent.end(JSON.stringify({ email: `${userId(index)}@example.com`, password: 'correct horse battery' }))
    const [answer] = await once(sent, 'response')
    const body = (await answer.toArray()).join('')
    if (answer.statusCode !== 200) throw new Error(`sign-in failed: ${answer.statusCode} ${body}`)
    return JSON.parse(body).access_token
  }
  const tokens = []
  while (tokens.length < count)
    tokens.push(
      ...await Promise.all(
        Array.from(
          { length: Math.min(AT_ONCE, count - tokens.length) },
          (_unused, step) => tokenOf(tokens.length + step),
        ),
      ),
    )
  agent.destroy()
  return tokens
}
