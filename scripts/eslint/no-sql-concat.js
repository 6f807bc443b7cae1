/**
 * Every statement that goes to `.query(` is a constant, so that a value can only travel as a parameter.
 *
 * A constant is a literal, a template without expressions, a choice of two constants, a `const` of the same file that
 * was given one of these, or an imported name that the option `imported` lists. A method named `query` may pass on its
 * own first parameter: its callers are checked as well.
 */

/** @type {import('eslint').Rule.RuleModule} */
const rule = {
  meta: {
    type: 'problem',
    docs: { description: 'Refuse SQL that is put together at run time.' },
    schema: [{
      type: 'object',
      properties: { imported: { type: 'array', items: { type: 'string' } } },
      additionalProperties: false,
    }],
    defaultOptions: [{ imported: [] }],
    messages: {
      dynamic: 'SQL must be a constant: write $1, $2 … and pass the values as parameters.',
      missing: 'A statement is missing here.',
      indirect: 'Call query() itself: through call, apply or bind its statement cannot be checked.',
    },
  },
  create (context) {
    const imported = new Set(context.options[0]?.imported ?? [])
    const { sourceCode } = context

    function findVariable (node) {
      for (let scope = sourceCode.getScope(node); scope !== null; scope = scope.upper) {
        const variable = scope.set.get(node.name)
        if (variable !== undefined) return variable
      }
      return null
    }

    function isConstant (node, seen = new Set()) {
      switch (node.type) {
        case 'Literal':
          return typeof node.value === 'string'
        case 'TemplateLiteral':
          return node.expressions.length === 0
        case 'ConditionalExpression':
          return isConstant(node.consequent, seen) && isConstant(node.alternate, seen)
        case 'TSAsExpression':
        case 'TSSatisfiesExpression':
        case 'TSNonNullExpression':
          return isConstant(node.expression, seen)
        case 'Identifier':
          return isConstantName(node, seen)
        case 'ObjectExpression':
          return isConstantConfig(node, seen)
        default:
          return false
      }
    }

    function isConstantName (node, seen) {
      const variable = findVariable(node)
      const [definition, ...others] = variable?.defs ?? []
      if (definition === undefined || others.length > 0 || seen.has(variable)) return false
      seen.add(variable)
      if (definition.type === 'ImportBinding') return imported.has(node.name)
      if (definition.type === 'Parameter') return isOwnParameter(definition, variable)
      return definition.type === 'Variable' && definition.parent.kind === 'const' &&
        definition.node.id.type === 'Identifier' &&
        definition.node.init != null && definition.node.init.type !== 'ObjectExpression' &&
        isConstant(definition.node.init, seen)
    }

    /** The first parameter of a function named `query`, never written to. */
    function isOwnParameter ({ node }, variable) {
      const [first] = node.params
      const holder = node.parent
      const name = node.id?.name ??
        (holder.type === 'Property' || holder.type === 'MethodDefinition' ? nameOf(holder.key, holder.computed) : null)
      return name === 'query' && first?.type === 'Identifier' && variable.identifiers.includes(first) &&
        variable.references.every((reference) => !reference.isWrite())
    }

    /** `{ text: '…', values: [...] }`, as the driver of Postgres takes it. */
    function isConstantConfig ({ properties }, seen) {
      const texts = properties.filter((property) =>
        property.type === 'Property' && nameOf(property.key, property.computed) === 'text'
      )
      const plain = properties.every((property) =>
        property.type === 'Property' && nameOf(property.key, property.computed) !== null
      )
      return plain && texts.length === 1 && isConstant(texts[0].value, seen)
    }

    function nameOf (key, computed) {
      if (!computed && (key.type === 'Identifier' || key.type === 'PrivateIdentifier')) return key.name
      if (key.type === 'Literal') return String(key.value)
      return computed && key.type === 'TemplateLiteral' && key.expressions.length === 0
        ? key.quasis[0].value.cooked
        : null
    }

    function isQuery (node) {
      if (node.type === 'ChainExpression' || node.type === 'TSNonNullExpression') return isQuery(node.expression)
      if (node.type === 'Identifier') return node.name === 'query'
      return node.type === 'MemberExpression' && nameOf(node.property, node.computed) === 'query'
    }

    return {
      CallExpression (node) {
        const { callee } = node
        if (
          callee.type === 'MemberExpression' &&
          ['call', 'apply', 'bind'].includes(nameOf(callee.property, callee.computed)) && isQuery(callee.object)
        ) {
          context.report({ node, messageId: 'indirect' })
          return
        }
        if (!isQuery(callee)) return
        const [statement] = node.arguments
        if (statement === undefined) context.report({ node, messageId: 'missing' })
        else if (!isConstant(statement)) context.report({ node: statement, messageId: 'dynamic' })
      },
      TaggedTemplateExpression (node) {
        if (isQuery(node.tag)) context.report({ node, messageId: 'dynamic' })
      },
    }
  },
}

export default rule
