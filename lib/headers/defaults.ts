import type { Directives } from '../policy/merge.js'

/** `api`: JSON only, nothing may be loaded or framed. `document`: HTML pages under a strict CSP with nonces. */
export type Profile = 'api' | 'document'

/** Stands for the response's nonce in `script-src` and `style-src`. */
export const NONCE_SOURCE = "'nonce'"

/** Sent over HTTPS only: over plain HTTP it would break every subresource of a development server. */
export const UPGRADE_INSECURE_REQUESTS = 'upgrade-insecure-requests'

/** OWASP ASVS 5.0 V3.4.3 and V3.4.6; `strict-dynamic` needs CSP3, older browsers then run no script at all. */
export const CONTENT_SECURITY_POLICY: Readonly<Record<Profile, Directives>> = Object.freeze({
  api: {
    'default-src': ["'none'"],
    'base-uri': ["'none'"],
    'form-action': ["'none'"],
    'frame-ancestors': ["'none'"],
  },
  document: {
    'default-src': ["'none'"],
    'script-src': [NONCE_SOURCE, "'strict-dynamic'"],
    'style-src': ["'self'", NONCE_SOURCE],
    'img-src': ["'self'", 'data:'],
    'font-src': ["'self'"],
    'connect-src': ["'self'"],
    'manifest-src': ["'self'"],
    'object-src': ["'none'"],
    'base-uri': ["'none'"],
    'form-action': ["'self'"],
    'frame-ancestors': ["'none'"],
    [UPGRADE_INSECURE_REQUESTS]: [],
  },
})

/** The features of OWASP Secure Headers' deny list that browsers know; an unknown name only fills their consoles. */
export const DENIED_FEATURES: readonly string[] = Object.freeze([
  'accelerometer', 'autoplay', 'camera', 'cross-origin-isolated', 'display-capture', 'encrypted-media', 'fullscreen',
  'geolocation', 'gyroscope', 'keyboard-map', 'magnetometer', 'microphone', 'midi', 'payment', 'picture-in-picture',
  'publickey-credentials-get', 'screen-wake-lock', 'sync-xhr', 'usb', 'xr-spatial-tracking', 'clipboard-read',
  'clipboard-write', 'gamepad', 'hid', 'idle-detection', 'serial', 'window-management',
])

/**
 * Two years, as hstspreload.org and guide values ask; `preload` is a decision for the whole domain, so it is opt-in.
 */
export const HSTS_MAX_AGE_SECONDS = 63_072_000
