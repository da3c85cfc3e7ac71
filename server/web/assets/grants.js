// Addresses of what is neither public nor unlisted are good for minutes: the part after the id is a grant. Playlists
// name what is in them relative to themselves, so a new grant is put in the place of the old one in every request.
const GRANTED = /^\/(?:live|videos)\/[^/]+\/([^/]+)\//;
const grantOf = (url) => GRANTED.exec(new URL(url, location.href).pathname)?.[1] ?? null;

/** Keeps an address good. ask: () => Promise<{hls, renewIn}>, renewIn in s or null. Dies with `close`. */
export class Grant {
  constructor(url, ask) {
    this.ask = ask;
    this.current = grantOf(url);
    this.asking = null;
  }

  get needed() { return Boolean(this.ask && this.current && this.current !== 'p'); }

  start(renewIn) {
    if (!this.needed || !renewIn || this.closed) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.renew(), renewIn * 1000);
  }

  /** Ask for a new one now; whether there is one. Those who ask at once ask once. */
  renew() {
    this.asking ??= this.#renew().finally(() => { this.asking = null; });
    return this.asking;
  }

  async #renew() {
    const fresh = await Promise.resolve(this.ask()).catch(() => null);
    if (this.closed || !fresh?.hls) {
      this.start(10);
      return false;
    }
    this.current = grantOf(fresh.hls);
    this.start(fresh.renewIn);
    return true;
  }

  /** The address with the grant of now. */
  of(url) {
    const old = grantOf(url);
    return this.needed && old && old !== this.current ? url.replace(`/${old}/`, `/${this.current}/`) : url;
  }

  close() { this.closed = true; clearTimeout(this.timer); }
}
