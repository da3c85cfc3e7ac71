// One route of the API page: what it does and asks for, an editor for what it is sent, what it answers.
import { answer, code, curl, send } from './docs-send.js';
import { lines, resolve, typeOf } from './docs-schema.js';
import { h, setText } from './dom.js';
import { field, selectField } from './field.js';
import { busy } from './form.js';

const tags = new Map(); // ETags that were read here, by address: what If-Match begins with

export function operationRow({ description, method, path, operation, caller }) {
  const id = operation.operationId;
  let built = false;
  const element = h('details', { class: 'docs-route', id, dataset: { method } },
    h('summary', {}, h('span', { class: `docs-method ${method}` }, method.toUpperCase()), h('code', { class: 'docs-path' }, ...breakable(path)),
      h('span', { class: 'docs-summary' }, operation.summary), ...marks(operation)));
  element.addEventListener('toggle', () => {
    if (!element.open || built) return;
    built = true;
    element.append(body({ description, method, path, operation, caller }));
  });
  return { id, element, open: () => { element.open = true; } };
}

const breakable = (path) => path.split(/(?=\/)/).flatMap((part) => [h('wbr'), part]);

/** Whom the route is for: an account, anybody, or anybody with more for an account (OpenAPI 3.1, section 4.8.2). */
function who({ security = [] }) {
  if (!security.length) return 'open';
  return security.some((way) => !Object.keys(way).length) ? 'anyone' : 'account';
}

function marks(operation) {
  return [
    operation['x-permission'] && h('span', { class: 'badge' }, operation['x-permission']),
    operation['x-step-up'] && h('span', { class: 'badge interrupted' }, 'Step-up'),
    who(operation) === 'account' && h('span', { class: 'badge' }, 'Signed in'),
  ].filter(Boolean);
}

function body({ description, method, path, operation, caller }) {
  const editor = new Editor({ description, method, path, operation, caller });
  return h('div', { class: 'docs-body stack' },
    ...(operation.description ?? '').split(/\n\s*\n/).filter(Boolean).map((text) => h('p', {}, ...marked(text.replaceAll(/\s+/g, ' ')))),
    facts(operation), editor.element, outcomes(description, operation));
}

/** `code` among words. */
const marked = (text) => text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? h('code', { class: 'mono' }, part) : part));

function facts(operation) {
  const said = [];
  const open = who(operation) === 'open';
  said.push(['Who', { open: 'Anybody', anyone: 'Anybody; more for who is signed in', account: 'Who is signed in' }[who(operation)]]);
  if (operation['x-scopes']?.length) said.push(['Scope of keys', operation['x-scopes'].join(', ')]);
  else if (!open) said.push(['Keys', 'None']);
  if (operation['x-permission']) said.push(['Permission', operation['x-permission']]);
  if (operation['x-step-up']) said.push(['Step-up', 'A factor shown in the last minutes']);
  if (operation['x-limits']) said.push(['Limits', operation['x-limits']]);
  return h('dl', { class: 'docs-facts' }, ...said.map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, text))));
}

