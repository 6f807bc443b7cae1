import { parseArgs } from 'node:util'
import { SCENARIOS, STACKS } from '../scenarios.mjs'

export const PHASES = ['redis', 'logging', 'latency', 'startup', 'memory']
const QUICK = {
  scenarios: ['public', 'auth', 'post', 'refused', 'limited'],
  stacks: ['bare', 'control', 'bulwark', 'wired', 'express'],
  rounds: 3,
  seconds: 0.4,
}
const FULL = { scenarios: Object.keys(SCENARIOS), stacks: Object.keys(STACKS), rounds: 12, seconds: 0.5 }

export const SCALE_PARTS = ['manyRoutes', 'instances', 'hostile', 'flatness']

export const USAGE = `npm run bench -- [options]

  --quick            the main routes, the main stacks, few rounds: about a minute, good for a first look only
  --only a,b         some of the routes (${Object.keys(SCENARIOS).join(', ')}) or further parts (${PHASES.join(', ')})
  --servers a,b      some of ${Object.keys(STACKS).join(', ')}; bulwark and bare always run
  --rounds n         rounds of each comparison (${FULL.rounds}; quick ${QUICK.rounds})
  --seconds s        length of one server's turn in a round (${FULL.seconds}; quick ${QUICK.seconds})
  --scale            cost against the number of routes, origins, policies, callers, sessions; instances; hostile keys
                     (docs/scaling.md)
  --parts a,b        with --scale, some of ${SCALE_PARTS.join(', ')}
  --beside dir       this checkout beside another one that is built, such as the commit before: CPU per route, and
                     nothing else
  --profile server   where that server's time goes on each route of --only, by file and by function
  --out file         where the results go (bench/results.json; none with --quick, --only or --servers unless given)
  --draw             only draws the chart and fills the pages again, from bench/results.json and bench/scale.json`

const list = (text, allowed, name) => {
  const values = text.split(',')
  for (const value of values)
    if (!allowed.includes(value)) throw new Error(`${name} ${value}: unknown; one of ${allowed.join(', ')}`)
  return values
}

const positive = (text, name) => {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name} ${text}: not a positive number`)
  return value
}

export function readOptions (args) {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean' },
      only: { type: 'string' },
      servers: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      scale: { type: 'boolean' },
      parts: { type: 'string' },
      out: { type: 'string' },
      draw: { type: 'boolean' },
      beside: { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  const base = values.quick ? QUICK : FULL
  const chosen = values.only === undefined ? null : list(values.only, [...Object.keys(SCENARIOS), ...PHASES], '--only')
  const servers = values.servers === undefined
    ? base.stacks
    : Object.keys(STACKS).filter((key) =>
      ['bulwark', 'bare', ...list(values.servers, Object.keys(STACKS), '--servers')].includes(key)
    )
  const isPart = values.quick === true || values.beside !== undefined || chosen !== null || values.servers !== undefined
  return {
    scenarios: chosen === null ? base.scenarios : Object.keys(SCENARIOS).filter((name) => chosen.includes(name)),
    phases: chosen === null ? (values.quick ? [] : PHASES) : PHASES.filter((name) => chosen.includes(name)),
    servers,
    rounds: values.rounds === undefined ? base.rounds : Math.ceil(positive(values.rounds, 'rounds')),
    seconds: values.seconds === undefined ? base.seconds : positive(values.seconds, 'seconds'),
    isPart,
    quick: values.quick === true,
    scale: values.scale === true,
    scaleParts: values.parts === undefined ? SCALE_PARTS : list(values.parts, SCALE_PARTS, '--parts'),
    draw: values.draw === true,
    profile: values.profile === undefined ? null : list(values.profile, Object.keys(STACKS), '--profile')[0],
    beside: values.beside ?? null,
    help: values.help === true,
    out: values.out ?? (isPart ? null : 'bench/results.json'),
  }
}
