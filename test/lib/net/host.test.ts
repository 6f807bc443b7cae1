import { test } from 'tap'
import { hostName, isLoopbackName } from '../../../lib/net/host.js'

test('reads the name out of a Host header', async (t) => {
  const table: [string, string][] = [
    ['api.example.com', 'api.example.com'],
    ['API.Example.com:8080', 'api.example.com'],
    ['api.example.com.', 'api.example.com'],
    ['127.0.0.1:3000', '127.0.0.1'],
    ['[::1]:3000', '[::1]'],
    ['[::1]', '[::1]'],
    ['', ''],
    ['api.example.com@evil.example', 'api.example.com@evil.example'],
    ['evil.example#api.example.com', 'evil.example#api.example.com'],
  ]
  for (const [header, name] of table) t.equal(hostName(header), name, header)
})

test('knows the names that only this machine answers to', async (t) => {
  for (const name of ['localhost', 'app.localhost', '127.0.0.1', '[::1]']) t.equal(isLoopbackName(name), true, name)
  for (const name of ['localhost.evil.example', 'notlocalhost', '127.0.0.1.evil.example', '10.0.0.1', '']) {
    t.equal(isLoopbackName(name), false, name)
  }
})
