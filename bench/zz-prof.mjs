import Fastify from 'fastify'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { createSecretKey, randomBytes } from 'node:crypto'
const D='/work/main/dist/'
const { auth, publicRoute } = await import(D+'plugins/auth.js')
const { csrf } = await import(D+'plugins/csrf.js')
const { errors } = await import(D+'plugins/errors.js')
const { secretKeyring } = await import(D+'lib/auth/keyring.js')
const { createTokenCodec } = await import(D+'lib/auth/tokens.js')
const { createId } = await import(D+'lib/auth/rotation.js')
const MANY=20000, ACCESS=randomBytes(32).toString('base64url')
const claims = () => { const now = Math.floor(Date.now()/1000); return { sub: createId(), sid: createId(), roles: ['user'], tv: 0, auth_time: now, amr: ['pwd'], iat: now, exp: now+900, jti: createId() } }
const app = Fastify()
await app.register(errors); await app.register(csrf)
await app.register(auth, { roles: ['user'], redis: false, accessSecret: ACCESS, refreshSecret: randomBytes(32).toString('base64url'), revocation:'stateless', loadUser: async (id) => ({ id, roles: ['user'] }) })
app.get('/open', { security: { auth: publicRoute('bench') } }, async () => ({ ok: true }))
app.get('/', async (request) => ({ ok: request.user.id !== '' }))
await app.ready()
const codec = createTokenCodec({ typ: 'at+jwt', keyring: secretKeyring(ACCESS), issuer: 'bulwark', audience: 'bulwark-api', lifetimeSeconds: 900, cache: 0, parse: () => null })
const socket = new Socket()
function dispatch (url, headers) { return new Promise((resolve, reject) => {
  const request = new IncomingMessage(socket)
  Object.assign(request, { method:'GET', url, httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1, complete: true })
  request.headers = headers; request.push(null)
  const response = new ServerResponse(request)
  response._send = response._writeRaw = () => true
  response.end = function (chunk) { this._header ?? this.writeHead(this.statusCode); this.finished = true; if (this.statusCode !== 200) reject(new Error(String(this.statusCode)+chunk)); this.emit('finish'); resolve() }
  app.routing(request, response)
})}
const toks = Array.from({length: MANY}, () => Buffer.from(`theme=dark; __Host-access=${codec.sign(claims())}`, 'latin1'))
const other = Buffer.from('x'.repeat(520),'latin1')
const kinds = {
  open: () => ['/open', { host:'a.example.com', 'x-other': other.latin1Slice() }],
  openmany: (n) => ['/open', { host:'a.example.com', 'x-other': toks[n%MANY].latin1Slice() }],
  seen: () => ['/', { host:'a.example.com', cookie: toks[0].latin1Slice() }],
  new: (n) => ['/', { host:'a.example.com', cookie: toks[n%MANY].latin1Slice() }],
}
const which = process.argv[2].split(','); const N = Number(process.argv[3] ?? 2000), R = Number(process.argv[4] ?? 30)
const res = Object.fromEntries(which.map(k=>[k,[]])); let n=0
for (let r=0;r<R;r++) for (const k of which) { const b=process.cpuUsage(); for (let i=0;i<N;i++){ await dispatch(...kinds[k](n++)); if(i%4===3) await turn() } const u=process.cpuUsage(b); if(r>3) res[k].push((u.user+u.system)/N) }
for (const k of which) { const s=res[k].sort((a,b)=>a-b); console.log(k.padEnd(10), s[0].toFixed(2), s[s.length>>2].toFixed(2), s[s.length>>1].toFixed(2)) }
await app.close()
