import type { Test } from 'tap'

/** Sets environment variables for one test (undefined removes one) and puts back what was there. */
export function setEnv (t: Test, values: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(values)) {
    const before = process.env[name]
    if (value === undefined) Reflect.deleteProperty(process.env, name)
    else process.env[name] = value
    t.teardown(() => {
      if (before === undefined) Reflect.deleteProperty(process.env, name)
      else process.env[name] = before
    })
  }
}
