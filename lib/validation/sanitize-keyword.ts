import { _, type Ajv, type KeywordCxt, type ValidateFunction } from 'ajv'
import type { Finding } from './messages.js'
import { isTouched, loadClean, type SanitizeMode } from './sanitize.js'
import { faultOf, isMode } from './sanitize-rules.js'

/** A place in the data where a schema that holds asks for cleaning. */
interface Place {
  readonly parent: object
  readonly key: string | number
  readonly mode: SanitizeMode
  readonly path: string
}

/** What stands in for a validate function: it also cleans what it found valid. */
export interface CleaningValidator {
  (data: unknown): boolean
  errors: readonly Finding[] | null
}

/**
 * What one request part may cost: each value that has markup in it counts its characters and `VALUE_COST`, so that
 * neither long values nor thousands of short ones keep the process busy.
 */
const PART_COST = 120_000
const VALUE_COST = 200

/** Cleaning can make another branch of a union hold, which may ask for other cleaning. */
const MAX_PASSES = 3

/** `isAsked`: whether any schema of this Ajv has the keyword. */
interface Meeting { readonly places: Place[], isAsked: boolean }

/** The places that the running validation has met, by Ajv. Validation is synchronous, so there is one at a time. */
const MET = new WeakMap<Ajv, Meeting>()

/**
 * Adds the keyword `sanitize`. It changes nothing while a value is judged: it notes where it stood, and what a branch
 * of a union noted is forgotten when the branch does not hold.
 */
export function addSanitize (ajv: Ajv): void {
  const places: Place[] = []
  const meeting: Meeting = { places, isAsked: false }
  // All findings are collected only of what was refused already.
  const isNoted = ajv.opts.allErrors !== true
  if (isNoted) MET.set(ajv, meeting)
  ajv.addKeyword({
    keyword: 'sanitize',
    type: 'string',
    errors: false,
    compile (mode: unknown, schema: Readonly<Record<string, unknown>>) {
      if (!isNoted) return () => true
      meeting.isAsked = true
      const fault = faultOf(schema)
      return function note (_value: string, at) {
        // The boot check names the route and the field; what it cannot see (validateInput) must not pass unclean
        // either.
        if (fault !== null || !isMode(mode) || at === undefined) {
          throw new TypeError(`the keyword sanitize: ${fault?.message ?? ''} ${fault?.fix ?? ''}`)
        }
        const parent: unknown = at.parentData
        if (typeof parent !== 'object' || parent === null) {
          throw new TypeError('the keyword sanitize stands on a whole request part: put it on a field')
        }
        places.push({ parent, key: at.parentDataProperty, mode, path: at.instancePath })
        return true
      }
    },
  })
  if (isNoted) for (const keyword of ['anyOf', 'oneOf']) forgetFailedBranches(ajv, keyword, places)
}

function forgetFailedBranches (ajv: Ajv, keyword: string, places: Place[]): void {
  const definition = ajv.getKeyword(keyword)
  if (typeof definition !== 'object' || !('code' in definition)) throw new TypeError(`Ajv has no code for ${keyword}`)
  const { code } = definition
  definition.code = function codeOfUnion (cxt: KeywordCxt, type) {
    if (Array.isArray(cxt.schema) && asksForCleaning(cxt.schema)) {
      const { gen } = cxt
      const noted = gen.scopeValue('obj', { ref: places })
      const subschema = cxt.subschema.bind(cxt)
      cxt.subschema = (branch, valid) => {
        const before = gen.const('noted', _`${noted}.length`)
        const context = subschema(branch, valid)
        gen.if(_`!${valid}`, () => gen.assign(_`${noted}.length`, before))
        return context
      }
    }
    code(cxt, type)
  }
}

function asksForCleaning (schema: readonly unknown[]): boolean {
  return /"(?:sanitize|\$ref|\$dynamicRef|\$recursiveRef)":/.test(JSON.stringify(schema))
}

/**
 * `validate`, which then cleans what it found valid, in place, and judges it again: the rules hold for what the handler
 * gets.
 */
export function cleaning (ajv: Ajv, validate: ValidateFunction): CleaningValidator | ValidateFunction {
  const { places, isAsked } = MET.get(ajv) ?? { places: [], isAsked: false }
  // What it refers to was compiled with it, so nothing of it can ask for cleaning later. Most schemas never do, and
  // must not pay.
  if (!isAsked) return validate
  const judge: CleaningValidator = function validateAndClean (data) {
    places.length = 0
    const isValid = validate(data)
    judge.errors = validate.errors ?? null
    return places.length === 0 || !isValid ? isValid : settle(data)
  }
  judge.errors = null
  return judge

  function settle (data: unknown): boolean {
    let asked = places.splice(0)
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      const { refused, isChanged } = cleanAll(asked)
      if (refused !== null) return refuse(refused)
      if (!isChanged) return true
      const isValid = validate(data)
      judge.errors = validate.errors ?? null
      const next = places.splice(0)
      if (!isValid || isSame(asked, next)) return isValid
      asked = next
    }
    return refuse('')
  }

  function refuse (path: string): false {
    judge.errors = [{ keyword: 'sanitize', instancePath: path, schemaPath: '', params: {} }]
    return false
  }
}

/** `refused`: where a value is that is not cleaned, because that would cost too much. */
function cleanAll (places: readonly Place[]): { readonly refused: string | null, readonly isChanged: boolean } {
  const clean = loadClean()
  if (typeof clean === 'string') throw new TypeError(`the keyword sanitize: the package sanitize-html is ${clean}`)
  let cost = 0
  let isChanged = false
  // Where both are asked for, text has the last word.
  for (const wanted of ['basic', 'text'] as const) {
    for (const { parent, key, mode, path } of places) {
      if (mode !== wanted) continue
      const value: unknown = Reflect.get(parent, key)
      if (typeof value !== 'string' || !isTouched(value, mode)) continue
      cost += value.length + VALUE_COST
      const cleaned = cost > PART_COST ? null : clean(value, mode)
      if (cleaned === null) return { refused: path, isChanged }
      if (cleaned === value) continue
      isChanged = true
      // Defined, because assigning `__proto__` would leave the value as it is.
      Object.defineProperty(parent, key, { value: cleaned, enumerable: true, writable: true, configurable: true })
    }
  }
  return { refused: null, isChanged }
}

function isSame (a: readonly Place[], b: readonly Place[]): boolean {
  return a.length === b.length &&
    a.every(({ parent, key, mode }, index) =>
      b[index]?.parent === parent && b[index].key === key && b[index].mode === mode
    )
}
