// Privacy: who sees the profile. What is kept for features to come (presence, search, messages) is not offered yet.
import { h } from './dom.js';
import { selectField } from './field.js';
import { form } from './form.js';
import { Edited, loaded, panel } from './section.js';

export default function build() {
  const kept = new Edited('/users/me/privacy');
  const { place } = loaded(() => kept.read(), () => panel('Privacy', 'Who may see more of you than your name and picture, which are always public.', settings(kept)));
  return [place];
}

function settings(kept) {
  // nobody can be followed yet: who chose followers by another way keeps it
  const followers = kept.data.profile === 'followers' && ['followers', 'Your followers (nobody yet)'];
  const profile = selectField('profile', 'Who sees your profile', [['public', 'Everybody'], followers, ['private', 'Nobody']].filter(Boolean));
  const fill = (data) => { profile.value = data.profile; };
  const write = () => {
    const { version: _, ...others } = kept.data; // what is not shown stays as it is
    return kept.write('PUT', { ...others, profile: profile.value });
  };
  const made = form({
    label: 'Privacy', fields: { profile }, said: 'Saved.',
    rows: [h('div', { class: 'columns' }, profile.row)],
    send: write,
    conflict: { again: async () => { await kept.read(); return write(); }, reload: async () => fill(await kept.read()) },
    done: fill,
  });
  fill(kept.data);
  return made.element;
}
