import noPrivateModules from './scripts/eslint/no-private-modules.js'
import noSqlConcat from './scripts/eslint/no-sql-concat.js'
import { NOT_YET } from './scripts/eslint/not-yet.js'
import plainEnglish from './scripts/eslint/plain-english.js'
import tseslint from 'typescript-eslint'

export default tseslint.config(
  { ignores: ['dist/', '**/node_modules/', '.tap/'] },
  {
    files: ['**/*.ts', '**/*.mjs', '**/*.js'],
    plugins: { house: { rules: { 'plain-english': plainEnglish, 'no-private-modules': noPrivateModules } } },
    rules: { 'house/no-private-modules': 'error' },
  },
  {
    files: ['**/*.ts', '**/*.mjs', '**/*.js'],
    ignores: NOT_YET,
    rules: {
      'house/plain-english': 'error',
      'max-len': ['error', { code: 120, ignoreUrls: true, ignoreRegExpLiterals: true }],
    },
  },
  ...tseslint.configs.strictTypeChecked.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/ban-ts-comment': ['error', {
        'ts-ignore': true,
        'ts-nocheck': true,
        'ts-expect-error': 'allow-with-description',
      }],
      // An augmentation must repeat every type parameter of the interface, used or not.
      '@typescript-eslint/no-unused-vars': ['error', {
        argsIgnorePattern: '^_',
        varsIgnorePattern:
          '^(S|Raw(Server|Request|Reply)|RouteGeneric|ContextConfig|SchemaCompiler|Logger|TypeProvider)$',
      }],
      // Augmented interfaces start empty: each plugin adds its own key.
      '@typescript-eslint/no-empty-object-type': ['error', { allowInterfaces: 'always' }],
      '@typescript-eslint/no-generated-empty-object-type': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // Fastify hooks and plugins are async by contract also where they need not wait.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      'no-console': 'error',
      eqeqeq: 'error',
      curly: ['error', 'multi-line'],
    },
  },
  {
    // Where there is a database.
    files: ['example-server/**/*.ts', 'test/example-server/**/*.ts'],
    plugins: { local: { rules: { 'no-sql-concat': noSqlConcat } } },
    rules: {
      // The script of migrations.ts is the one statement that is put together, of constants.
      'local/no-sql-concat': ['error', { imported: ['LOCKED_SCHEMA'] }],
    },
  },
  {
    // Plain browser code, which no compiler sees: a name that is not listed here does not exist.
    files: ['example-server/public/**/*.js'],
    languageOptions: {
      globals: Object.fromEntries(
        ['confirm', 'document', 'fetch', 'FormData', 'history', 'location', 'URLSearchParams'].map((
          name,
        ) => [name, 'readonly']),
      ),
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'no-undef': 'error',
      'no-unused-vars': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-new-func': 'error',
      'no-script-url': 'error',
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // tap's assertions return promises only for asynchronous subjects.
      '@typescript-eslint/no-floating-promises': 'off',
      // Type assertions are made of exactly these.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      '@typescript-eslint/no-meaningless-void-operator': 'off',
    },
  },
)
