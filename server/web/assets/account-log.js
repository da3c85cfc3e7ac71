// The security log of the account, newest first.
import { api } from './api.js';
import { h } from './dom.js';
import { day } from './format.js';
import { action, loaded, panel } from './section.js';

const WORDS = {
  'account.registered': 'The account was made', 'account.signed_in': 'Signed in', 'account.sign_in_failed': 'A sign-in failed',
  'account.signed_out': 'Signed out', 'account.locked': 'Too many wrong passwords: sign-ins had to wait', 'session.revoked': 'A session was ended',
  'session.reused': 'A session was ended: its token was used twice', 'email.verified': 'The address was verified', 'email.changed': 'The address was changed',
  'password.changed': 'The password was changed', 'password.reset': 'The password was set anew by mail', 'password.removed': 'The password was removed',
  'totp.enabled': 'An authenticator app was added', 'totp.disabled': 'The authenticator app was removed', 'recovery.used': 'A recovery code was used',
  'recovery.renewed': 'New recovery codes were made', 'passkey.added': 'A passkey was added', 'passkey.removed': 'A passkey was removed',
  'signin.linked': 'A sign-in elsewhere was linked', 'signin.unlinked': 'A sign-in elsewhere was unlinked', 'key.made': 'An API key was made',
  'target.made': 'A target for broadcasts was added', 'target.changed': 'A target for broadcasts was changed', 'target.deleted': 'A target for broadcasts was deleted',
  'key.revoked': 'An API key was deleted', 'export.asked': 'An archive of the data was asked for', 'export.fetched': 'The archive was fetched',
  'deletion.scheduled': 'The account was deleted', 'deletion.cancelled': 'The account was taken back', 'roles.changed': 'The roles were changed',
  'tier.changed': 'The tier was changed', 'profile.changed': 'The profile was changed', 'factor.refused': 'A second factor was refused',
};

export function describe(event) {
  const plain = event.replaceAll(/[._]/g, ' ');
  return WORDS[event] ?? plain[0].toUpperCase() + plain.slice(1);
}

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-/; // of use to programs alone

/** Details as text; nested ones as they are written in JSON. */
export function details(of) {
  return Object.entries(of).filter(([, value]) => value !== null && value !== '' && !ID.test(value) && !(Array.isArray(value) && !value.length))
    .map(([name, value]) => `${name.replaceAll('_', ' ')}: ${Array.isArray(value) ? value.join(', ') : typeof value === 'object' ? JSON.stringify(value) : value}`).join(' · ');
}

/** → {element, load}: the panel, and what reads it again. */
export function logPanel() {
  const list = h('ul', { class: 'rows log' });
  const body = loaded(() => api('GET', '/audit?limit=20'), (first) => {
    list.replaceChildren();
    let cursor;
    const add = (page) => {
      list.append(...page.items.map(line));
      cursor = page.next_cursor;
      more.button.hidden = !cursor;
    };
    const more = action('Show more', async () => add(await api('GET', `/audit?limit=20&cursor=${encodeURIComponent(cursor)}`)));
    add(first);
    return [list, h('div', { class: 'row' }, more.button, h('button', { class: 'button small', type: 'button', onclick: () => body.load({ quietly: true }) }, 'Load anew')), more.trouble];
  });
  return { element: panel('Security log', 'What happened to your account. Lines are never changed.', body.place), load: body.load };
}

function line(one) {
  const from = one.by_other ? 'by the staff' : [one.address, browser(one.user_agent)].filter(Boolean).join(' · ');
  return h('li', {}, h('div', { class: 'log-line' },
    h('time', { datetime: one.at, class: 'muted' }, day(one.at)),
    h('div', { class: 'row-text' }, h('strong', { title: one.event }, describe(one.event)), h('small', { class: 'muted', title: one.user_agent }, [from, details(one.details)].filter(Boolean).join(' · ')))));
}

const BROWSERS = [['Edg/', 'Edge'], ['OPR/', 'Opera'], ['Firefox/', 'Firefox'], ['Chrome/', 'Chrome'], ['Safari/', 'Safari']];
/** The name of a browser in its user agent; else how that begins. */
function browser(agent) {
  return BROWSERS.find(([mark]) => agent.includes(mark))?.[1] ?? agent.slice(0, 40);
}
