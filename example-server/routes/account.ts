import { publicRoute, SecurityError } from 'fastify-bulwark'
import { whileConnected } from 'fastify-bulwark/passwords'
import { Account, Nothing, PasswordChange, Registration } from '../schemas.js'
import type { App, Services } from '../services.js'

/** Registration and the caller's own account. Signing in, refreshing and signing out are the suite's own routes. */
export function accountRoutes (app: App, { users, passwords }: Services): void {
  app.post('/auth/register', {
    schema: { body: Registration, response: { 201: Account } },
    security: { auth: publicRoute('there is no account before this'), rateLimit: ['auth'] },
  }, async (request, reply) => {
    const { email, password, fullName } = request.body
    // A taken address is a 409, so this route tells who has an account here. Hiding it takes an e-mail to confirm each
    // registration, which this example does not send; the `auth` limit keeps anyone from asking for many addresses.
    const passwordHash = await whileConnected(request, (signal) => passwords.hash(password, { signal }))
    const user = await users.create({ email, fullName, passwordHash })
    return reply.code(201).send(user)
  })

  app.get('/me', { schema: { response: { 200: Account } } }, async (request) => {
    // Read again, because the token knows the id and the roles only: no personal data travels in it.
    const user = await users.find(request.user.id)
    if (user === null) throw new SecurityError('SESSION_REVOKED')
    return user
  })

  app.post('/me/password', {
    schema: { body: PasswordChange, response: { 204: Nothing } },
    // The current password is needed as well, so with an open browser this is a login to guess at.
    security: { rateLimit: ['passwords'] },
  }, async (request, reply) => {
    const { id } = request.user
    const { current, password } = request.body
    const stored = await users.passwordHashOf(id)
    if (stored === null || !await whileConnected(request, (signal) => passwords.verify(stored, current, { signal }))) {
      app.security.events.emit('authn_password_change_fail', { userId: id }, request)
      throw new SecurityError('CREDENTIALS_INVALID')
    }
    const user = await users.find(id)
    const passwordHash = await whileConnected(request, (signal) => passwords.hash(password, { signal }))
    if (user === null || !await users.replacePasswordHash(id, stored, passwordHash)) {
      throw new SecurityError('SESSION_REVOKED')
    }
    // Every session of the old password ends, this one too; the caller goes on in a new one.
    await app.security.sessions.revokeUser(id)
    app.security.events.emit('authn_password_change', { userId: id }, request)
    await reply.login(user)
    return reply.code(204).send()
  })
}
