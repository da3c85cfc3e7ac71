// What may follow @ and : while one writes: names of people who were here, and emotes. Arrow keys choose, Tab or Enter
// takes, Escape leaves the text as it is.
import { h } from './dom.js';
import { hue } from './format.js';

const MOST = 6;
const WORD = /(?:^|[\s(])([@:])([\p{L}\p{N}_]*)$/u;

export class Suggest {
  /** names() → [username, …], those who were here last first; emotes() → Map name → art. */
  constructor(input, { names, emotes }) {
    this.input = input;
    this.names = names;
    this.emotes = emotes;
    this.element = h('ul', { class: 'suggest', id: 'chat-suggest', role: 'listbox', 'aria-label': 'Suggestions', hidden: true });
    this.items = [];
    input.setAttribute('aria-autocomplete', 'list');
    input.setAttribute('aria-controls', 'chat-suggest');
    input.addEventListener('input', () => this.#look());
    input.addEventListener('blur', () => this.close());
    input.addEventListener('keydown', (event) => this.#key(event));
  }

  get open() { return this.items.length > 0; }

  #look() {
    const before = this.input.value.slice(0, this.input.selectionStart);
    const found = WORD.exec(before);
    if (!found || (found[1] === ':' && found[2].length < 2)) { this.close(); return; }
    const [, sign, typed] = found;
    this.length = typed.length + 1;
    const wanted = typed.toLowerCase();
    const first = (all) => [...all.filter((one) => one.toLowerCase().startsWith(wanted)), ...all.filter((one) => one.toLowerCase().indexOf(wanted) > 0)].slice(0, MOST);
    this.items = sign === '@'
      ? first(this.names()).map((name) => ({ text: `@${name}`, shown: person(name) }))
      : first([...this.emotes().keys()]).map((name) => ({ text: `:${name}:`, shown: [h('span', { class: 'emote', 'aria-hidden': 'true' }, this.emotes().get(name)), ` ${name}`] }));
    this.at = 0;
    this.#paint();
  }

  #paint() {
    this.element.hidden = !this.open;
    this.element.replaceChildren(...this.items.map((item, index) => h('li', {
      class: 'suggestion', id: `suggestion-${index}`, role: 'option', 'aria-selected': String(index === this.at),
      onpointerdown: (event) => { event.preventDefault(); this.#take(index); },
    }, ...item.shown)));
    if (this.open) this.input.setAttribute('aria-activedescendant', `suggestion-${this.at}`);
    else this.input.removeAttribute('aria-activedescendant');
  }

  #key(event) {
    if (!this.open || event.isComposing) return;
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      this.at = (this.at + (event.key === 'ArrowDown' ? 1 : -1) + this.items.length) % this.items.length;
      this.#paint();
    } else if (event.key === 'Tab' || (event.key === 'Enter' && !event.shiftKey)) {
      const { text } = this.items[this.at];
      const written = this.input.value.slice(0, this.input.selectionStart).endsWith(text);
      if (written) { this.close(); return; } // nothing to complete: Enter sends
      this.#take(this.at);
    } else if (event.key === 'Escape') this.close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  #take(index) {
    const { text } = this.items[index];
    const { value, selectionStart: end } = this.input;
    const start = end - this.length;
    this.close();
    this.input.setRangeText(`${text}${value[end] === ' ' ? '' : ' '}`, start, end, 'end');
    this.input.dispatchEvent(new Event('input', { bubbles: true }));
  }

  close() {
    if (!this.open) return;
    this.items = [];
    this.#paint();
  }
}

function person(name) {
  const shown = h('bdi', { class: 'message-author' }, name);
  shown.style.setProperty('--hue', hue(name));
  return [shown];
}
