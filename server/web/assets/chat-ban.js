// Keeping somebody from writing: for how long, why, and what goes with it.
import { api } from './api.js';
import { h, toast } from './dom.js';
import { checkField, field, selectField } from './field.js';
import { form } from './form.js';
import { dialog } from './chat-menu.js';

const TIMES = [['60', 'For one minute'], ['600', 'For 10 minutes'], ['3600', 'For an hour'], ['86400', 'For a day'], ['604800', 'For a week'], ['ban', 'For good'], ['shadow', 'Without telling them: others do not see what they write']];

/** author: {id, username}. chosen: which time stands there first. */
export function banDialog(room, author, chosen = '600') {
  return dialog(chosen === 'ban' ? `Ban ${author.username}?` : `Time out ${author.username}?`, (close) => {
    const time = selectField('seconds', 'How long', TIMES, 'In all chats of this channel.');
    const reason = field('reason', 'Reason', { maxlength: 200, autocomplete: 'off' }, 'Read by this person and by those who moderate.');
    const clear = checkField('clear', 'Delete what they wrote lately');
    time.value = chosen;
    const made = form({
      fields: { seconds: time, reason, clear }, label: 'Ban', submit: 'Do it', kind: 'danger', at: { bad_ban: 'seconds' },
      send: () => api('PUT', `${room.path}/bans/${author.id}`, {
        ...(Number(time.value) ? { kind: 'timeout', seconds: Number(time.value) } : { kind: time.value }), reason: reason.value.trim(), clear: clear.value,
      }),
      done: () => { close(); toast(time.value === 'shadow' ? `Others do not see ${author.username} any more.` : `${author.username} may not write any more${time.value === 'ban' ? '' : ' for a while'}.`); },
      foot: [h('button', { class: 'button', type: 'button', onclick: close }, 'Leave it')],
    });
    return [made.element];
  });
}

/** One click, for what cannot wait. */
export async function timeOut(room, author, seconds) {
  await api('PUT', `${room.path}/bans/${author.id}`, { kind: 'timeout', seconds, reason: '', clear: false });
  toast(`${author.username} may not write for ${seconds / 60} minutes.`);
}

export async function lift(room, id, name) {
  await api('DELETE', `${room.path}/bans/${id}`);
  toast(`${name} may write again.`);
}
