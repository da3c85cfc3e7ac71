// The REST surface: JSON in and out, and every failure a sentence that says what to do.
import { forget, token } from './session.js';

export class ApiError extends Error {
  constructor(message, { status = 0, code = '', retryAfter = 0, problem = {} } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.problem = problem;
  }
}

const PLAIN = {
  0: 'The server does not answer. Check your connection; this page tries again by itself.',
  401: 'You are signed out. Sign in and try again.',
  403: 'This is not yours to change.',
  404: 'It is not there any more.',
  409: 'Somebody was quicker. Load the page again.',
  413: 'That is too large.',
  429: 'That was a little too often. Wait a moment.',
  500: 'Something broke on the server. It has been logged; try again in a moment.',
  503: 'The server is busy or restarting. Try again in a moment.',
};

/** Call the API. Adds the access token when somebody is signed in; a token that just ran out is renewed once. */
export async function api(method, path, body, { signal, anonymous = false } = {}) {
  const access = anonymous ? null : await token();
  let response = await send(method, path, body, access, signal);
  if (response.status === 401 && access) {
    const fresh = await token({ not: access });
    if (fresh) response = await send(method, path, body, fresh, signal);
    if (response.status === 401) forget();
  }
  if (response.status === 204) return null;
  const text = await response.text();
  let data = null;
  try { data = text ? JSON.parse(text) : null; } catch { /* not ours: a proxy's page */ }
  if (response.ok) return data;
  throw problem(response, data);
}

async function send(method, path, body, access, signal) {
  const headers = { Accept: 'application/json' };
  if (access) headers.Authorization = `Bearer ${access}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  try {
    return await fetch(`/api/v1${path}`, {
      method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body), credentials: 'same-origin',
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(PLAIN[0]);
  }
}

function problem(response, data) {
  const retryAfter = Number(response.headers.get('Retry-After')) || data?.retry_after || 0;
  const { status } = response;
  const said = status < 500 ? data?.detail || data?.title : '';
  const message = sentence(said || PLAIN[status] || (status >= 500 ? PLAIN[500] : 'That did not work. Try again.'));
  return new ApiError(message, { status, code: data?.code ?? '', retryAfter, problem: data ?? {} });
}

export function sentence(text) {
  const trimmed = String(text).trim();
  if (!trimmed) return '';
  const first = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}
