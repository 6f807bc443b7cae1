/** Words that make a sentence hard to read, and what to write instead. Also held over the README and docs/*.md. */
export const HARD_WORDS = [
  [/\bnobody\b/i, 'name who cannot: "no caller", "only the owner"'],
  [/\bwhoever\b/i, 'name the person or the program'],
  [/\bwhatever\b/i, 'name the thing: "any value", "each"'],
  [/\bwhichever\b/i, 'name the thing: "the first of the two"'],
  [/\bmend(s|ed|ing)?\b/i, 'write "fix"'],
  [/\bdear(er|est)?\b/i, 'write "expensive", or give the figure'],
  [/\btold apart\b/i, 'write "distinguished", or name the key'],
  [/\b(was|were) asked for\b/i, 'write "requested"'],
  [/\bsays? no reason\b/i, 'write "must be a non-empty reason"'],
]

/** @returns a sentence for each hard word of a text */
export function findHardWords (text) {
  return HARD_WORDS.flatMap(([pattern, advice]) => {
    const word = pattern.exec(text)?.[0]
    return word === undefined ? [] : [`"${word}" is hard to read here: ${advice}.`]
  })
}

/** Strings, templates and comments hold none of HARD_WORDS. */
/** @type {import('eslint').Rule.RuleModule} */
const rule = {
  meta: { type: 'suggestion', docs: { description: 'Refuse words that are hard to read.' }, schema: [] },
  create (context) {
    function check (node, text) {
      for (const message of findHardWords(text)) context.report({ node, message })
    }
    return {
      Program () {
        for (const comment of context.sourceCode.getAllComments()) check(comment, comment.value)
      },
      Literal (node) {
        if (typeof node.value === 'string') check(node, node.value)
      },
      TemplateElement (node) { check(node, node.value.raw) },
    }
  },
}

export default rule
