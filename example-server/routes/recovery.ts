import { publicRoute, SecurityError } from 'fastify-bulwark'
import { whileConnected } from 'fastify-bulwark/passwords'
import { mailDirectory, type Config } from '../env.js'
import { createPickup, type Mail } from '../mail.js'
import { RESET_MINUTES, type Resets } from '../repositories/resets.js'
import type { Users } from '../repositories/users.js'
import { ForgottenPassword, Nothing, PasswordReset } from '../schemas.js'
import type { App, Services } from '../services.js'

/** Choosing another password by a link that is sent by e-mail. */
export function recoveryRoutes (app: App, { users, resets, passwords }: Services, config: Config): void {
  const directory = mailDirectory(config)
  if (directory === null) {
    app.log.warn('MAIL_DIRECTORY is not set: users cannot reset their passwords')
  } else {
    const letters = createLetters(app, {
      users,
      resets,
      mail: createPickup(directory, config.MAIL_FROM),
      origin: config.PUBLIC_ORIGIN ?? `http://${config.HOST}:${config.PORT}`,
    })
    app.post('/auth/forgot-password', {
      schema: { body: ForgottenPassword, response: { 202: Nothing } },
      security: { auth: publicRoute('without the password there is no sign-in'), rateLimit: ['auth', 'letters'] },
    }, async (request, reply) => {
      // Nothing is looked up before the answer: neither its text nor its time tells whether there is such an account.
      letters.send(request.body.email)
      return reply.code(202).send()
    })
  }

  app.post('/auth/reset-password', {
    schema: { body: PasswordReset, response: { 204: Nothing } },
    security: { auth: publicRoute('the token of the link says who it is'), rateLimit: ['auth'] },
  }, async (request, reply) => {
    const { token, password } = request.body
    // Hashed first: when the server is too busy for it, the link still works.
    const passwordHash = await whileConnected(request, (signal) => passwords.hash(password, { signal }))
    const userId = await resets.redeem(token)
    if (userId === null || !await users.setPasswordHash(userId, passwordHash)) {
      throw new SecurityError('UNPROCESSABLE', {
        detail: 'This link has been used or is too old. Ask for another one.',
      })
    }
    // All sessions of the old password end; the user signs in with the new one (OWASP: no automatic sign-in).
    await app.security.sessions.revokeUser(userId)
    app.security.events.emit('authn_password_change', { userId }, request)
    return reply.code(204).send()
  })
}

interface LetterParts { readonly users: Users, readonly resets: Resets, readonly mail: Mail, readonly origin: string }

/** Sends letters behind the answers, and finishes them before the server closes. */
function createLetters (app: App, { users, resets, mail, origin }: LetterParts): { send: (email: string) => void } {
  const pending = new Set<Promise<void>>()
  app.addHook('onClose', async () => { await Promise.all(pending) })

  async function write (email: string): Promise<void> {
    const found = await users.findByEmail(email)
    if (found === null) return
    const token = await resets.create(found.user.id)
    await mail.send({
      // The address of the account and not the one that was typed: Unicode knows look-alikes that compare equal.
      to: found.user.email,
      subject: 'Choose another password',
      // Behind the #, so that it stands in no log and no Referer on its way.
      lines: [
        'Open this link to choose another password:',
        '',
        `${origin}/#reset=${token}`,
        '',
        `It works once, within ${RESET_MINUTES} minutes. If you did not ask for it, nothing has changed.`,
      ],
    })
  }

  return {
    send (email) {
      const letter = write(email).catch((error: unknown) => {
        app.log.error({ err: error }, 'a letter could not be sent')
      }).finally(() => {
        pending.delete(letter)
      })
      pending.add(letter)
    },
  }
}
