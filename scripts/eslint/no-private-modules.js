/** `pkg/dist/…` and the like: a file that its package does not export may be gone with the next release. */

const PRIVATE = /^(?![./]|node:)(@[^/]+\/)?[^/]+\/(build|cjs|dist|esm|lib|src)\//
/** Entries that their packages document. */
const DOCUMENTED = new Set(['ajv/dist/2019.js'])
const LOADERS = new Set(['require', 'load', 'resolve'])

/** @type {import('eslint').Rule.RuleModule} */
const rule = {
  meta: { type: 'problem', docs: { description: 'Refuse imports of files private to a package.' }, schema: [] },
  create (context) {
    function check (source) {
      if (typeof source?.value !== 'string' || !PRIVATE.test(source.value) || DOCUMENTED.has(source.value)) return
      context.report({ node: source, message: 'Import what the package exports: this file is private to it.' })
    }
    const checkSource = ({ source }) => { check(source) }
    return {
      ImportDeclaration: checkSource,
      ImportExpression: checkSource,
      ExportAllDeclaration: checkSource,
      ExportNamedDeclaration: checkSource,
      TSImportType: checkSource,
      CallExpression ({ callee, arguments: [path] }) {
        if (LOADERS.has(callee.name ?? callee.property?.name)) check(path)
      },
    }
  },
}

export default rule
