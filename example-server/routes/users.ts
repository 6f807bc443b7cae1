import { SecurityError, Type } from 'fastify-bulwark'
import { IdParams, ListQuery, ManagedUser, Nothing, Profile, SecurityView } from '../schemas.js'
import type { App, Services } from '../services.js'

/** Other people: a public profile for every user who is signed in, everything but the password for administrators. */
export function userRoutes (app: App, { users }: Services): void {
  app.get('/users/:id', { schema: { params: IdParams, response: { 200: Profile } } }, async (request) => {
    const user = await users.find(request.params.id)
    if (user === null) throw new SecurityError('NOT_FOUND')
    return user
  })

  app.get('/admin/users', {
    schema: { querystring: ListQuery, response: { 200: Type.Array(ManagedUser) } },
    security: { auth: { roles: ['admin'] } },
  }, async (request) => users.list(request.query.limit))

  app.delete('/admin/users/:id/sessions', {
    schema: { params: IdParams, response: { 204: Nothing } },
    security: { auth: { roles: ['admin'] } },
  }, async (request, reply) => {
    const user = await users.find(request.params.id)
    if (user === null) throw new SecurityError('NOT_FOUND')
    await app.security.sessions.revokeUser(user.id)
    return reply.code(204).send()
  })

  app.get('/admin/security', {
    schema: { response: { 200: SecurityView } },
    security: { auth: { roles: ['admin'] } },
  }, async () => ({ posture: app.security.posture(), limits: app.security.limits.counters() }))
}
