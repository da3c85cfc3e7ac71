// Preferences: language, time zone, theme, player, mails.
import { h } from './dom.js';
import { checkField, selectField } from './field.js';
import { form } from './form.js';
import { Edited, loaded, panel } from './section.js';

const LOCALES = ['en', 'en-GB', 'de', 'de-AT', 'de-CH', 'es', 'es-MX', 'fr', 'fr-CA', 'it', 'pt-BR', 'pt-PT', 'nl', 'pl', 'cs', 'sv', 'da', 'nb', 'fi', 'tr', 'el', 'uk', 'ru', 'ar', 'he', 'hi', 'id', 'vi', 'th', 'ko', 'ja', 'zh-Hans', 'zh-Hant'];

export default function build() {
  const kept = new Edited('/users/me/preferences');
  const { place } = loaded(() => kept.read(), () => panel('Preferences', 'They hold on every device where you are signed in.', preferences(kept)));
  return [place];
}

function preferences(kept) {
  const own = {
    theme: selectField('theme', 'Theme', [['system', 'As the device'], ['light', 'Light'], ['dark', 'Dark']]),
    locale: selectField('locale', 'Language', named([...LOCALES, kept.data.locale])),
    time_zone: selectField('time_zone', 'Time zone', zones(kept.data.time_zone)),
    autoplay: checkField('autoplay', 'Start playing by itself', 'When you open a broadcast.'),
    captions: checkField('captions', 'Show captions', 'Where there are any.'),
  };
  const emails = {
    live: checkField('live', 'Broadcasts', 'When somebody you follow goes live.'),
    activity: checkField('activity', 'Activity', 'Replies, mentions and messages.'),
    news: checkField('news', 'News', 'What is new in the product.'),
    digest: selectField('digest', 'Summary', [['off', 'None'], ['daily', 'Every day'], ['weekly', 'Every week']]),
  };
  const fill = (data) => {
    for (const [name, one] of Object.entries(own)) one.value = data[name];
    for (const [name, one] of Object.entries(emails)) one.value = data.emails[name];
  };
  const values = (fields) => Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, one.value]));
  const body = () => ({ ...values(own), emails: values(emails) });
  const mails = [emails.live, emails.activity, emails.news].map((one) => one.row);
  const made = form({
    label: 'Preferences', fields: { ...own, ...emails }, said: 'Saved.',
    rows: [
      h('div', { class: 'columns' }, own.theme.row, own.locale.row, own.time_zone.row),
      h('fieldset', { class: 'plain' }, h('legend', {}, 'Player'), h('div', { class: 'options' }, own.autoplay.row, own.captions.row)),
      h('fieldset', { class: 'plain' }, h('legend', {}, 'E-mails'), h('div', { class: 'options' }, ...mails), emails.digest.row,
        h('p', { class: 'hint' }, 'Mails about the security of your account are always sent.')),
    ],
    send: () => kept.write('PUT', body()),
    conflict: { again: () => kept.over('PUT', body()), reload: async () => fill(await kept.read()) },
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

function named(tags) {
  return [...new Set(tags)].map((tag) => {
    try { return [tag, new Intl.DisplayNames([tag], { type: 'language' }).of(tag) ?? tag]; } catch { return [tag, tag]; }
  });
}

function zones(present) {
  let all = [];
  try { all = Intl.supportedValuesOf('timeZone'); } catch { /* an old browser: its own is there all the same */ }
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return [...new Set(['UTC', here, present, ...all])].filter(Boolean).map((zone) => [zone, zone.replaceAll('_', ' ')]);
}
