// Numbers and times in words that people use.

export function clockTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function liveFor(moment, now = Date.now()) {
  const minutes = Math.floor((now - Date.parse(moment)) / 60_000);
  if (minutes < 1) return 'started just now';
  if (minutes < 60) return `live for ${minutes} min`;
  if (minutes < 1440) return `live for ${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `live for ${Math.floor(minutes / 1440)} d`;
}

const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
export const count = (number) => compact.format(number);
export const viewers = (number) => `${count(number)} watching`;

export function bitrate(bits) {
  if (!bits) return '–';
  return bits >= 1e6 ? `${(bits / 1e6).toFixed(bits >= 1e7 ? 0 : 1)} Mbit/s` : `${Math.round(bits / 1e3)} kbit/s`;
}

const CODECS = { avc1: 'H.264', avc3: 'H.264', hvc1: 'HEVC', hev1: 'HEVC', av01: 'AV1', vp09: 'VP9', mp4a: 'AAC', opus: 'Opus' };
/** What people call a codec: avc1.64001f is H.264. */
export const codec = (text) => CODECS[String(text).split('.')[0].toLowerCase()] ?? String(text);

export const day = (moment) => new Date(moment).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
export const time = (moment) => new Date(moment).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });

/** A colour of one's own, steady over visits: the same name has the same hue everywhere. */
export function hue(text) {
  let hash = 7;
  for (const letter of String(text)) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return hash % 360;
}

const far = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const STEPS = [[60, 'second'], [60, 'minute'], [24, 'hour'], [7, 'day'], [4.35, 'week'], [12, 'month'], [Infinity, 'year']];
/** "3 days ago"; "in 2 hours". */
export function ago(moment, now = Date.now()) {
  let away = (Date.parse(moment) - now) / 1000;
  if (Number.isNaN(away)) return '';
  for (const [size, unit] of STEPS) {
    if (Math.abs(away) < size) return far.format(Math.round(away), unit);
    away /= size;
  }
  return '';
}

/** 12345678 → "12.3 MB" */
export function bytes(number) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  let left = number;
  while (left >= 1000 && at < units.length - 1) { left /= 1000; at += 1; }
  return `${left.toFixed(at && left < 100 ? 1 : 0)} ${units[at]}`;
}
