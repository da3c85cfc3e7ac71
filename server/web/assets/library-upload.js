// Uploading by tus: several files, progress, a pause, and going on where a break left off, also after the page was
// closed (choose the same file again).
import { h, setText, toast } from './dom.js';
import { bytes } from './format.js';
import { token } from './session.js';

const ENDPOINT = '/api/v1/videos/tus';
const PART = 5 * 1024 * 1024;
const AT_ONCE = 2;
export const KINDS = 'video/*,.mkv,.ts,.m2ts,.avi,.mov,.mp4,.webm,.flv';

export class Uploads {
  constructor({ changed }) {
    this.changed = changed;
    this.waiting = [];
    this.running = new Set();
    this.choose = h('input', { type: 'file', accept: KINDS, multiple: true, class: 'visually-hidden', id: 'choose', onchange: () => { this.add(this.choose.files); this.choose.value = ''; } });
    this.list = h('ul', { class: 'uploads' });
    this.place = h('div', { class: 'drop' },
      h('p', {}, h('strong', {}, 'Drop videos here'), h('span', { class: 'muted' }, ' or ')),
      h('label', { class: 'button primary', for: 'choose' }, 'Choose files'), this.choose,
      h('p', { class: 'hint' }, 'MP4, MOV, MKV, WebM, AVI or TS. What breaks off goes on where it was: choose the same file again.'));
    this.element = h('section', { class: 'panel stack', 'aria-label': 'Upload' }, this.place, this.list);
    this.onDrag = (event) => this.#drag(event);
    for (const type of ['dragenter', 'dragover', 'dragleave', 'drop']) document.addEventListener(type, this.onDrag);
    this.onLeave = (event) => { if (this.running.size) event.preventDefault(); };
    addEventListener('beforeunload', this.onLeave);
  }

  #drag(event) {
    if (![...event.dataTransfer?.types ?? []].includes('Files')) return;
    event.preventDefault();
    const over = event.type === 'dragover' || event.type === 'dragenter';
    this.place.classList.toggle('over', over);
    if (event.type === 'drop') this.add(event.dataTransfer.files);
  }

  add(files) {
    for (const file of files) {
      const one = new Upload(file, { done: () => this.#done(one), begun: this.changed });
      this.list.append(one.element);
      this.waiting.push(one);
    }
    this.#next();
  }

  #next() {
    while (this.running.size < AT_ONCE && this.waiting.length) {
      const one = this.waiting.shift();
      if (one.dropped) continue;
      this.running.add(one);
      one.start();
    }
  }

  #done(one) {
    this.running.delete(one);
    this.#next();
    this.changed();
  }

  close() {
    for (const type of ['dragenter', 'dragover', 'dragleave', 'drop']) document.removeEventListener(type, this.onDrag);
    removeEventListener('beforeunload', this.onLeave);
    for (const one of this.running) one.pause();
  }
}

export class Upload {
  /** replaces: the id of the video whose file it is to be; none: a new video. */
  constructor(file, { done, begun, replaces = '' }) {
    Object.assign(this, { file, done, begun, replaces });
    this.bar = h('progress', { max: 1, value: 0, 'aria-label': `Progress of ${file.name}` });
    this.said = h('small', { class: 'muted', role: 'status' }, 'Waits for its turn');
    this.button = h('button', { class: 'button small', type: 'button', hidden: true, onclick: () => (this.paused ? this.resume() : this.pause()) }, 'Pause');
    this.cancel = h('button', { class: 'button small', type: 'button', onclick: () => this.#drop() }, 'Cancel');
    this.element = h('li', { class: 'upload' }, h('strong', { class: 'long' }, file.name), this.bar, this.said, h('div', { class: 'row' }, this.button, this.cancel));
  }

  async start() {
    const { file } = this;
    const tus = await import('./vendor/tus.js').then(() => window.tus, () => null); // no module: it names itself there
    if (!tus) { this.#fail('The uploader could not be loaded. Load the page again.'); return; }
    this.upload = new tus.Upload(file, {
      endpoint: ENDPOINT,
      chunkSize: PART,
      retryDelays: [0, 1000, 2000, 4000, 8000, 15_000, 30_000],
      removeFingerprintOnSuccess: true,
      // by itself it would go on with what began as a new video of the same file
      ...this.replaces && { fingerprint: async () => ['replaces', this.replaces, file.name, file.size, file.lastModified].join('-') },
      metadata: { ...this.replaces && { replaces: this.replaces }, filename: file.name, filetype: file.type || 'application/octet-stream', title: file.name.replace(/\.[^.]+$/, '').slice(0, 140), visibility: 'private' },
      onBeforeRequest: async (request) => {
        const access = await token();
        if (access) request.setHeader('Authorization', `Bearer ${access}`);
      },
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        return status === 0 || status >= 500 || [409, 423, 429, 460].includes(status);
      },
      onProgress: (sent, total) => this.#progress(sent, total),
      onUploadUrlAvailable: () => this.begun(),
      onSuccess: () => this.#end('Uploaded. It is being prepared.'),
      onError: (error) => this.#fail(words(error)),
    });
    const before = await this.upload.findPreviousUploads().catch(() => []);
    if (before.length) this.upload.resumeFromPreviousUpload(before[0]);
    this.button.hidden = false;
    this.began = { at: performance.now(), sent: null };
    this.upload.start();
  }

  #progress(sent, total) {
    this.bar.value = total ? sent / total : 0;
    const now = performance.now();
    this.began.sent ??= sent;
    const rate = (sent - this.began.sent) / Math.max(0.5, (now - this.began.at) / 1000);
    const left = rate > 0 ? (total - sent) / rate : 0;
    setText(this.said, [`${bytes(sent)} of ${bytes(total)}`, rate > 0 && `${bytes(rate)}/s`, left > 1 && `${left > 90 ? `${Math.round(left / 60)} min` : `${Math.round(left)} s`} left`].filter(Boolean).join(' · '));
  }

  pause() {
    this.paused = true;
    this.upload?.abort();
    setText(this.button, 'Go on');
    setText(this.said, 'Paused');
  }

  resume() {
    this.paused = false;
    setText(this.button, 'Pause');
    this.began = { at: performance.now(), sent: null };
    this.upload.start();
  }

  async #drop() {
    this.dropped = true;
    try { await this.upload?.abort(true); } catch (error) { toast(words(error)); }
    this.element.remove();
    this.done();
  }

  #fail(message) {
    setText(this.said, message);
    this.said.className = 'wrong';
    this.paused = true;
    this.button.hidden = !this.upload;
    setText(this.button, 'Try again');
    this.button.onclick = () => { this.said.className = 'muted'; this.resume(); };
    this.done();
  }

  #end(message) {
    this.bar.value = 1;
    setText(this.said, message);
    this.button.hidden = true;
    setText(this.cancel, 'Close');
    this.cancel.onclick = () => this.element.remove();
    this.done();
  }
}

/** What the server said, out of the library's long sentence. */
function words(error) {
  try {
    const said = JSON.parse(error.originalResponse?.getBody() || '{}');
    if (said.detail || said.title) return said.detail || said.title;
  } catch { /* not ours: a proxy's page */ }
  return error.originalResponse ? 'The server did not take it. Try again in a moment.' : 'The connection is lost. It goes on where it was when you try again.';
}
