// What WHIP and WHEP have in common (RFC 9725): one offer by POST, one answer, a session to DELETE. The server takes
// checks from anywhere and needs no candidates of ours, so nothing is trickled: one round trip, and media flows.
import { problem } from './api.js';
import { token } from './session.js';

const ANSWER_WITHIN = 10_000; // ms

/** Offer what `pc` has by POST; resolves with the session's address once the answer is in force. clock: to be set right. */
export async function offer(pc, url, clock = null) {
  const description = await pc.createOffer();
  const asked = Date.now();
  const response = await send('POST', url, { body: description.sdp, type: 'application/sdp', signal: AbortSignal.timeout(ANSWER_WITHIN) });
  clock?.learn(response.headers.get('Date'), asked, Date.now());
  if (!response.ok) throw problem(response, await response.json().catch(() => null));
  const answer = await response.text();
  const session = new URL(response.headers.get('Location'), response.url).href;
  try {
    const iceServers = servers(response.headers.get('Link'));
    if (iceServers.length) pc.setConfiguration({ iceServers });
    await pc.setLocalDescription(description); // gathering starts here, knowing the relays
    await pc.setRemoteDescription({ type: 'answer', sdp: answer });
  } catch (error) {
    leave(session);
    throw error;
  }
  return session;
}

/** The session is over; also while the page goes away. */
export function leave(session) {
  if (session) send('DELETE', session, { keepalive: true }).catch(() => {});
}

async function send(method, url, { body, type, signal, keepalive } = {}) {
  const headers = {};
  const access = await token();
  if (access) headers.Authorization = `Bearer ${access}`;
  if (type) headers['Content-Type'] = type;
  return fetch(url, { method, headers, body, signal, keepalive, credentials: 'same-origin' });
}

/** Link headers with rel="ice-server" → RTCIceServer[] (RFC 9725, 4.6). */
export function servers(link) {
  return [...(link ?? '').matchAll(/<([^>]+)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^,;"]*))*)/g)].flatMap(([, urls, rest]) => {
    const values = Object.fromEntries([...rest.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^,;"\s]*))/g)]
      .map(([, name, quoted, bare]) => [name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? bare]));
    if (values.rel !== 'ice-server') return [];
    return [{ urls, ...(values.username && { username: values.username }), ...(values.credential && { credential: values.credential }) }];
  });
}

/** The first report of a kind, by its type and anything else that must match. */
export function report(stats, type, match = {}) {
  for (const entry of stats.values()) {
    if (entry.type === type && Object.entries(match).every(([name, value]) => entry[name] === value)) return entry;
  }
  return null;
}
