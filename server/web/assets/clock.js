// The server's clock, learnt from the Date headers of what is loaded anyway. Each answer says: the server's time lies
// in [Date, Date + 1 s) at some moment between asking and having it. Many such intervals meet in a narrow one. A
// device whose clock is right within what is known is believed, so a good clock is never made worse.

export class ServerClock {
  constructor() {
    this.low = -Infinity; // bounds of (server − here), ms
    this.high = Infinity;
  }

  learn(dateHeader, asked, received) {
    const said = Date.parse(dateHeader ?? '');
    if (Number.isNaN(said)) return;
    const low = said - received;
    const high = said + 1000 - asked;
    this.low = Math.max(this.low, low);
    this.high = Math.min(this.high, high);
    if (this.low > this.high) { // a clock was set, or an answer came from a cache: begin again
      this.low = low;
      this.high = high;
    }
  }

  /** Milliseconds to add to this device's clock. */
  get offset() {
    if (this.low > 0) return this.low;
    if (this.high < 0) return this.high;
    return 0;
  }

  now() { return Date.now() + this.offset; }
}
