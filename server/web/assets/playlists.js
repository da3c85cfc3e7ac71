// How hls.js loads playlists here: as it always does when the request may wait at the server, and by asking again
// every part when it may not (see seats.js). hls.js sees no difference: an answer comes when there is news.

const FRUITLESS = 4000; // ms without news after which hls.js may have the old playlist and judge for itself

/** A loader class over hls.js's own `Base`. seats: Seats; clock: ServerClock. */
export function playlistLoader(Base, seats, clock) {
  const seen = new Map(); // playlist address without directives → last text
  const order = []; // playlists in the order of their first blocking request: picture, then sound
  let part = 200;

  return class PlaylistLoader {
    constructor(config) {
      this.config = config;
      this.inner = new Base(config);
      this.timer = 0;
      this.done = false;
      this.started = 0;
    }

    get stats() { return this.inner.stats; }
    get context() { return this.inner.context ?? this.asked ?? null; }
    getCacheAge() { return this.inner.getCacheAge?.() ?? null; }
    getResponseHeader(name) { return this.inner.getResponseHeader?.(name) ?? null; }

    abort() { this.#stop(); this.inner.abort(); }
    destroy() { this.#stop(); this.inner.destroy(); }
    #stop() { this.done = true; clearTimeout(this.timer); }

    load(context, config, callbacks) {
      this.asked = context;
      this.started = Date.now();
      const url = new URL(context.url, location.href);
      const base = url.origin + url.pathname;
      const heard = (then) => (response, stats, of, network) => {
        if (this.done) return;
        const text = typeof response.data === 'string' ? response.data : '';
        const target = /PART-TARGET=([\d.]+)/.exec(text);
        if (target) part = Number(target[1]) * 1000;
        clock.learn(network?.getResponseHeader?.('Date'), this.asking, Date.now());
        then(text, response, stats, of, network);
        seen.set(base, text);
      };
      if (!url.searchParams.has('_HLS_msn')) {
        this.asking = Date.now();
        this.inner.load(context, config, { ...callbacks, onSuccess: heard((_, ...rest) => callbacks.onSuccess(...rest)) });
        return;
      }
      if (!order.includes(base)) order.push(base);
      if (seats.may(order.indexOf(base))) {
        // a waiting answer spends most of its time waiting, so it teaches the clock little; that is all right
        this.asking = Date.now();
        this.inner.load(context, config, { ...callbacks, onSuccess: heard((_, ...rest) => callbacks.onSuccess(...rest)) });
        return;
      }
      url.searchParams.delete('_HLS_msn');
      url.searchParams.delete('_HLS_part');
      this.#poll({ ...context, url: url.href }, context, config, callbacks, base, heard);
    }

    #poll(asked, context, config, callbacks, base, heard) {
      this.timer = setTimeout(() => {
        this.inner.destroy();
        this.inner = new Base(this.config);
        this.asking = Date.now();
        this.inner.load(asked, config, {
          ...callbacks,
          onSuccess: heard((text, response, stats, _, network) => {
            const old = text === seen.get(base) && Date.now() - this.started < FRUITLESS;
            if (old) this.#poll(asked, context, config, callbacks, base, heard);
            else callbacks.onSuccess(response, stats, context, network);
          }),
          onError: (error, _, network, stats) => callbacks.onError(error, context, network, stats),
          onTimeout: (stats, _, network) => callbacks.onTimeout(stats, context, network),
        });
      }, seen.has(base) && this.inner.stats.loading.start ? part / 2 : part * 0.8);
    }
  };
}
