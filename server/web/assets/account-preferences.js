// Preferences: the theme. The rest that is kept (language, time zone, player, mails) is not offered while nothing acts on it.
import { h } from './dom.js';
import { selectField } from './field.js';
import { form } from './form.js';
import { Edited, loaded, panel } from './section.js';

export default function build() {
  const kept = new Edited('/users/me/preferences');
  const { place } = loaded(() => kept.read(), () => panel('Preferences', 'Mails about your account and its security are always sent.', preferences(kept)));
  return [place];
}

function preferences(kept) {
  const theme = selectField('theme', 'Theme', [['system', 'As the device'], ['light', 'Light'], ['dark', 'Dark']]);
  const fill = (data) => { theme.value = data.theme; };
  const write = () => {
    const { version: _, ...others } = kept.data; // what is not shown stays as it is
    return kept.write('PUT', { ...others, theme: theme.value });
  };
  const made = form({
    label: 'Preferences', fields: { theme }, said: 'Saved.',
    rows: [h('div', { class: 'columns' }, theme.row)],
    send: write,
    conflict: { again: async () => { await kept.read(); return write(); }, reload: async () => fill(await kept.read()) },
    done: (data) => { fill(data); dress(data.theme); },
  });
  fill(kept.data);
  return made.element;
}

/** The theme holds in this browser at once. */
function dress(theme) {
  const root = document.documentElement;
  if (theme === 'system') delete root.dataset.theme; else root.dataset.theme = theme;
  try {
    if (theme === 'system') localStorage.removeItem('sf.theme'); else localStorage.setItem('sf.theme', theme);
  } catch { /* until the page is left */ }
}
