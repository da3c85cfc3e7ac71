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

/** Call the API; the answer's data. See `call`. */
export async function api(method, path, body, options) {
  return (await call(method, path, body, options)).data;
}

/**
 * Call the API: {data, etag}. Adds the access token when somebody is signed in; a token that just ran out is renewed
 * once. When the route wants the person to show again who is there, that is asked, and the call goes on.
 */
export async function call(method, path, body, { signal, anonymous = false, ifMatch } = {}) {
  const response = await fetched(method, path, body, { signal, anonymous, ifMatch });
  return { data: await read(response), etag: response.headers.get('ETag') };
}

/** The same for what is no JSON: the response as it is, when it went well. */
export async function fetched(method, path, body, { signal, anonymous = false, ifMatch } = {}) {
  const once = async (access) => {
    const response = await send(method, path, body, access, signal, ifMatch);
    if (response.ok) return { response };
    return { response, problem: problem(response, await parsed(response)) };
  };
  const access = anonymous ? null : await token();
  let outcome = await once(access);
  if (outcome.response.status === 401 && access && OUR_TOKEN.has(outcome.problem.code)) {
    const fresh = await token({ not: access });
    if (fresh) outcome = await once(fresh);
    if (outcome.response.status === 401 && OUR_TOKEN.has(outcome.problem.code)) forget();
  }
  if (outcome.problem?.code === 'step_up_required') {
    const { stepUp } = await import('./stepup.js');
    if (!await stepUp()) throw new ApiError('Nothing was done, because you did not confirm that it is you.', { code: 'not_confirmed' });
    outcome = await once(await token());
  }
  if (outcome.problem) throw outcome.problem;
  return outcome.response;
}

// other 401s are about what was sent, as a wrong code
const OUR_TOKEN = new Set(['unauthorized', '']);

async function read(response) {
  return response.status === 204 ? null : parsed(response);
}

async function parsed(response) {
  const text = await response.text();
  try { return text ? JSON.parse(text) : null; } catch { return null; /* not ours: a proxy's page */ }
}

async function send(method, path, body, access, signal, ifMatch) {
  const headers = { Accept: 'application/json' };
  if (ifMatch) headers['If-Match'] = ifMatch;
  if (access) headers.Authorization = `Bearer ${access}`;
  const file = body instanceof Blob; // goes as it is
  if (body !== undefined) headers['Content-Type'] = file ? body.type || 'application/octet-stream' : 'application/json';
  try {
    return await fetch(`/api/v1${path}`, {
      method, headers, signal, body: body === undefined || file ? body : JSON.stringify(body), credentials: 'same-origin',
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(PLAIN[0]);
  }
}

export function problem(response, data) {
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
