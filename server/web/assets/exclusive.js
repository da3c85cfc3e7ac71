// One window at a time. Web Locks where there are any; they need HTTPS or localhost, so for a phone that opens
// http://192.168.… the same with localStorage: less exact (two windows may both win in a race), good enough for
// what it guards here.

const ME = Math.random().toString(36).slice(2);
const STALE = 8000;

/** Run `work` while holding `name`; other windows of this profile wait. */
export function exclusively(name, work) {
  if (navigator.locks) return navigator.locks.request(name, work);
  return (async () => {
    const giveUp = Date.now() + STALE;
    while (!take(name) && Date.now() < giveUp) await new Promise((r) => setTimeout(r, 60));
    try {
      return await work();
    } finally {
      drop(name);
    }
  })();
}

/** Hold `name` until `released` resolves; `onHeld` is called when it is ours, at once or whenever it gets free. */
export function hold(name, onHeld, released) {
  if (navigator.locks) {
    const stop = new AbortController();
    released.then(() => stop.abort());
    navigator.locks.request(name, { signal: stop.signal }, () => { onHeld(); return released; }).catch(() => {});
    return;
  }
  let held = false;
  const beat = setInterval(() => {
    const mine = take(name);
    if (mine && !held) { held = true; onHeld(); }
  }, 1500);
  if (take(name)) { held = true; onHeld(); }
  const end = () => { clearInterval(beat); if (held) drop(name); held = false; };
  addEventListener('pagehide', end, { once: true });
  released.then(end);
}

function take(name) {
  try {
    const [owner, at] = (localStorage.getItem(name) ?? '').split(' ');
    if (owner && owner !== ME && Date.now() - Number(at) < STALE) return false;
    localStorage.setItem(name, `${ME} ${Date.now()}`);
    return true;
  } catch {
    return true;
  }
}

function drop(name) {
  try {
    if ((localStorage.getItem(name) ?? '').startsWith(ME)) localStorage.removeItem(name);
  } catch { /* nothing was kept */ }
}
