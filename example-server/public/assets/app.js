/** The page: text goes into the document as text only, so any name of a project stays a name. */
import { connect, Refusal } from './api.js'

const { call, signOut } = connect(showSignedOut)

const byId = (id) => document.getElementById(id)
const [statusLine, errorBox, visitor, member, account] = ['status', 'error', 'visitor', 'member', 'account'].map(byId)
const filter = byId('filter')

function say (text) {
  errorBox.hidden = true
  statusLine.textContent = text
}

function showError (error) {
  const refusal = error instanceof Refusal ? error : new Refusal({ detail: 'This page has failed. Reload it.' })
  statusLine.textContent = ''
  errorBox.querySelector('p').textContent = refusal.retryAfter === undefined
    ? refusal.message
    : `${refusal.message} (${waitOf(refusal.retryAfter)})`
  errorBox.querySelector('ul').replaceChildren(...refusal.errors.map(({ path, message }) => {
    const item = document.createElement('li')
    item.textContent = `${path.replace(/^body\./, '')}: ${message}`
    return item
  }))
  errorBox.hidden = false
  return refusal
}

function waitOf (seconds) {
  return seconds < 60 ? `in ${seconds} s` : `in ${Math.ceil(seconds / 60)} min`
}

/** Runs what a click or a submit asks for; an error is shown, and without a session the sign-in too. */
async function attempt (control, work) {
  control.disabled = true
  try {
    await work()
  } catch (error) {
    const { code } = showError(error)
    if (code === 'TOKEN_MISSING' || code === 'TOKEN_INVALID') showVisitor()
  } finally {
    control.disabled = false
    // What is disabled loses the focus, and with it users of a keyboard lose their place.
    if (control.isConnected && document.activeElement === document.body) control.focus()
  }
}

/** Takes over a form: its fields go to `work` by their names. */
function onSubmit (id, work) {
  const form = byId(id)
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const fields = Object.fromEntries(new FormData(form))
    void attempt(event.submitter ?? form.querySelector('button'), async () => {
      await work(fields)
      form.reset()
    })
  })
}

function showVisitor () {
  member.hidden = true
  account.hidden = true
  visitor.hidden = false
  // Nothing of one person stays in the document for the next.
  byId('who').textContent = ''
  byId('projects').replaceChildren()
  byId('sessions').replaceChildren()
}

/** The session has ended, in this tab or in another one. */
function showSignedOut (code) {
  showVisitor()
  say(code === 'SIGNED_OUT' ? 'You are signed out.' : 'Your session has ended. Sign in again.')
  byId('sign-in-title').focus()
}

async function showMember () {
  const { fullName } = await call('GET', '/me')
  byId('who').textContent = fullName
  visitor.hidden = true
  account.hidden = false
  member.hidden = false
  await Promise.all([listProjects(), listSessions()])
}

async function signIn ({ email, password }) {
  await call('POST', '/auth/login', { email, password })
  await showMember()
  byId('projects-title').focus()
  say('You are signed in.')
}

async function listProjects () {
  const query = new URLSearchParams({ limit: '100', ...(filter.value !== '' && { status: filter.value }) })
  const projects = await call('GET', `/projects?${query}`)
  byId('projects').replaceChildren(...projects.map(itemOf))
  byId('none').hidden = projects.length > 0
}

function itemOf ({ id, name, description, status: initial }) {
  const item = byId('project').content.cloneNode(true).firstElementChild
  item.querySelector('h3').textContent = name
  item.querySelector('.description').textContent = description ?? ''
  const select = item.querySelector('select')
  let status = initial
  select.value = status
  select.addEventListener('change', () => attempt(select, async () => {
    try {
      await call('PATCH', `/projects/${id}`, { status: select.value })
    } catch (error) {
      select.value = status
      throw error
    }
    status = select.value
    if (filter.value !== '') await listProjects()
    say(`${name} is ${select.value} now.`)
  }))
  const remove = item.querySelector('button')
  remove.setAttribute('aria-label', `Delete ${name}`)
  remove.addEventListener('click', () => {
    if (!confirm(`Delete ${name}?`)) return
    void attempt(remove, async () => {
      await call('DELETE', `/projects/${id}`)
      await listProjects()
      byId('projects-title').focus()
      say(`${name} is deleted.`)
    })
  })
  return item
}

