import { SecurityError, Type } from 'fastify-bulwark'
import type { Project } from '../repositories/projects.js'
import { IdParams, NewProject, Nothing, ProjectPatch, ProjectQuery, ProjectView } from '../schemas.js'
import type { App, Services } from '../services.js'

/** The caller's own projects. Somebody else's is a 404 like one that never was: a 403 would tell that it exists. */
export function projectRoutes (app: App, { projects }: Services): void {
  app.post('/projects', {
    schema: { body: NewProject, response: { 201: ProjectView } },
  }, async (request, reply) => reply.code(201).send(await projects.create(request.user.id, request.body)))

  app.get('/projects', {
    schema: { querystring: ProjectQuery, response: { 200: Type.Array(ProjectView) } },
  }, async (request) => projects.list(request.user.id, request.query))

  app.get('/projects/:id', {
    schema: { params: IdParams, response: { 200: ProjectView } },
  }, async (request) => found(await projects.find(request.user.id, request.params.id)))

  app.patch('/projects/:id', {
    schema: { params: IdParams, body: ProjectPatch, response: { 200: ProjectView } },
  }, async (request) => found(await projects.change(request.user.id, request.params.id, request.body)))

  app.delete('/projects/:id', {
    schema: { params: IdParams, response: { 204: Nothing } },
  }, async (request, reply) => {
    if (!await projects.remove(request.user.id, request.params.id)) throw new SecurityError('NOT_FOUND')
    return reply.code(204).send()
  })
}

function found (project: Project | null): Project {
  if (project === null) throw new SecurityError('NOT_FOUND')
  return project
}
