import type { CompiledPolicy } from './compile.js'

/** Where a step runs. Within a hook, steps run in the order of this table, not in the order of registration. */
export const PIPELINE = {
  onRequest: [
    'headers',
    'transport',
    'cors',
    'limit-address',
    'preflight',
    'authenticate',
    'authorize',
    'csrf',
    'limit-user',
    'method',
    'not-found',
  ],
  preValidation: ['limit-body', 'media-type'],
  onSend: ['limit-settle'],
  /** The final steps: after every hook and handler, of the app's too. */
  writeHead: ['cors-vary', 'headers-final'],
} as const

export type HookName = keyof typeof PIPELINE
export type StepHook = Exclude<HookName, 'writeHead'>
export type OptionalHook = 'preValidation'
export type Phase<H extends HookName = HookName> = typeof PIPELINE[H][number]

/** The compiled policy of the request, set by the suite's first hook; null where no plugin of the suite holds. */
export const kCompiled: unique symbol = Symbol('bulwark.compiled')

declare module 'fastify' {
  /** Undefined on requests of child instances that are older than the decoration. */
  interface FastifyRequest { [kCompiled]: CompiledPolicy | null | undefined }
}
