/**
 * The merge rules of the whole suite; docs/per-route.md is their table. From the suite's options to a scope to a route:
 *
 * - an absent or `undefined` key keeps the base;
 * - `false` turns the thing off;
 * - an object replaces the leaf keys it names and keeps the others (`replaceLeaves`);
 * - a list or any other value replaces the base's value as a whole;
 * - CSP directives are replaced by name, `false` drops one, `extend` adds sources to it (`mergeDirectives`);
 * - rate-limit names are added to the scope's; `{ only: [...] }` replaces them (`mergeNames`).
 *
 * Every function returns a new value and changes neither argument.
 */

/** Replaces the keys that `input` names with a value other than undefined. */
export function replaceLeaves<T extends object> (base: T, input: { readonly [K in keyof T]?: T[K] | undefined }): T {
  const merged = { ...base }
  for (const key of Object.keys(input) as (keyof T)[]) {
    const value = input[key]
    if (value !== undefined) merged[key] = value
  }
  return merged
}

export type Directives = Readonly<Record<string, readonly string[]>>

/**
 * CSP directives by name: `replace` sets one or drops it (`false`), `extend` adds sources to what then stands.
 * `'none'` gives way when a source is added, because CSP ignores it beside others (CSP3, section 6.7.2).
 */
export function mergeDirectives (
  base: Directives,
  replace: Readonly<Record<string, readonly string[] | false>>,
  extend: Readonly<Record<string, readonly string[]>>,
): Directives {
  const merged: Record<string, readonly string[]> = { ...base }
  for (const [name, sources] of Object.entries(replace)) {
    if (sources === false) Reflect.deleteProperty(merged, name)
    else merged[name] = sources
  }
  for (const [name, sources] of Object.entries(extend)) {
    const kept = (merged[name] ?? []).filter((source) => source !== "'none'" || sources.length === 0)
    merged[name] = [...new Set([...kept, ...sources])]
  }
  return merged
}

/** Names are added to the scope's, each once, in order; `{ only }` replaces them; `false` empties the list. */
export function mergeNames (
  base: readonly string[],
  input: readonly string[] | { readonly only: readonly string[] } | false,
): readonly string[] {
  if (input === false) return []
  return [...new Set('only' in input ? input.only : [...base, ...input])]
}
