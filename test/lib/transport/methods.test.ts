import { test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { DEFAULT_METHODS, resolveMethods } from '../../../lib/transport/methods.js'

function pathsOf (list: readonly string[]): string[] {
  const problems: Problem[] = []
  resolveMethods(list, problems)
  return problems.map(({ path }) => path)
}

test('methods that echo credentials or open a tunnel can never be listed, in any case', async (t) => {
  for (const method of ['TRACE', 'TRACK', 'CONNECT', 'trace', 'Connect']) {
    t.same(pathsOf(['GET', method]), ['transport.methods[1]'], method)
  }
})

test('only methods that Node parses can be listed', async (t) => {
  t.same(pathsOf(['GET', 'PROPFIND', 'QUERY', 'REPORT']), [])
  for (const method of ['get', 'BREW', '', ' GET', 'GET ', 'GET,POST', '*']) {
    t.same(pathsOf([method]), ['transport.methods[0]'], JSON.stringify(method))
  }
  t.same(pathsOf([]), ['transport.methods'])
})

test('the default is what Fastify routes, without TRACE', async (t) => {
  const { default: Fastify } = await import('fastify')
  t.same([...DEFAULT_METHODS, 'TRACE'].sort(), [...Fastify().supportedMethods].sort())
  t.same([...resolveMethods(undefined, [])], DEFAULT_METHODS)
})
