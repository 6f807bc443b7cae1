export { whileConnected } from './lib/passwords/connection.js'
export { createPasswords } from './lib/passwords/passwords.js'
export type { HashOptions, Passwords, VerifyOptions } from './lib/passwords/passwords.js'
export type { PasswordsOptions } from './lib/passwords/options.js'
