// Five hundred routes with schemas and policies, on the suite or on Fastify alone. Each has a schema of its own, as a
// service's have:
// Ajv compiles an object that it has seen only once.
import Fastify from 'fastify'
import { ITEM_SCHEMA } from './service.mjs'

const ROUTES = 500

export async function build ({ suite }) {
  const add = (app) => {
    for (let index = 0; index < ROUTES; index++)
      app.post(`/things/${index}`, {
        schema: { body: structuredClone(ITEM_SCHEMA), response: { 200: structuredClone(ITEM_SCHEMA) } },
      }, async (request) => request.body)
  }
  if (suite) return await (await import('./bulwark.mjs')).build({ log: false, routes: (app) => { add(app) } })
  const app = Fastify()
  add(app)
  return { listen: () => app.listen({ port: 0, host: '127.0.0.1' }), server: app.server, mint: () => [] }
}
