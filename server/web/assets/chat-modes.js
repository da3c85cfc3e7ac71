// The dialog in which the staff changes how the chat is restricted. Loaded when it is first opened.
import { api } from './api.js';
import { h } from './dom.js';
import { checkField, selectField } from './field.js';
import { form } from './form.js';
import { dialog } from './chat-menu.js';
import { minutes, spell } from './chat-mode.js';

const SLOW = [0, 3, 5, 10, 30, 60, 120, 300, 900];
const FOLLOWERS = ['', 0, 10, 60, 1440, 10_080, 43_200];
const DELAY = [0, 2, 5, 10, 20, 30];

/** values with the one that holds among them, so that opening and saving changes nothing. */
const withOne = (values, one) => (values.includes(one) ? values : [...values, one].sort((a, b) => a - b));

export function modeDialog(room) {
  const { mode } = room;
  return dialog('How this chat works', (close) => {
    const fields = {
      slow: selectField('slow', 'Slow mode', withOne(SLOW, mode.slow).map((one) => [one, one ? `One message each ${spell(one)}` : 'Off'])),
      followers: selectField('followers', 'Followers only', withOne(FOLLOWERS, mode.followers ?? '').map((one) => [one, one === '' ? 'Off' : one ? `Who has followed for ${minutes(one)}` : 'All followers'])),
      delay: selectField('delay', 'Delay', withOne(DELAY, mode.delay).map((one) => [one, one ? `Others see messages after ${spell(one)}` : 'Off']), 'Time for moderators to delete before anybody sees it.'),
      subscribers: checkField('subscribers', 'Subscribers only', 'Nobody can subscribe here yet.'),
      emotes: checkField('emotes', 'Emotes only', 'Nothing but emotes and emoji.'),
      unique: checkField('unique', 'No repeats', 'Nothing that was said in the last minutes.'),
    };
    fields.slow.value = mode.slow;
    fields.followers.value = mode.followers ?? '';
    fields.delay.value = mode.delay;
    for (const one of ['subscribers', 'emotes', 'unique']) fields[one].value = mode[one];
    const made = form({
      fields, label: 'Modes', submit: 'Apply',
      send: () => api('PATCH', `${room.path}/mode`, {
        slow: Number(fields.slow.value), followers: fields.followers.value === '' ? null : Number(fields.followers.value), delay: Number(fields.delay.value),
        subscribers: fields.subscribers.value, emotes: fields.emotes.value, unique: fields.unique.value,
      }),
      done: close,
    });
    return [h('p', { class: 'muted' }, 'Those who moderate are exempt from all of it.'), made.element];
  });
}
