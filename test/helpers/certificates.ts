import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificate {
  readonly key: string
  readonly cert: string
  readonly keyFile: string
  readonly certFile: string
}

/** Node can read certificates but makes none. */
function selfSigned (folder: string, file: string, subject: string, args: readonly string[]): Certificate {
  const [keyFile, certFile] = [join(folder, `${file}key.pem`), join(folder, `${file}cert.pem`)]
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', `/CN=${subject}`, ...args, '-keyout', keyFile, '-out', certFile,
  ], { stdio: ['ignore', 'ignore', 'pipe'] })
  return { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8'), keyFile, certFile }
}

/** A self-signed certificate for one host name. */
export function makeCertificate (folder: string, name: string): Certificate {
  return selfSigned(folder, '', name, ['-addext', `subjectAltName=DNS:${name}`])
}

/** An authority of the test's own, to be trusted by whoever shall trust its certificates. */
export function makeAuthority (folder: string): Certificate {
  return selfSigned(folder, 'authority-', 'Test authority', ['-addext', 'keyUsage=critical,keyCertSign'])
}

/** A certificate of the authority for several host names. */
export function issueCertificate (folder: string, authority: Certificate, names: readonly string[]): Certificate {
  return selfSigned(folder, 'issued-', 'Test server', [
    '-CA', authority.certFile, '-CAkey', authority.keyFile, '-addext', 'basicConstraints=critical,CA:FALSE',
    '-addext', 'extendedKeyUsage=serverAuth', '-addext', `subjectAltName=${names.map((name) => `DNS:${name}`).join()}`,
  ])
}

/**
 * Makes a program that keeps its trust in `<home>/.pki/nssdb`, as Chromium on Linux does, trust the authority for
 * servers.
 */
export function trustAuthority (home: string, authority: Certificate): void {
  const folder = join(home, '.pki', 'nssdb')
  mkdirSync(folder, { recursive: true })
  for (const args of [['-N', '--empty-password'], ['-A', '-n', 'test', '-t', 'C,,', '-i', authority.certFile]]) {
    execFileSync('certutil', [...args, '-d', `sql:${folder}`], { stdio: ['ignore', 'ignore', 'pipe'] })
  }
}
