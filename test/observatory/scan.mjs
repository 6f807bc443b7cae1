/**
 * Runs MDN HTTP Observatory's own scorer, in a process of its own, on a host that does not exist:
 *
 * NODE_EXTRA_CA_CERTS=cert.pem node scan.mjs
 * '{"host":"www.example.dev","scans":[{"path":"/","ports":{"80":4080,"443":4443},"preloaded":[]}]}'
 *
 * Nothing of the scorer is changed. Two things of its surroundings are:
 * - connections to the host go to the given ports of this machine, as a hosts file and a port mapping would do it, and
 *   all others are refused;
 * - the HSTS preload list, which its installation would download, is the given list.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'

const { host, scans, localAddress } = JSON.parse(process.argv[2])
let ports = {}

const connect = Socket.prototype.connect
Socket.prototype.connect = function connectHere (...args) {
  // net.connect() hands over its arguments as one list that it has put in order; tls.connect() hands over options.
  const options = Array.isArray(args[0]) ? args[0][0] : args[0]
  const port = ports[options.port]
  if (options.host !== host || port === undefined) throw new Error(`a connection to ${options.host}:${options.port}`)
  Object.assign(options, { host: '127.0.0.1', port, ...(localAddress !== undefined && { localAddress }) })
  return connect.apply(this, args)
}

const list = new URL('node_modules/@mdn/mdn-http-observatory/conf/hsts-preload.json', import.meta.url)
if (!existsSync(list)) writeFileSync(list, '{}')

const from = (file) => import(`@mdn/mdn-http-observatory/src/${file}.js`)
const [
  { hsts },
  { scan },
  { retrieve },
  { ALL_TESTS },
  { getGradeForScore, getScoreModifier },
  { MINIMUM_SCORE_FOR_EXTRA_CREDIT },
] = await Promise.all(
  ['analyzer/hsts', 'scanner/index', 'retriever/retriever', 'constants', 'grader/grader', 'grader/charts'].map(from),
)

/** What `scan()` does, for a path: it can only be given a name. */
async function scanPath (path) {
  const requests = await retrieve(host, { path })
  if (!requests.responses.auto) throw new Error('nothing answers')
  const results = ALL_TESTS.map((test) => test(requests)).map((output) => ({
    name: output.constructor.name,
    result: output.result,
    modifier: getScoreModifier(output.result),
    pass: output.pass,
  }))
  const sum = (counts) => results.filter(counts).reduce((score, { modifier }) => score + modifier, 100)
  const uncurved = sum(({ modifier }) => modifier < 0)
  return {
    ...getGradeForScore(uncurved >= MINIMUM_SCORE_FOR_EXTRA_CREDIT ? sum(() => true) : uncurved),
    status: requests.responses.auto.status,
    results,
  }
}

const reports = []
for (const { path, ports: open, preloaded } of scans) {
  ports = open
  hsts().clear()
  for (const name of preloaded) hsts().set(name, { mode: 'force-https', includeSubDomains: true })
  const report = await scanPath(path)
  if (path === '/') {
    const { scan: whole } = await scan(host)
    if (whole.score !== report.score || whole.grade !== report.grade)
      throw new Error(`scan() says ${whole.score} ${whole.grade}, its parts say ${report.score} ${report.grade}`)
  }
  reports.push(report)
}
process.stdout.write(JSON.stringify(reports))
