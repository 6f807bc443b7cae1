import { publicRoute, SecurityError } from 'fastify-bulwark'
import { whileConnected } from 'fastify-bulwark/passwords'
import type { App, Services } from '../app.js'
import { Account, Registration } from '../schemas.js'

/** Registration and the caller's own account. Signing in, refreshing and signing out are the suite's own routes. */
export function accountRoutes (app: App, { users, passwords }: Services): void {
  app.post('/auth/register', {
    schema: { body: Registration, response: { 201: Account } },
    security: { auth: publicRoute('nobody has an account before this'), rateLimit: ['auth'] },
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
}
