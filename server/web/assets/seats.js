// Who may block. A low-latency player keeps one request waiting at the server for each playlist (picture and sound).
// Over HTTP/1.1 a browser opens six connections to a host, shared by all windows of a profile: three players would
// hold them all, and nothing else would get through. So the windows share four seats. A player with a seat blocks; one
// without asks again every part instead, a little later and a little more often. HTTP/2 and 3 need no seats.
import { hold } from './exclusive.js';

const SEATS = 4;

export class Seats {
  constructor() {
    this.held = 0;
    this.unlimited = !oldProtocol();
    this.released = new Promise((resolve) => { this.release = resolve; });
  }

  /** Ask for `wanted` seats; they come now, or when another window closes. `change` is called with each. */
  take(wanted, change) {
    if (this.unlimited) return;
    const taking = new Set();
    for (let seat = 0; seat < SEATS; seat++) {
      // ask for all, keep the first `wanted`: whichever becomes free first is as good as another
      let give;
      const until = new Promise((resolve) => { give = resolve; });
      this.released.then(give);
      taking.add(give);
      hold(`sf.seat.${seat}`, () => {
        if (this.held >= wanted) return give();
        this.held += 1;
        taking.delete(give);
        change?.(this.held);
        if (this.held === wanted) taking.forEach((other) => other());
        return undefined;
      }, until);
    }
  }

  /** May the nth waiting request (0: picture, 1: sound) wait at the server? */
  may(index) { return this.unlimited || index < this.held; }
}

function oldProtocol() {
  const entry = performance.getEntriesByType('navigation')[0];
  return !entry || !/^h[23]/.test(entry.nextHopProtocol);
}
