// What strict validation costs: a valid body of six fields, judged by the compiled validators alone and in a whole
// request, against Fastify's own Ajv with the same schema; and the refusal of a 1 MB body with 100,000 errors.
//   node bench/validation.mjs [rounds] [validations]
import Fastify from 'fastify'
import { Type, validation } from '../dist/plugins/validation.js'

const rounds = Number(process.argv[2] ?? 21)
const validations = Number(process.argv[3] ?? 200_000)

const common = {
  email: Type.String({ format: 'email' }),
  id: Type.String({ format: 'uuid' }),
  name: Type.String({ minLength: 2, maxLength: 100 }),
  age: Type.Integer({ minimum: 13, maximum: 120 }),
  role: Type.Union([Type.Literal('user'), Type.Literal('admin')]),
  news: Type.Boolean(),
}
const SIX = Type.Object(common)
const TEXTS = Type.Object(
  Object.fromEntries(['a', 'b', 'c', 'd', 'e', 'f'].map((key) => [key, Type.String({ minLength: 1, maxLength: 200 })])),
)
const six = {
  email: 'ada.lovelace@example.com',
  id: '3f2c1b9e-8a47-4d5e-9f10-6b7c8d9e0f1a',
  name: 'Ada Lovelace',
  age: 36,
  role: 'user',
  news: true,
}
const texts = Object.fromEntries(
  ['a', 'b', 'c', 'd', 'e', 'f'].map((key) => [key, `the ${key} of a form, some forty characters`]),
)
const ITEMS = Type.Object({ items: Type.Array(Type.Object({ a: Type.Integer() })) })

async function serve (isStrict) {
  const app = Fastify({ bodyLimit: 4_000_000 })
  if (isStrict) await app.register(validation)
  const validators = {}
  for (const [name, body] of Object.entries({ six: SIX, texts: TEXTS, items: ITEMS })) {
    app.post(`/${name}`, { schema: { body } }, async (request) => {
      validators[name] ??= request.getValidationFunction('body')
      return {}
    })
  }
  await app.ready()
  await app.inject({ method: 'POST', url: '/six', payload: six })
  await app.inject({ method: 'POST', url: '/texts', payload: texts })
  return { app, validators }
}

const apps = { fastify: await serve(false), bulwark: await serve(true) }

function cpu (run) {
  const before = process.cpuUsage()
  run()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const quick = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 10)]

console.log(`${rounds} rounds, node ${process.version}`)
for (const [name, value] of [['six', six], ['texts', texts]]) {
  const samples = { fastify: [], bulwark: [], control: [] }
  for (let round = 0; round < rounds; round++) {
    for (const key of round % 2 === 0 ? ['fastify', 'bulwark', 'control'] : ['control', 'bulwark', 'fastify']) {
      const validate = apps[key === 'control' ? 'fastify' : key].validators[name]
      if (validate(value) !== true) throw new Error(`${key} refuses ${name}`)
      samples[key].push(
        cpu(() => {
          for (let step = 0; step < validations; step++) validate(value)
        }) / validations * 1000,
      )
    }
  }
  const line = (label, of) =>
    console.log(
      `${name.padEnd(6)} ${label.padEnd(32)} fastify ${of(samples.fastify).toFixed(0)} ns, bulwark ${
        of(samples.bulwark).toFixed(0)
      } ns, ratio ${(of(samples.bulwark) / of(samples.fastify)).toFixed(2)} (control ${
        (of(samples.control) / of(samples.fastify)).toFixed(2)
      })`,
    )
  line('validator alone, quickest tenth', quick)
  line('validator alone, median', median)
}

for (const [name, payload] of [['six', six], ['texts', texts]]) {
  const samples = { fastify: [], bulwark: [] }
  for (let round = 0; round < rounds; round++) {
    for (const key of round % 2 === 0 ? ['fastify', 'bulwark'] : ['bulwark', 'fastify']) {
      const before = process.cpuUsage()
      for (let step = 0; step < 300; step++) await apps[key].app.inject({ method: 'POST', url: `/${name}`, payload })
      const { user, system } = process.cpuUsage(before)
      samples[key].push((user + system) / 300)
    }
  }
  console.log(
    `${name.padEnd(6)} whole request (inject)           fastify ${median(samples.fastify).toFixed(1)} µs, bulwark ${
      median(samples.bulwark).toFixed(1)
    } µs, ratio ${(median(samples.bulwark) / median(samples.fastify)).toFixed(2)}`,
  )
}

const hostile = JSON.stringify({ items: Array.from({ length: 100_000 }, () => ({ a: 'x' })) })
const parse = []
const refuse = { fastify: [], bulwark: [] }
for (let round = 0; round < rounds; round++) {
  parse.push(cpu(() => JSON.parse(hostile)) / 1000)
  for (const key of round % 2 === 0 ? ['fastify', 'bulwark'] : ['bulwark', 'fastify']) {
    const before = process.cpuUsage()
    const { statusCode } = await apps[key].app.inject({
      method: 'POST',
      url: '/items',
      headers: { 'content-type': 'application/json' },
      payload: hostile,
    })
    const { user, system } = process.cpuUsage(before)
    if (statusCode !== 400) throw new Error('not refused')
    refuse[key].push((user + system) / 1000)
  }
}
console.log(
  `${(hostile.length / 1e6).toFixed(1)} MB with 100,000 errors: refused in ${
    median(refuse.bulwark).toFixed(1)
  } ms of CPU (median), quickest tenth ${quick(refuse.bulwark).toFixed(1)} ms; fastify ${
    median(refuse.fastify).toFixed(1)
  } and ${quick(refuse.fastify).toFixed(1)} ms; JSON.parse alone ${median(parse).toFixed(1)} and ${
    quick(parse).toFixed(1)
  } ms`,
)
for (const { app } of Object.values(apps)) await app.close()
