// One request of the API page: as fetch sends it, as curl would, and what came back.
import { copy, h, setText } from './dom.js';
import { token } from './session.js';

export async function headersFor(request, caller) {
  const headers = { Accept: 'application/json, */*;q=0.5', ...request.headers };
  if (caller.who === 'me') {
    const access = await token();
    if (access) headers.Authorization = `Bearer ${access}`;
  } else if (caller.who === 'key' && caller.key) headers.Authorization = `Bearer ${caller.key}`;
  return headers;
}

/** Send it; the person is asked to show again who is there when the route wants that. */
export async function send(request, caller) {
  const once = async () => {
    const started = performance.now();
    const response = await fetch(request.address, {
      method: request.method, headers: await headersFor(request, caller), body: request.body, credentials: 'same-origin', cache: 'no-store',
    });
    const bytes = await response.arrayBuffer();
    return { response, bytes, took: performance.now() - started };
  };
  let outcome = await once();
  if (outcome.response.status === 403 && caller.who === 'me' && parse(outcome)?.code === 'step_up_required') {
    const { stepUp } = await import('./stepup.js');
    if (await stepUp()) outcome = await once();
  }
  return outcome;
}

const typeOf = (response) => (response.headers.get('Content-Type') ?? '').split(';')[0];
const isText = (type) => type.startsWith('text/') || /json|xml|mpegurl/.test(type);

function parse({ response, bytes }) {
  if (!typeOf(response).includes('json')) return null;
  try { return JSON.parse(new TextDecoder().decode(bytes)); } catch { return null; }
}

/** What came back, as elements. */
export function answer(outcome) {
  const { response, bytes, took } = outcome;
  const data = parse(outcome);
  const type = typeOf(response);
  const body = data !== null ? JSON.stringify(data, null, 2) : isText(type) ? new TextDecoder().decode(bytes) : '';
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
  const kind = response.ok ? 'good' : response.status < 400 ? '' : 'interrupted';
  return [
    h('p', { class: 'row' }, h('span', { class: `badge ${kind}` }, `${response.status} ${response.statusText}`.trim()),
      h('span', { class: 'muted' }, `${Math.round(took)} ms, ${bytes.byteLength} bytes${data?.code ? `, ${data.code}` : ''}`)),
    data?.detail && !response.ok && h('p', {}, data.detail),
    body && code('Body of the answer', body),
    !body && bytes.byteLength > 0 && h('p', {}, h('a', { class: 'button small', href: URL.createObjectURL(new Blob([bytes], { type })), download: 'answer' }, `Save ${type || 'the file'}`)),
    h('details', { class: 'more' }, h('summary', {}, 'Headers of the answer'), code('Headers of the answer', headers)),
  ].filter(Boolean);
}

/** A block of text that can be copied. */
export function code(name, text) {
  const button = h('button', {
    class: 'button small', type: 'button', 'aria-label': `Copy: ${name}`, onclick: async () => {
      setText(button, await copy(block.textContent) ? 'Copied' : 'Select and copy');
      setTimeout(() => setText(button, 'Copy'), 2000);
    },
  }, 'Copy');
  const block = h('pre', { class: 'mono', tabindex: '0', 'aria-label': name }, text);
  return h('div', { class: 'docs-code' }, block, button);
}

/** The same for a shell. The token stands for itself, so that what is copied can be shown to others. */
export function curl(request, caller) {
  const quote = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
  const parts = [`curl -i${request.method === 'GET' ? '' : ` -X ${request.method}`} ${quote(location.origin + request.address)}`];
  if (caller.who !== 'nobody' && request.takesToken) parts.push(`-H "Authorization: Bearer $${caller.who === 'key' ? 'KEY' : 'TOKEN'}"`);
  for (const [name, value] of Object.entries(request.headers)) parts.push(`-H ${quote(`${name}: ${value}`)}`);
  if (request.file) parts.push('--data-binary @file');
  else if (request.body !== undefined) parts.push(`--data ${quote(request.body)}`);
  return parts.join(' \\\n  ');
}
