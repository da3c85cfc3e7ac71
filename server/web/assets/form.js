// How every form sends: busy while it does, what went wrong beside its field, and nothing typed is lost.
import { sentence } from './api.js';
import { h, setText } from './dom.js';

/**
 * A form that saves. fields: by the names that the API has for them. check: () → [[name, text], …] of what is wrong
 * before sending. send: async, throws ApiError. at: code of a problem → name, or [name, text]. conflict: {reload,
 * again}, for what was edited elsewhere meanwhile.
 */
export function form({
  fields, rows = Object.values(fields).map((one) => one.row), submit = 'Save', check = () => [], send, done, at = {},
  said = '', label, conflict, foot = [], kind = 'primary',
}) {
  const trouble = h('div', { class: 'notice bad', role: 'alert', hidden: true });
  const button = h('button', { class: `button ${kind}`, type: 'submit' }, submit);
  const saved = h('span', { class: 'saved', role: 'status' });
  const element = h('form', { class: 'stack', novalidate: true, 'aria-label': label },
    ...rows, trouble, h('div', { class: 'row' }, button, ...foot, saved));
  const parts = { fields, at, trouble, button };

  async function go(work) {
    quiet(parts);
    setText(saved, '');
    const wrong = check().filter(([, text]) => text);
    for (const [name, text] of wrong) fields[name].say(text);
    if (wrong.length) { fields[wrong[0][0]].input.focus(); return; }
    await busy(button, async () => {
      try {
        const answer = await work();
        setText(saved, said);
        done?.(answer);
      } catch (error) {
        if (error.status === 412 && conflict) clash(); else explain(error, parts);
      }
    });
  }

  function clash() {
    trouble.replaceChildren(
      h('p', {}, 'This was changed elsewhere after you opened it: in another window, or on another device. What you typed is still here.'),
      h('div', { class: 'row' },
        h('button', { class: 'button small', type: 'button', onclick: () => go(conflict.again) }, 'Save mine over it'),
        h('button', {
          class: 'button small', type: 'button', onclick: async () => {
            quiet(parts);
            try { await conflict.reload(); } catch (error) { explain(error, parts); }
          },
        }, 'Load the newer one')));
    trouble.hidden = false;
  }

  element.addEventListener('submit', (event) => { event.preventDefault(); go(send); });
  element.addEventListener('input', () => setText(saved, ''));
  element.addEventListener('change', () => setText(saved, ''));
  return { element, button, trouble, fields, go: () => go(send) };
}

/** No two at once; the button says that something happens. */
export async function busy(button, work) {
  if (button.getAttribute('aria-busy')) return;
  button.setAttribute('aria-busy', 'true');
  button.disabled = true;
  const focused = document.activeElement === button;
  try {
    await work();
  } finally {
    button.removeAttribute('aria-busy');
    if (!button.dataset.waits) button.disabled = false;
    if (focused && document.activeElement === document.body && button.isConnected) button.focus();
  }
}

export function quiet({ fields, trouble }) {
  trouble.hidden = true;
  for (const one of Object.values(fields)) one.say('');
}

/** Say it at the field that it is about, or below all of them. */
export function explain(error, { fields = {}, at = {}, trouble, button }) {
  if (error.name === 'AbortError') return;
  const found = [];
  const known = at[error.code] && [at[error.code]].flat();
  if (known && fields[known[0]]) found.push([fields[known[0]], known[1] ?? error.message]);
  else {
    for (const { path, message } of error.problem?.errors ?? []) {
      const one = fields[String(path).replace(/^\$\./, '').split(/[.[]/)[0]];
      if (one) found.push([one, sentence(message)]);
    }
  }
  for (const [one, text] of found) one.say(text);
  found[0]?.[0].input.focus();
  if (found.length === 0) {
    trouble.replaceChildren(error.message || 'That did not work. Try again.');
    trouble.hidden = false;
  }
  if (error.status === 429 && button) wait(button, error.retryAfter || 1, trouble);
}

/** The button counts down; typing something else frees it, for the wait may not be about that. */
function wait(button, seconds, trouble) {
  const until = Date.now() + seconds * 1000;
  const shown = button.firstChild?.textContent ?? '';
  const form = button.form;
  button.dataset.waits = '1';
  button.disabled = true;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    if (left <= 0 || !button.isConnected) end(); else button.replaceChildren(`${shown} – in ${spell(left)}`);
  };
  const end = () => {
    clearInterval(timer);
    form?.removeEventListener('input', end);
    delete button.dataset.waits;
    button.replaceChildren(shown);
    button.disabled = Boolean(button.getAttribute('aria-busy'));
    trouble.hidden = true;
  };
  const timer = setInterval(tick, 500);
  form?.addEventListener('input', end);
  tick();
}

const spell = (seconds) => (seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`);
