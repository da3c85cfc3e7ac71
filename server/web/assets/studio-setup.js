// What the broadcast is called, and where the encoder sends it.
import { field } from './field.js';
import { api } from './api.js';
import { confirm, copy, h, setText, toast } from './dom.js';
import { icon } from './icons.js';

export class Setup {
  constructor({ changed }) {
    this.changed = changed;
    this.id = undefined;
    this.key = null; // known only right after it was made
    this.#form();
    this.#encoder();
    this.element = h('div', { class: 'stack studio-setup' }, this.form, this.encoder);
    this.#readKey();
  }

  #form() {
    this.heading = h('h2', {});
    this.title = field('title', 'Title', { maxlength: 140, placeholder: 'What is it about?', required: true });
    this.description = field('description', 'Description', { maxlength: 5000, rows: 3 }, '', 'textarea');
    this.visibility = h('fieldset', { class: 'choice' }, h('legend', {}, 'Who can find it'),
      ...[['public', 'Public', 'Listed on the front page; anyone can watch.'], ['unlisted', 'Unlisted', 'Anyone with the link can watch.'], ['followers', 'Followers', 'Who follows you can watch.'], ['private', 'Private', 'You alone can watch.']].map(([value, name, hint]) => h('label', { class: 'option' },
        h('input', { type: 'radio', name: 'visibility', value, checked: value === 'public' }), h('span', {}, h('strong', {}, name), h('small', {}, hint)))));
    this.trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
    this.submit = h('button', { class: 'button primary wide', type: 'submit' });
    this.form = h('form', { class: 'panel stack', novalidate: true, onsubmit: (event) => { event.preventDefault(); this.#save(); } },
      this.heading, this.title.row, this.description.row, this.visibility, this.trouble, this.submit);
  }

  /** Before something goes on air: a title that was typed is the broadcast's. */
  async ready() { if (!this.id && this.title.input.value.trim()) await this.#save(); }

  async #save() {
    const body = {
      title: this.title.input.value.trim(), description: this.description.input.value.trim(),
      visibility: this.form.querySelector('[name=visibility]:checked').value,
    };
    if (!body.title) { this.title.say('Give it a title.'); this.title.input.focus(); return; }
    this.trouble.hidden = true;
    this.submit.disabled = true;
    try {
      const answer = this.id ? await api('PUT', `/live/${this.id}`, body) : await api('POST', '/live/start', body);
      if (answer.stream_key) this.#know(answer.stream_key, answer.ingest);
      toast(this.id ? 'Saved.' : 'Ready. Start your encoder.');
      this.dirty = false;
      this.changed(answer);
    } catch (error) {
      setText(this.trouble, error.message);
      this.trouble.hidden = false;
    } finally {
      this.submit.disabled = false;
    }
  }

  #encoder() {
    this.server = copyField('Server', 'rtmp', { area: true, rows: 1 });
    this.secret = copyField('Stream key', 'key', { secret: true });
    this.command = copyField('Or try it with ffmpeg', 'ffmpeg', { secret: true, area: true });
    this.rotate = h('button', { class: 'button', type: 'button', onclick: () => this.#rotate() }, 'Make a new key');
    this.keyNote = h('p', { class: 'hint', role: 'status' });
    this.encoder = h('section', { class: 'panel stack', 'aria-label': 'Encoder' }, h('h2', {}, 'Your encoder'),
      h('p', { class: 'muted' }, 'In OBS: Settings, Stream, service “Custom”. Set the key-frame interval to 2 s.'),
      this.server.element, this.secret.element, this.keyNote, this.command.element, h('div', {}, this.rotate));
    this.command.element.hidden = true;
    this.secret.element.hidden = true;
  }

  async #readKey() {
    try {
      const key = await api('GET', '/live/key');
      if (key.ingest?.rtmp_server) this.server.set(key.ingest.rtmp_server);
      this.exists = key.exists;
      this.hint = key.hint;
    } catch { /* the next answer with an address brings it */ }
    this.#note();
  }

  #note() {
    setText(this.rotate, this.exists ? 'Make a new key' : 'Create a stream key');
    setText(this.keyNote, this.key ? 'Copy the key now: once you leave or reload this page, it cannot be shown again. Anyone who has it can broadcast as you.'
      : this.exists ? `${this.hint ? `Your key ends in ${this.hint.replace(/^\W+/, '')}. ` : ''}Only a fingerprint of it is stored, so it cannot be shown again. Lost it? Make a new one; the old one then stops working.`
      : 'You have no stream key yet. Your first broadcast creates one, or create it here.');
  }

