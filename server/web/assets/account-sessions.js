// Where the account is signed in, and what happened to it.
import { logPanel } from './account-log.js';
import { api } from './api.js';
import { confirm, h, toast } from './dom.js';
import { day } from './format.js';
import { action, loaded, panel } from './section.js';

const METHODS = { pwd: 'password', otp: 'app code', passkey: 'passkey', hwk: 'security key', recovery: 'recovery code' };

export default function build() {
  const log = logPanel();
  const again = () => { body.load({ quietly: true }); log.load({ quietly: true }); };
  const body = loaded(() => api('GET', '/auth/sessions'), ({ items }) => {
    const others = items.filter((one) => !one.current).length;
    const all = action('End all others', async () => {
      if (!await confirm('End all other sessions?', 'Everywhere else you will have to sign in again.', 'End them')) return;
      await api('DELETE', '/auth/sessions');
      toast('All other sessions have ended.');
      again();
    }, { kind: 'danger' });
    return [
      h('ul', { class: 'rows' }, ...[...items].sort((a, b) => b.current - a.current).map((one) => row(one, again))),
      others > 0 && h('div', { class: 'row' }, all.button), all.trouble,
    ];
  });
  return [panel('Sessions', 'Where you are signed in. If you do not know one of them, end it and change your password.', body.place), log.element];
}

function row(session, again) {
  const how = session.methods.map((one) => METHODS[one] ?? (one.startsWith('oidc:') || one.startsWith('oauth:') ? one.split(':')[1] : one)).join(' and ');
  const end = action('End', async () => {
    await api('DELETE', `/auth/sessions/${session.id}`);
    toast('The session has ended.');
    again();
  }, { kind: 'danger', label: `End ${session.device}` });
  return h('li', {}, h('div', { class: 'row-line' },
    h('div', { class: 'row-text' },
      h('span', { class: 'row' }, h('strong', { title: session.user_agent }, session.device || 'Unknown device'), session.current && h('span', { class: 'badge good' }, 'This one')),
      h('small', { class: 'muted' }, `${session.address} · signed in ${day(session.created_at)}${how ? ` by ${how}` : ''}`),
      h('small', { class: 'muted' }, `Last used ${day(session.last_used_at)}`)),
    !session.current && end.button), end.trouble);
}
