import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import root, { test } from 'tap'
import ts from 'typescript'
import { ROOT } from '../helpers/root.js'

// The compiler reads all types of Fastify, of the official plugins and of the suite.
root.setTimeout(180_000)

/** Inside the repository, so that the package is found by its name. */
const FOLDER = join(ROOT, 'dist', 'test', 'types-of-official-plugins')

const PROGRAMS: Readonly<Record<string, string>> = {
  'imported, nothing more': `
    import '@fastify/jwt'
    import '@fastify/cookie'
    import 'fastify-bulwark'
  `,
  'used side by side, with the types of @fastify/jwt': `
    import '@fastify/cookie'
    import 'fastify-bulwark/jwt'
    import type { AccessPayload } from 'fastify-bulwark/jwt'
    import { publicRoute, type SecurityUser } from 'fastify-bulwark'
    import Fastify from 'fastify'
    declare module '@fastify/jwt' { interface FastifyJWT { user: SecurityUser } }
    const app = Fastify()
    app.get('/', { security: { auth: publicRoute('test') } }, async (request, reply) => {
      const payload = await request.jwtVerify<AccessPayload>()
      reply.setCookie('theme', 'dark').clearCookie('old')
      await reply.login({ id: payload.sub, roles: ['user'] })
      const token: string = await reply.jwtSign({ a: 1 }, { expiresIn: '10m' })
      const { a } = app.jwt.verify<{ a: number }>(token)
      return [request.user.id, request.auth?.userId, request.cookies['theme'], a]
    })
  `,
  'without @fastify/jwt, request.user is the one of the instance': `
    import '@fastify/cookie'
    import { publicRoute, type SecurityTypeProvider, type SecurityUser } from 'fastify-bulwark'
    import Fastify from 'fastify'
    interface Shape { roles: 'user', policies: string, env: unknown, claims: { tenant: string } }
    type Same<A, B> = [A] extends [B] ? [B] extends [A] ? true : false : false
    const app = Fastify().withTypeProvider<SecurityTypeProvider<Shape>>()
    app.get('/', { security: { auth: publicRoute('test') } }, async (request) => {
      const typed: Same<typeof request.user, SecurityUser<Shape>> = true
      const tenant: string = request.user.tenant
      return [typed, tenant]
    })
  `,
}

test('the types of @fastify/jwt and @fastify/cookie compile beside those of the suite, all checked', async (t) => {
  mkdirSync(FOLDER, { recursive: true })
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2023,
    lib: ['lib.es2023.d.ts'],
    types: ['node'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
  }
  let before: ts.Program | undefined
  for (const [what, source] of Object.entries(PROGRAMS)) {
    const file = join(FOLDER, `${what.replace(/\W+/g, '-')}.ts`)
    writeFileSync(file, source)
    const program: ts.Program = ts.createProgram([file], options, undefined, before)
    before = program
    const found = ts.getPreEmitDiagnostics(program).map((one) =>
      `${one.file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(one.messageText, '\n')}`
    )
    t.same(found, [], what)
  }
})
