// One stack in a process of its own; a child of run.mjs. It counts the requests that its HTTP server was given and
// tells, when it is asked, the CPU time that the process has used.
const { build } = await import(`./stacks/${process.argv[2]}.mjs`)
const { listen, server, mint, signsIn = false } = await build(JSON.parse(process.argv[3]))

let requests = 0
server.on('request', () => { requests++ })

let session = null

const ANSWERS = {
  async startProfile () {
    const { Session } = await import('node:inspector/promises')
    session = new Session()
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: 200 })
    await session.post('Profiler.start')
  },
  stopProfile: async () => (await session.post('Profiler.stop')).profile,
  mark () {
    const { userCPUTime, systemCPUTime, involuntaryContextSwitches } = process.resourceUsage()
    return { cpu: userCPUTime + systemCPUTime, requests, at: performance.now(), preempted: involuntaryContextSwitches }
  },
  // Who asks signs in from outside then: a client in the server's process would be compiled together with it, and slow
  // it down.
  mint: ({ count }) => signsIn ? null : mint(count),
  memory () {
    globalThis.gc()
    const { rss, heapUsed, external } = process.memoryUsage()
    return { rss, heapUsed, external }
  },
}
process.on('message', async (message) => {
  try {
    process.send({ value: await ANSWERS[message.ask](message) })
  } catch (error) {
    process.send({ error: error.message })
  }
})
process.on('disconnect', () => { process.exit() })

await listen()
process.send({ value: server.address().port })
