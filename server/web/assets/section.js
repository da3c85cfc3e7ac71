// What the sections of the account page share: panels, data that is being read, editing what may be edited twice.
import { call } from './api.js';
import { copy, h } from './dom.js';
import { explain } from './form.js';
import { icon } from './icons.js';

let number = 0;

export function panel(title, text, ...children) {
  const id = `panel-${++number}`;
  return h('section', { class: 'panel stack', 'aria-labelledby': id },
    h('div', { class: 'stack-small' }, h('h2', { id }, title), text && h('p', { class: 'muted' }, text)), ...children);
}

/** A place whose content comes from the API: bones meanwhile, and a way to try again. paint: (data) → elements. */
export function loaded(read, paint) {
  const place = h('div', { class: 'stack', 'aria-busy': 'true', tabindex: '-1' });
  const load = async ({ quietly = false } = {}) => {
    if (!quietly) place.replaceChildren(h('span', { class: 'bone wide' }), h('span', { class: 'bone' }));
    try {
      const data = await read();
      const within = place.contains(document.activeElement);
      const back = typed(place);
      place.replaceChildren(...[paint(data)].flat().filter(Boolean));
      back();
      // what had the focus is gone: go on from here, not from the top of the page
      if (within && !place.contains(document.activeElement)) place.focus({ preventScroll: true });
    } catch (error) {
      if (error.status === 401) return;
      place.replaceChildren(h('p', { class: 'notice bad', role: 'alert' }, error.message),
        h('div', {}, h('button', { class: 'button small', type: 'button', onclick: () => load() }, 'Try again')));
    } finally {
      place.setAttribute('aria-busy', 'false');
    }
  };
  load();
  return { place, load };
}

/** What is half typed in forms with a name; → put it back into the same ones, painted anew. */
function typed(place) {
  const fields = () => [...place.querySelectorAll('form[aria-label] :is(input, textarea):is([type=text], [type=email], [type=password], :not([type]))')]
    .map((input) => [`${input.form.getAttribute('aria-label')} ${input.name}`, input]);
  const before = new Map(fields().filter(([, input]) => input.value && input.value !== input.defaultValue && !input.readOnly).map(([name, input]) => [name, input.value]));
  return () => {
    for (const [name, input] of fields()) {
      if (input.value || !before.has(name)) continue;
      input.value = before.get(name);
      input.closest('details')?.setAttribute('open', '');
    }
  };
}

/** What is read with its tag and written only over what was read. */
export class Edited {
  constructor(path) {
    this.path = path;
    this.etag = null;
    this.data = null;
  }

  async read() { return this.#keep(await call('GET', this.path)); }

  async write(method, body, path = this.path) { return this.#keep(await call(method, path, body, { ifMatch: this.etag })); }

  /** After one change of ours by another route: what was read is still what is edited, unless others came in between. */
  async passed() {
    const fresh = await call('GET', this.path);
    if (fresh.data.version === this.data.version + 1) this.#keep(fresh);
  }

  /** Over whatever is there now. */
  async over(method, body, path = this.path) {
    await this.read();
    return this.write(method, body, path);
  }

  #keep({ data, etag }) {
    this.etag = etag;
    this.data = data;
    return data;
  }
}

/** A button that does one thing; what goes wrong is said below it. */
export function action(text, work, { kind = '', label, small = true } = {}) {
  const trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  const button = h('button', {
    class: `button ${small ? 'small' : ''} ${kind}`, type: 'button', 'aria-label': label, onclick: async () => {
      if (button.getAttribute('aria-busy')) return;
      trouble.hidden = true;
      button.setAttribute('aria-busy', 'true');
      try { await work(); } catch (error) { explain(error, { trouble, button }); } finally { button.removeAttribute('aria-busy'); }
    },
  }, text);
  return { button, trouble };
}

/** A value to take away, with a button that copies it. */
export function copyLine(name, value) {
  const id = `copy-line-${++number}`;
  const input = h('input', { id, class: 'mono', readonly: true, value, onfocus: () => input.select() });
  const button = h('button', {
    class: 'button small', type: 'button', 'aria-label': `Copy: ${name}`, onclick: async () => {
      const done = await copy(value);
      button.replaceChildren(icon(done ? 'check' : 'copy'), done ? 'Copied' : 'Select and copy');
      if (!done) input.select();
      setTimeout(() => button.replaceChildren(icon('copy'), 'Copy'), 2000);
    },
  }, icon('copy'), 'Copy');
  return h('div', { class: 'field' }, h('label', { for: id }, name), h('div', { class: 'copy-row' }, input, button));
}

/** Hand a file of text or bytes to the browser's downloads. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = h('a', { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

