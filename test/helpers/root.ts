import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's folder: the compiled tests stand in `dist/test/helpers`. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
