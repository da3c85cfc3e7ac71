// Where broadcasts go on to besides here: services that take RTMP, each with how the push to it goes.
import { api } from './api.js';
import { confirm, h, setText, toast } from './dom.js';
import { field } from './field.js';
import { busy, form } from './form.js';
import { bitrate } from './format.js';

const STATES = {
  waiting: ['Waits for your encoder', ''], connecting: ['Connecting', ''], pushing: ['On air', 'good'],
  retrying: ['Tries again', 'interrupted'], refused: ['Refused', 'interrupted'], stopped: ['Stopped', ''],
};

export class Targets {
  constructor() {
    this.rows = new Map();
    this.live = null;
    this.read = false;
    this.list = h('ul', { class: 'rows', hidden: true });
    this.trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
    this.full = h('p', { class: 'hint', hidden: true });
    this.add = h('details', { class: 'fold' }, h('summary', {}, 'Add a service'), this.#form());
    this.element = h('section', { class: 'panel stack studio-targets', 'aria-labelledby': 'studio-targets' },
      h('div', { class: 'stack-small' }, h('h2', { id: 'studio-targets' }, 'Also send it to'),
        h('p', { class: 'muted' }, 'Your broadcasts go on to these services too. One that is slow or away disturbs nothing here.')),
      this.list, this.trouble, this.add, this.full);
  }

  /** broadcast: the one that is on, or null. Called with each look at it. */
  show(broadcast) {
    const live = broadcast && ['live', 'interrupted'].includes(broadcast.state) ? broadcast.id : null;
    const wanted = !this.read || live !== this.live || (live && this.rows.size > 0);
    this.live = live;
    if (wanted) this.load();
  }

  async load() {
    const turn = this.turn = (this.turn ?? 0) + 1;
    try {
      const { items, most } = await api('GET', '/live/targets');
      if (turn !== this.turn) return; // a newer look is on its way
      this.read = true;
      this.trouble.hidden = true;
      for (const [id, row] of this.rows) if (!items.some((item) => item.id === id)) { row.element.remove(); this.rows.delete(id); }
      for (const item of items) {
        if (!this.rows.has(item.id)) { const row = this.#row(item); this.rows.set(item.id, row); this.list.append(row.element); }
        this.rows.get(item.id).update(item);
      }
      this.list.hidden = items.length === 0;
      this.add.hidden = items.length >= most;
      this.full.hidden = !this.add.hidden;
      setText(this.full, `You have ${items.length} of ${most}.`);
    } catch (error) {
      if (error.status === 401) return;
      setText(this.trouble, error.message);
      this.trouble.hidden = false;
    }
  }

  #form() {
    const fields = fieldsOf();
    return form({
      label: 'Add a service', fields, submit: 'Add it',
      check: () => Object.entries(fields).map(([name, one]) => [name, one.value.trim() ? '' : 'Fill this in.']),
      send: () => api('POST', '/live/targets', values(fields)),
      done: () => {
        for (const one of Object.values(fields)) one.value = '';
        this.add.open = false;
        toast('Added. Your broadcasts go there from now on.');
        this.load();
      },
    }).element;
  }

  #row(first) {
    let item = first;
    const name = h('strong', { class: 'long' });
    const badge = h('span', { class: 'badge' });
    const where = h('small', { class: 'muted mono long' });
    const figures = h('small', { class: 'muted' });
    const words = h('p', { class: 'hint', role: 'status' });
    const trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
    const button = (text, work, kind = '') => {
      const made = h('button', {
        class: `button small ${kind}`, type: 'button', onclick: () => busy(made, async () => {
          trouble.hidden = true;
          try { await work(); await this.load(); } catch (error) { setText(trouble, error.message); trouble.hidden = false; }
        }),
      }, text);
      return made;
    };
    const path = `/live/targets/${first.id}`;
    const start = button('Start', () => api('POST', `${path}/start`, {}));
    const stop = button('Stop', () => api('POST', `${path}/stop`, {}));
    const turn = button('', () => api('PUT', path, { enabled: !item.enabled }));
    const remove = button('Delete', async () => {
      if (!await confirm(`Delete ${item.name}?`, 'Its stream key is forgotten here. Nothing changes over there.', 'Delete it')) return;
      await api('DELETE', path);
      toast('Deleted.');
    }, 'danger');
    const edit = h('details', { class: 'fold' }, h('summary', {}, 'Change'));
    edit.addEventListener('toggle', () => {
      if (!edit.open || edit.childElementCount > 1) return;
      edit.append(editForm(item, path, (changed) => { item = changed; edit.open = false; edit.lastChild.remove(); this.load(); }));
    });
    const element = h('li', {}, h('div', { class: 'row-line' },
      h('div', { class: 'row-text' }, h('span', { class: 'row' }, name, badge), where, figures)),
    words, trouble, h('div', { class: 'row' }, start, stop, turn, remove), edit);
    const update = (next) => {
      item = next;
      const push = item.enabled && item.push && item.push.broadcast_id === this.live ? item.push : null;
      const [text, kind] = push ? STATES[push.state] ?? [push.state, ''] : [item.enabled ? 'On' : 'Off', ''];
      setText(name, item.name);
      setText(badge, text);
      badge.className = `badge ${kind}`.trim();
      setText(where, `${item.url}, key ${item.key_hint}`);
      setText(figures, push ? told(push) : '');
      setText(words, push ? push.error || push.note : '');
      words.hidden = !words.textContent;
      const running = push && !['stopped', 'refused'].includes(push.state);
      start.hidden = !(this.live && item.enabled && (!running || push.state === 'retrying'));
      setText(start, push?.state === 'retrying' ? 'Try now' : 'Start');
      stop.hidden = !running;
      setText(turn, item.enabled ? 'Turn off' : 'Turn on');
      for (const [one, verb] of [[start, start.textContent], [stop, 'Stop'], [turn, turn.textContent], [remove, 'Delete']]) one.setAttribute('aria-label', `${verb}: ${item.name}`);
    };
    return { element, update };
  }
}

function fieldsOf(item) {
  return {
    name: field('name', 'Name', { maxlength: 60, autocomplete: 'off', placeholder: 'Twitch, YouTube, my site', value: item?.name ?? '' }),
    url: field('url', 'Server', { maxlength: 500, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', placeholder: 'rtmps://live.example.org/app', value: item?.url ?? '' }),
    // no password field: browsers would offer to keep it as the account's password
    key: field('key', 'Stream key', { maxlength: 500, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', class: 'mono' },
      item ? `It ends in ${item.key_hint}. Empty: it stays as it is.` : 'From the service. It is kept sealed and never shown again.'),
  };
}

function values(fields) {
  const entries = Object.entries(fields).map(([name, one]) => [name, one.value.trim()]);
  return Object.fromEntries(entries.filter(([, value]) => value));
}

function editForm(item, path, done) {
  const fields = fieldsOf(item);
  return form({ label: `Change ${item.name}`, fields, submit: 'Save', send: () => api('PUT', path, values(fields)), done }).element;
}

/** "2.4 Mbit/s, 18 MB sent, 12 frames left out, connected 2 times again" */
function told(push) {
  const parts = [];
  if (push.state === 'pushing') parts.push(bitrate(push.bitrate));
  if (push.sent_bytes) parts.push(`${(push.sent_bytes / 1e6).toFixed(push.sent_bytes < 1e7 ? 1 : 0)} MB sent`);
  if (push.dropped) parts.push(`${push.dropped} frames left out`);
  if (push.reconnects) parts.push(`connected again ${push.reconnects === 1 ? 'once' : `${push.reconnects} times`}`);
  return parts.join(', ');
}