class Editor {
  constructor({ description, method, path, operation, caller }) {
    Object.assign(this, { description, path, operation, caller });
    this.method = method.toUpperCase();
    this.parameters = (operation.parameters ?? []).map((given) => this.#parameter(resolve(description, given)));
    this.#body();
    this.trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
    this.place = h('div', { class: 'stack', 'aria-live': 'polite' });
    this.button = h('button', { class: 'button primary', type: 'submit' }, 'Send');
    this.shell = h('div', { class: 'stack' });
    const more = h('details', { class: 'more' }, h('summary', {}, 'As a curl command'), this.shell);
    more.addEventListener('toggle', () => { if (more.open) this.#curl(); });
    this.element = h('form', { class: 'stack docs-try', novalidate: true, 'aria-label': `Try ${this.method} ${path}` },
      this.parameters.length > 0 && h('div', { class: 'columns' }, ...this.parameters.map((one) => one.row)),
      this.text?.row, this.fields, this.file?.row, h('div', { class: 'row' }, this.button), more, this.trouble, this.place);
    this.element.addEventListener('submit', (event) => { event.preventDefault(); busy(this.button, () => this.#send()); });
    this.element.addEventListener('input', () => { if (more.open) this.#curl(); });
  }

  #parameter(given) {
    const schema = resolve(this.description, given.schema ?? {});
    const plain = schema.anyOf?.find((one) => one.type !== 'null') ?? schema;
    const where = { path: 'in the path', query: 'query', header: 'header' }[given.in];
    const choices = plain.enum ?? (plain.type === 'boolean' ? [true, false] : null);
    const hint = given.description ?? plain.description ?? '';
    const name = `${given.name} – ${where}${given.required ? ', needed' : ''}`;
    const made = choices
      ? selectField(given.name, name, [['', given.required ? 'Choose' : 'Left out'], ...choices.map((one) => [String(one), String(one)])], hint)
      : field(given.name, name, { autocomplete: 'off', spellcheck: 'false', class: 'mono', placeholder: placeholder(given, plain) }, hint);
    if (given.name === 'Idempotency-Key') made.value = fresh();
    else if (given.in !== 'header' && given.example !== undefined) made.value = given.example;
    return { ...made, given, input: made.input, row: made.row, say: made.say };
  }

  #body() {
    const content = this.operation.requestBody?.content;
    if (!content) return;
    const json = content['application/json'];
    if (!json) {
      this.file = field('file', 'File', { type: 'file', accept: Object.keys(content).join(',') }, Object.keys(content).join(', '));
      return;
    }
    const example = json.example ?? Object.values(json.examples ?? {})[0]?.value ?? {};
    const start = JSON.stringify(example, null, 2);
    this.text = field('body', 'Body (JSON)', { rows: Math.min(16, start.split('\n').length + 1), spellcheck: 'false', autocomplete: 'off', class: 'mono', wrap: 'off' }, '', 'textarea');
    this.text.value = start;
    const members = lines(this.description, json.schema);
    this.fields = members.length > 0 && h('details', { class: 'more' }, h('summary', {}, 'Members of the body'), table(members));
  }

  /** What would be sent, or null when something is missing (and said at its field). */
  #request({ strict }) {
    const headers = {};
    const query = new URLSearchParams();
    let address = this.path;
    let wrong = null;
    for (const { given, input, say } of this.parameters) {
      const value = input.value.trim();
      if (given.required && !value && strict) {
        say('Fill this in.');
        wrong ??= input;
      }
      if (given.in === 'path') address = address.replace(`{${given.name}}`, value ? encodeURIComponent(value) : `{${given.name}}`);
      else if (value && given.in === 'query') query.append(given.name, value);
      else if (value && given.in === 'header') headers[given.name] = value;
    }
    if ([...query].length) address += `?${query}`;
    let body;
    const file = this.file?.input.files[0];
    if (this.text && this.text.value.trim()) {
      body = this.text.value;
      headers['Content-Type'] = 'application/json';
      try { body = JSON.stringify(JSON.parse(body)); } catch (error) {
        if (strict) { this.text.say(`This is not JSON: ${error.message}`); wrong ??= this.text.input; }
      }
    } else if (this.file) {
      if (!file && strict) { this.file.say('Choose a file.'); wrong ??= this.file.input; }
      body = file;
      headers['Content-Type'] = file?.type || Object.keys(this.operation.requestBody.content)[0];
    }
    if (wrong) { wrong.focus(); return null; }
    return { method: this.method, address, headers, body, file: Boolean(this.file), takesToken: who(this.operation) !== 'open' };
  }

  #curl() {
    this.shell.replaceChildren(code('curl', curl(this.#request({ strict: false }), this.caller)));
  }

  async #send() {
    this.trouble.hidden = true;
    this.#fillIfMatch();
    const request = this.#request({ strict: true });
    if (!request) return;
    try {
      const outcome = await send(request, this.caller);
      const tag = outcome.response.headers.get('ETag');
      if (tag && outcome.response.ok) tags.set(request.address.split('?')[0], tag);
      this.place.replaceChildren(...answer(outcome));
      const key = this.parameters.find(({ given }) => given.name === 'Idempotency-Key');
      if (key && outcome.response.ok) setText(key.hint, 'Sent. With the same key it is not done again; take another for a new request.');
    } catch (error) {
      setText(this.trouble, error.message && error.name !== 'TypeError' ? error.message : 'The server does not answer. Check your connection.');
      this.trouble.hidden = false;
    }
  }

  /** The tag that was last read here of the same thing, unless the person has typed another. */
  #fillIfMatch() {
    const one = this.parameters.find(({ given }) => given.name === 'If-Match');
    if (!one || (one.input.value && one.input.value !== one.filled)) return;
    const address = this.#request({ strict: false })?.address.split('?')[0] ?? '';
    const tag = tags.get(address);
    if (tag) one.input.value = one.filled = tag;
  }
}

function placeholder(given, schema) {
  if (given.name === 'If-Match' || given.name === 'If-None-Match') return given.example ?? '';
  if (schema.default !== undefined && schema.default !== null) return String(schema.default);
  return schema.format === 'uuid' ? '019a1b2c-3d4e-7f50-…' : schema.format ?? '';
}

function fresh() {
  return crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (one) => one.toString(16).padStart(2, '0')).join('');
}

function table(members) {
  return h('ul', { class: 'docs-members' }, ...members.map(({ depth, name, type, needed, text }) => {
    const item = h('li', {}, h('code', { class: 'mono' }, name), ' ', h('span', { class: 'muted' }, `${type}${needed ? ', needed' : ''}`), text && h('span', { class: 'docs-text' }, ...marked(text)));
    item.style.setProperty('--depth', depth);
    return item;
  }));
}

/** What it answers: how it looks when it goes well, and every problem that may come instead. */
function outcomes(description, operation) {
  const well = [];
  const problems = [];
  for (const [status, given] of Object.entries(operation.responses)) {
    const response = resolve(description, given);
    if (Number(status) < 400) {
      const media = response.content?.['application/json'];
      const members = media ? lines(description, media.schema) : [];
      well.push(h('div', { class: 'stack-small' }, h('p', {}, h('span', { class: 'badge good' }, status), ' ', response.description, media && h('span', { class: 'muted' }, ` – ${typeOf(description, media.schema)}`)),
        members.length > 0 && h('details', { class: 'more' }, h('summary', {}, 'Members of the answer'), table(members)),
        media?.example !== undefined && h('details', { class: 'more' }, h('summary', {}, 'Example of the answer'), code('Example', JSON.stringify(media.example, null, 2)))));
    } else {
      const examples = response.content?.['application/problem+json']?.examples ?? {};
      for (const [key, { summary }] of Object.entries(examples)) problems.push(h('li', {}, h('span', { class: 'badge' }, status), ' ', h('code', { class: 'mono' }, key), ' ', h('span', { class: 'muted' }, summary)));
    }
  }
  return h('div', { class: 'stack docs-outcomes' }, h('h3', {}, 'Answers'), ...well,
    problems.length > 0 && h('details', { class: 'more' }, h('summary', {}, `${problems.length} problems that may come instead`), h('ul', { class: 'docs-problems' }, ...problems)));
}
