// The password: another one, a first one, or none.
import { api } from './api.js';
import { confirm, h, toast } from './dom.js';
import { passwordField } from './field.js';
import { form } from './form.js';
import { action, panel } from './section.js';

export function passwordPanel(me, factors, { again }) {
  const has = factors.password;
  const present = has ? passwordField('current_password', 'Present password', 'current-password') : null;
  const next = passwordField('password', 'New password', 'new-password', 'At least 10 characters; a sentence is good.');
  const fields = { ...(present ? { current_password: present } : {}), password: next };
  // what keeps passwords wants to know whose it is
  const name = h('input', { type: 'text', name: 'username', autocomplete: 'username', value: me.username, class: 'visually-hidden', tabindex: '-1', 'aria-hidden': 'true', readonly: true });
  const made = form({
    label: 'Password', fields, rows: [name, ...Object.values(fields).map((one) => one.row)], submit: has ? 'Change password' : 'Set a password', kind: '',
    check: () => [
      ...(present ? [['current_password', present.value ? '' : 'Fill this in.']] : []),
      ['password', next.value.length < 10 ? 'Ten characters at least.' : ''],
    ],
    at: { wrong_password: ['current_password', 'This is not your password.'] },
    send: () => api('POST', '/auth/change-password', { ...(present ? { current_password: present.value } : {}), password: next.value }),
    done: () => { for (const one of Object.values(fields)) one.value = ''; toast(has ? 'The password is changed. All other sessions have ended.' : 'The password is set.'); again(); },
  });
  const none = action('Remove the password', async () => {
    if (!await confirm('Sign in without a password?', 'From then on your passkeys, or your accounts elsewhere, are the only way in. A mail can set a new password at any time.', 'Remove it')) return;
    await api('DELETE', '/auth/password');
    toast('The password is gone.');
    again();
  }, { kind: 'danger' });
  return panel('Password', has ? 'Changing it ends all other sessions.' : 'This account has no password. It is opened by passkeys or from elsewhere.',
    has ? h('details', { class: 'more' }, h('summary', {}, 'Change the password'), made.element) : made.element,
    has && factors.passkeys.length > 0 && h('div', { class: 'row' }, none.button), none.trouble);
}
