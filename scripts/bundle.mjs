// Bundles what the package exports: `node scripts/bundle.mjs`. A service that starts loads thirty files instead of two
// hundred, which takes a third of the time of importing the suite away; packages stay outside, so that an app shares
// them with it. The source maps beside the bundle let a stack trace name the files of the repository.
import { build } from 'esbuild'
import { readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const BUNDLED = './dist/bundle/'

const { exports, bin, engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

/** The entries of the package that stand in the bundle, as paths without an ending: `plugins/cors`. */
export const PUBLISHED = [...Object.values(exports).map((entry) => entry.default ?? ''), ...Object.values(bin)]
  .filter((file) => file.startsWith(BUNDLED))
  .map((file) => file.slice(BUNDLED.length).replace(/\.js$/, ''))

/** @param entries paths of TypeScript files without their ending; each becomes one file of the same path in `folder` */
export async function bundle (entries, folder) {
  await build({
    absWorkingDir: ROOT,
    entryPoints: entries.map((path) => ({ in: `${path}.ts`, out: path })),
    outdir: folder,
    bundle: true,
    // One module stays one module, for all entries: they share symbols, classes and memories.
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    sourcemap: true,
    format: 'esm',
    platform: 'node',
    target: `node${/[\d.]+/.exec(engines.node)[0]}`,
    packages: 'external',
    logLevel: 'warning',
  })
}

/** One file as browsers load it: imports stay imports. */
export async function compileForBrowsers (path, folder) {
  await build({
    absWorkingDir: ROOT,
    entryPoints: [{ in: `${path}.ts`, out: path }],
    outdir: folder,
    format: 'esm',
    target: 'es2022',
  })
}

if (process.argv[1] === import.meta.filename) {
  const folder = join(ROOT, BUNDLED)
  const half = join(ROOT, 'dist', `bundle.${process.pid}`)
  await bundle(PUBLISHED, half)
  rmSync(folder, { recursive: true, force: true })
  renameSync(half, folder)
}
