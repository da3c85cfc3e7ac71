// Fields of forms: a label, a control, a hint, and a place for what is wrong with it.
import { h, setText } from './dom.js';

let number = 0;

/** A labelled input with a hint and a place for what is wrong with it. */
export function field(name, text, attributes = {}, hintText = '', tag = 'input') {
  const id = `field-${name}-${++number}`;
  const input = h(tag, { id, name, 'aria-describedby': `${id}-hint ${id}-wrong`, ...attributes });
  const label = h('label', { for: id }, text);
  const hint = h('span', { class: 'hint', id: `${id}-hint` }, hintText);
  const wrong = h('span', { class: 'wrong', id: `${id}-wrong` });
  const row = h('div', { class: 'field' }, label, input, h('div', { class: 'field-note' }, hint, wrong));
  const say = (message) => {
    setText(wrong, message);
    if (message) input.setAttribute('aria-invalid', 'true'); else input.removeAttribute('aria-invalid');
  };
  input.addEventListener('input', () => say(''));
  return { row, input, label, hint, say, get value() { return input.value; }, set value(next) { input.value = next; } };
}

/** A password that can be shown. autocomplete: current-password or new-password, for what keeps passwords. */
export function passwordField(name, text, autocomplete, hint = '') {
  const made = field(name, text, {
    type: 'password', autocomplete, required: true, maxlength: 1024, autocapitalize: 'none', spellcheck: 'false',
  }, hint);
  const show = h('button', {
    class: 'show-typed', type: 'button', 'aria-pressed': 'false', 'aria-label': 'Show what you typed',
    onclick: () => cover(made.input.type === 'text'),
  }, 'Show');
  const cover = (covered) => {
    made.input.type = covered ? 'password' : 'text';
    setText(show, covered ? 'Show' : 'Hide');
    show.setAttribute('aria-label', covered ? 'Show what you typed' : 'Hide what you typed');
    show.setAttribute('aria-pressed', String(!covered));
  };
  const box = h('div', { class: 'with-button' });
  made.input.replaceWith(box);
  box.append(made.input, show);
  made.cover = () => cover(true);
  return made;
}

/** The code of an authenticator app, or a recovery code where those are taken too. */
export function codeField(text, { recovery = false } = {}) {
  return field('code', text, {
    autocomplete: 'one-time-code', required: true, maxlength: 64, autocapitalize: 'none', spellcheck: 'false',
    inputmode: recovery ? 'text' : 'numeric', class: 'code-input',
  });
}

/** options: [[value, text], …] */
export function selectField(name, text, options, hint = '') {
  const made = field(name, text, {}, hint, 'select');
  made.input.append(...options.map(([value, shown]) => h('option', { value }, shown)));
  made.input.addEventListener('change', () => made.say(''));
  return made;
}

/** A box to tick, with what it means below it. */
export function checkField(name, text, hint = '') {
  const input = h('input', { type: 'checkbox', name });
  const row = h('label', { class: 'option' }, input, h('span', {}, h('strong', {}, text), hint && h('small', {}, hint)));
  return { row, input, say() {}, get value() { return input.checked; }, set value(next) { input.checked = Boolean(next); } };
}
