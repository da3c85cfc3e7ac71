// The person's data: an archive to take away, and leaving.
import { sayGoodbye } from './account.js';
import { api } from './api.js';
import { download } from './download.js';
import { h, setText } from './dom.js';
import { checkField, field } from './field.js';
import { form } from './form.js';
import { day } from './format.js';
import { action, panel } from './section.js';
import { forget, user } from './session.js';

const EVERY = 2000;

export default function build() {
  return [exportPanel(), leavePanel()];
}

function exportPanel() {
  const media = checkField('media', 'With the recordings as files', 'It is then as large as they are. Otherwise the archive has their addresses.');
  const state = h('p', { role: 'status' });
  const bar = h('progress', { 'aria-label': 'Progress', hidden: true });
  const ask = action('Ask for an archive', async () => { paint(await api('POST', '/users/me/export', { media: media.value })); }, { kind: 'primary' });
  const fetchIt = action('Download', () => download('GET', '/users/me/export/file', undefined, { onProgress: (share) => { bar.hidden = share === null || share >= 1; bar.value = share ?? 0; bar.max = 1; } }), { kind: 'primary' });
  const element = panel('Your data', 'Everything that is stored about you, in one ZIP file. It is made in the background; a mail with a link comes when it is ready.',
    media.row, state, bar, h('div', { class: 'row' }, ask.button, fetchIt.button), ask.trouble, fetchIt.trouble);
  let timer = 0;

  function paint(view) {
    const working = view.state === 'waiting' || view.state === 'running';
    setText(state, {
      none: '', waiting: 'The archive will be made in a moment.',
      running: `The archive is being made: ${view.done} of ${view.total} parts, ${size(view.bytes)}.`,
      ready: `Ready since ${day(view.ready_at ?? view.asked_at)}: ${size(view.bytes)}, kept until ${view.expires_at ? day(view.expires_at) : 'it is replaced'}.`,
      failed: 'The archive could not be made. Ask for it again.', expired: 'The last archive has been deleted, as its time was over.',
    }[view.state]);
    state.hidden = !state.textContent;
    bar.hidden = !working;
    if (view.total) { bar.max = view.total; bar.value = view.done; } else bar.removeAttribute('value');
    ask.button.hidden = working;
    media.row.hidden = working;
    setText(ask.button, view.state === 'ready' ? 'Make it anew' : 'Ask for an archive');
    ask.button.classList.toggle('primary', view.state !== 'ready');
    fetchIt.button.hidden = view.state !== 'ready';
    clearTimeout(timer);
    if (working) timer = setTimeout(look, EVERY);
  }

  async function look() {
    clearTimeout(timer);
    if (!element.isConnected && timer) return;
    try { paint(await api('GET', '/users/me/export')); } catch (error) {
      if (error.status === 401) return;
      setText(state, error.message);
      state.hidden = false;
      timer = setTimeout(look, 5 * EVERY);
    }
  }
  fetchIt.button.hidden = true;
  look();
  return element;
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const power = Math.min(3, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(power > 1 ? 1 : 0)} ${['', 'kB', 'MB', 'GB'][power]}`;
}

function leavePanel() {
  const name = field('username', 'Type your username, to be sure', { autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', required: true });
  const sent = form({
    label: 'Delete the account', fields: { username: name }, submit: 'Delete my account', kind: 'danger',
    check: () => [['username', name.value.trim().toLowerCase() === user()?.username.toLowerCase() ? '' : `Type ${user()?.username}.`]],
    send: () => api('DELETE', '/users/me'),
    done: ({ due_at: due }) => {
      sayGoodbye(h('h1', {}, 'Your account is deleted'),
        h('p', {}, `You are signed out everywhere, and others see nothing of you any more. On ${day(due)} everything personal is erased for good.`),
        h('p', {}, 'Until then you can take it back: sign in, or follow the link in the mail.'),
        h('a', { class: 'button', href: '/' }, 'See what is live'));
      forget();
    },
  });
  return panel('Delete the account', null,
    h('ul', { class: 'points' },
      h('li', {}, 'You are signed out everywhere, your broadcasts end, and others see nothing of you: profile, recordings, messages.'),
      h('li', {}, 'For some days you can take it back by signing in. Then everything personal is erased, and nobody can bring it back.'),
      h('li', {}, 'Ask for your data first, if you want to keep it.')),
    h('details', { class: 'more' }, h('summary', {}, 'Delete the account'), sent.element));
}
