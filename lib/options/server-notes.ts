/**
 * What stands for a server from its constructor options on: its id generator, the one option that an instance shows
 * again. Each server that `serverOptions()` makes options for has one of its own. Null for what has none.
 */
function markOf (optionsOrApp: object): object | null {
  // Fastify has this getter, its types do not.
  const { genReqId } = optionsOrApp as { readonly genReqId?: unknown }
  return typeof genReqId === 'function' ? genReqId : null
}

/** What is known of servers by their mark. */
export class ServerNotes<Note> {
  readonly #notes = new WeakMap<object, Note>()

  /** @param options of a server's constructor; those without an id generator are not noted */
  set (options: object, note: Note): void {
    const mark = markOf(options)
    if (mark !== null) this.#notes.set(mark, note)
  }

  get (app: object): Note | undefined {
    const mark = markOf(app)
    return mark === null ? undefined : this.#notes.get(mark)
  }
}
