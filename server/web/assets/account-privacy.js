// Privacy: who may see and reach you.
import { h } from './dom.js';
import { checkField, selectField } from './field.js';
import { form } from './form.js';
import { Edited, loaded, panel } from './section.js';

export default function build() {
  const kept = new Edited('/users/me/privacy');
  const { place } = loaded(() => kept.read(), () => panel('Privacy', 'Who may see and reach you. Your name and picture are always public.', settings(kept)));
  return [place];
}

function settings(kept) {
  const fields = {
    profile: selectField('profile', 'Who sees your profile', [['public', 'Everybody'], ['followers', 'Your followers'], ['private', 'Nobody']]),
    messages_from: selectField('messages_from', 'Who may write to you', [['everyone', 'Everybody'], ['followers', 'Your followers'], ['nobody', 'Nobody']]),
    show_online: checkField('show_online', 'Show when you are here', 'Others see that you are online.'),
    searchable: checkField('searchable', 'Let others find you', 'Searches and suggestions show your account.'),
  };
  const fill = (data) => { for (const [name, one] of Object.entries(fields)) one.value = data[name]; };
  const body = () => Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, one.value]));
  const made = form({
    label: 'Privacy', fields, said: 'Saved.',
    rows: [h('div', { class: 'columns' }, fields.profile.row, fields.messages_from.row), h('div', { class: 'options' }, fields.show_online.row, fields.searchable.row)],
    send: () => kept.write('PUT', body()),
    conflict: { again: () => kept.over('PUT', body()), reload: async () => fill(await kept.read()) },
    done: fill,
  });
  fill(kept.data);
  return made.element;
}