async function listSessions () {
  const { sessions } = await call('GET', '/auth/sessions')
  byId('sessions').replaceChildren(...sessions.map(sessionItemOf))
  byId('end-others').hidden = sessions.length < 2
}

function sessionItemOf ({ id, current, createdAt, refreshedAt, device }) {
  const item = byId('session').content.cloneNode(true).firstElementChild
  const name = deviceName(device)
  item.querySelector('h3').textContent = name
  showTime(item.querySelector('.created'), createdAt)
  showTime(item.querySelector('.used'), refreshedAt)
  item.querySelector('strong').hidden = !current
  const end = item.querySelector('button')
  end.hidden = current
  end.setAttribute('aria-label', `Sign out ${name}`)
  end.addEventListener('click', () => attempt(end, async () => {
    await call('DELETE', `/auth/sessions/${id}`)
    await listSessions()
    byId('sessions-title').focus()
    say(`${name} is signed out.`)
  }))
  return item
}

function showTime (element, time) {
  element.dateTime = time
  element.textContent = new Date(time).toLocaleString()
}

/** In the order in which they pose as each other. */
const BROWSERS = [['Edg', 'Edge'], ['OPR', 'Opera'], ['Firefox', 'Firefox'], ['Chrome', 'Chrome'], ['Safari', 'Safari']]
const SYSTEMS = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac', 'Linux']

/** A browser by its User-Agent; what is none stays what it says. */
function deviceName (device) {
  const browser = BROWSERS.find(([token]) => device.includes(`${token}/`))
  const system = SYSTEMS.find((each) => device.includes(each))
  if (browser === undefined) return device === '' ? 'A device without a name' : device
  return system === undefined ? browser[1] : `${browser[1]} on ${system}`
}

onSubmit('sign-in', signIn)

onSubmit('sign-up', async ({ fullName, email, password }) => {
  await call('POST', '/auth/register', { fullName, email, password })
  await signIn({ email, password })
})

onSubmit('add', async ({ name, description, status }) => {
  // A text area ends its lines with CR LF.
  const text = description.replaceAll('\r\n', '\n')
  await call('POST', '/projects', { name, status, ...(text !== '' && { description: text }) })
  await listProjects()
  say(`${name} is added.`)
})

onSubmit('forgot', async ({ email }) => {
  await call('POST', '/auth/forgot-password', { email })
  // The server says no more: it does not tell who has an account here.
  say('If there is an account with this address, a link is on its way to it.')
})

onSubmit('change', async ({ current, password }) => {
  await call('POST', '/me/password', { current, password })
  await listSessions()
  say('Your password has changed. All other sessions have ended.')
})

/** A link from an e-mail. Its token leaves the address bar at once, and with it the history. */
function readResetToken () {
  const token = /^#reset=([\w-]{43})$/.exec(location.hash)?.[1]
  if (token !== undefined) history.replaceState(null, '', location.pathname)
  return token
}

function offerReset (token) {
  byId('recovery').hidden = false
  byId('recovery-title').focus()
  onSubmit('reset', async ({ password }) => {
    await call('POST', '/auth/reset-password', { token, password })
    byId('recovery').hidden = true
    showVisitor()
    byId('sign-in-title').focus()
    say('Your password has changed. Sign in with it.')
  })
}

onSubmit('sign-out', () => signOut())

const [endOthers, endAll] = [byId('end-others'), byId('end-all')]
endOthers.addEventListener('click', () => attempt(endOthers, async () => {
  await call('DELETE', '/auth/sessions')
  await listSessions()
  byId('sessions-title').focus()
  say('All the others are signed out.')
}))
endAll.addEventListener('click', () => attempt(endAll, () => signOut('DELETE', '/auth/sessions?all=true')))

filter.addEventListener('change', () => attempt(filter, listProjects))

const resetToken = readResetToken()
if (resetToken !== undefined) offerReset(resetToken)

// Cookies are out of reach for scripts, so only the server knows whether somebody is signed in.
try {
  await showMember()
} catch (error) {
  showVisitor()
  if (!(error instanceof Refusal) || error.code !== 'TOKEN_MISSING') showError(error)
}
