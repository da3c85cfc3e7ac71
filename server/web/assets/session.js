// Who is signed in, in every window of this profile at once.
//
// The access token (minutes) lives in memory only. The refresh token is in localStorage: a refresh token rotates with
// each use, so windows must share it, and a copy that was used twice is refused by the server. What could read it
// there is script of ours alone: the pages' content policy lets no other run. One window renews at a time and tells
// the others the new access token, so many windows cost one refresh.
import { exclusively } from './exclusive.js';

const KEY = 'sf.session';
const EARLY = 60_000;
const channel = 'BroadcastChannel' in window ? new BroadcastChannel('sf.session') : null;
const listeners = new Set();
let memory = null; // what localStorage holds when storage is forbidden
let access = null; // {token, until, refresh}
let renewing = null;

function stored() {
  try { return JSON.parse(localStorage.getItem(KEY)) ?? memory; } catch { return memory; }
}

function store(value) {
  memory = value;
  try {
    if (value) localStorage.setItem(KEY, JSON.stringify(value));
    else localStorage.removeItem(KEY);
  } catch { /* private mode: the session lasts as long as this window */ }
}

export const user = () => stored()?.user ?? null;
export function onChange(listener) { listeners.add(listener); return () => listeners.delete(listener); }
const changed = () => listeners.forEach((listener) => listener(user()));

/** A token that is good for a minute at least, or null for a guest. `not`: one that the server just refused. */
export async function token({ not = null } = {}) {
  if (!stored()) return null;
  if (access && access.token !== not && access.until - EARLY > Date.now()) return access.token;
  renewing ??= exclusively('sf.refresh', () => renew(not)).finally(() => { renewing = null; });
  return renewing;
}

async function renew(not) {
  // another window may have renewed while this one waited for its turn
  if (access && access.token !== not && access.until - EARLY > Date.now()) return access.token;
  const session = stored();
  if (!session) return null;
  let response;
  try {
    response = await fetch('/api/v1/auth/refresh', {
      method: 'POST', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ refresh_token: session.refresh_token }), credentials: 'same-origin',
    });
  } catch {
    return null; // no network says nothing about the session
  }
  if (response.ok) return keep(await response.json(), false).token;
  // 4xx other than "too often" is the server's word that this session is over
  if (response.status >= 400 && response.status < 500 && response.status !== 429) forget();
  return null;
}

function keep(answer, announce) {
  const before = user();
  const same = !answer.user || before?.id === answer.user.id;
  store({ refresh_token: answer.refresh_token, user: { ...(same ? before : {}), ...answer.user } });
  access = { token: answer.access_token, until: Date.now() + answer.expires_in * 1000 };
  channel?.postMessage({ access });
  if (announce) changed();
  return access;
}

/** After register or login: the answer of the API becomes the session of this profile. */
export function begin(answer) { keep(answer, true); }

/** After a step-up: an access token that says that who is there was shown. */
export function proven({ access_token: made, expires_in: seconds }) {
  if (!stored()) return;
  access = { token: made, until: Date.now() + seconds * 1000 };
  channel?.postMessage({ access });
}

/** What is shown of the account has changed: its name, its picture. */
export function know(changes) {
  const session = stored();
  if (!session) return;
  store({ ...session, user: { ...session.user, ...changes } });
  changed();
}

export function forget() {
  if (!stored() && !access) return;
  store(null);
  access = null;
  channel?.postMessage({ access: null });
  changed();
}

export async function leave() {
  const session = stored();
  forget();
  if (session) {
    await fetch('/api/v1/auth/logout', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, keepalive: true,
      body: JSON.stringify({ refresh_token: session.refresh_token }),
    }).catch(() => {});
  }
}

channel?.addEventListener('message', ({ data }) => { access = data.access; });
addEventListener('storage', ({ key, oldValue, newValue }) => {
  if (key !== KEY) return;
  if (!newValue) access = null;
  if (!oldValue !== !newValue) changed();
});