  async #rotate() {
    const sure = !this.exists || await confirm('Make a new stream key?', 'The old key stops working at once; encoders that use it are refused.', 'Make a new key');
    if (!sure) return;
    try {
      const answer = await api('POST', '/live/key', {});
      this.#know(answer.stream_key, answer.ingest);
    } catch (error) { toast(error.message); }
  }

  #know(key, ingest = {}) {
    this.key = key;
    this.exists = true;
    this.hint = null;
    const server = ingest?.rtmp_server ?? this.server.value;
    if (server) this.server.set(server);
    this.secret.set(key);
    this.secret.element.hidden = false;
    const push = ingest?.rtmp?.includes(key) ? ingest.rtmp : `${server}/${key}`;
    this.command.set('ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440 -pix_fmt yuv420p '
      + `-c:v libx264 -preset veryfast -tune zerolatency -g 60 -b:v 2500k -c:a aac -f flv ${push}`, key);
    this.command.element.hidden = false;
    this.#note();
  }

  show(broadcast) {
    const id = broadcast?.id ?? null;
    if (broadcast?.ingest?.rtmp_server) this.server.set(broadcast.ingest.rtmp_server);
    if (id === this.id) return;
    if (id && !this.exists) this.#readKey();
    const typing = this.form.contains(document.activeElement) && this.title.input.value && !broadcast;
    this.id = id;
    setText(this.heading, id ? 'This broadcast' : 'New broadcast');
    setText(this.submit, id ? 'Save changes' : 'Create broadcast');
    if (typing) return;
    this.title.input.value = broadcast?.title ?? '';
    this.description.input.value = broadcast?.description ?? '';
    const visibility = this.form.querySelector(`[name=visibility][value="${broadcast?.visibility ?? 'public'}"]`);
    if (visibility) visibility.checked = true;
  }
}

/**
 * A value with a button that copies it; a secret (the value, or the part of it that `set` names) is covered until
 * asked for. It is no password field: browsers would offer to keep the stream key as the account's password.
 */
function copyField(name, id, { secret = false, area = false, rows = 3 } = {}) {
  const input = h(area ? 'textarea' : 'input', { id: `copy-${id}`, readonly: true, class: 'mono', rows: area ? rows : null, spellcheck: 'false', autocomplete: 'off' });
  let current = '';
  let hidden = '';
  let covered = secret;
  const cover = (next) => {
    covered = next;
    input.value = covered && hidden ? current.replaceAll(hidden, '•'.repeat(hidden.length)) : current;
    if (!show) return;
    setText(show, covered ? 'Show' : 'Hide');
    show.setAttribute('aria-label', `${covered ? 'Show' : 'Hide'}: ${name}`);
  };
  const show = covered ? h('button', { class: 'button small', type: 'button', 'aria-label': `Show: ${name}`, onclick: () => cover(!covered) }, 'Show') : null;
  const button = h('button', {
    class: 'button small', type: 'button', 'aria-label': `Copy: ${name}`, onclick: async () => {
      const done = await copy(current);
      button.replaceChildren(icon(done ? 'check' : 'copy'), done ? 'Copied' : 'Select and copy');
      if (!done) { cover(false); input.select(); }
      setTimeout(() => button.replaceChildren(icon('copy'), 'Copy'), 2000);
    },
  }, icon('copy'), 'Copy');
  const element = h('div', { class: 'field copy-field' }, h('label', { for: `copy-${id}` }, name), h('div', { class: 'copy-row' }, input, show, button));
  return { element, get value() { return current; }, set(value, part = value) { if (current !== value) { current = value; hidden = part; cover(covered); } } };
}
