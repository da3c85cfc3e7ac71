// What happened to a broadcast, in the words of the person who sends it. The server's own words stay in the tooltip.
import { sentence } from './api.js';
import { codec } from './format.js';

const KINDS = {
  connected: 'Connected', live: 'On air', tracks: 'Format', interrupted: 'Interrupted', ended: 'Ended',
  refused: 'Refused', left: 'Left early', target: 'Elsewhere',
};
const ENCODERS = [[/obs/i, 'OBS'], [/lavf|ffmpeg/i, 'ffmpeg'], [/gst|gstreamer/i, 'GStreamer'], [/larix/i, 'Larix'], [/wirecast/i, 'Wirecast'], [/xsplit/i, 'XSplit'], [/vmix/i, 'vMix']];

/** → {kind, text, raw}: what to show, and the server's words. */
export function inWords({ kind, detail }) {
  const raw = typeof detail === 'string' ? detail : '';
  return { kind: KINDS[kind] ?? sentence(String(kind).replaceAll('_', ' ')).replace(/\.$/, ''), text: say(kind, raw), raw };
}

function say(kind, raw) {
  if (kind === 'connected') return encoder(raw);
  if (kind === 'live' || kind === 'tracks') return format(raw);
  return sentence(raw.replaceAll('the publisher', 'your encoder').replaceAll('the encoder', 'your encoder'));
}

/** "FMLE/3.0 (compatible; Lavf60.16.100) by rtmp" → "ffmpeg connected over RTMP." */
function encoder(raw) {
  const [, name, protocol] = /^(.*) by (\S+)$/.exec(raw) ?? [];
  if (!name) return sentence(raw);
  const known = ENCODERS.find(([pattern]) => pattern.test(name))?.[1] ?? 'Your encoder';
  return `${known} connected over ${protocol.toUpperCase()}.`;
}

/** "avc1.64001f 1280x720 30 fps, mp4a.40.2 44100 Hz" → "H.264 1280 × 720, 30 fps; AAC 44.1 kHz" */
function format(raw) {
  return raw.split(', ').map((track) => {
    const video = /^(\S+) (\d+)x(\d+)(?: ([\d.]+) fps)?$/.exec(track);
    if (video) return `${codec(video[1])} ${video[2]} × ${video[3]}${video[4] ? `, ${Number(Number(video[4]).toFixed(2))} fps` : ''}`;
    const audio = /^(\S+) (\d+) Hz$/.exec(track);
    return audio ? `${codec(audio[1])} ${audio[2] / 1000} kHz` : track;
  }).join('; ');
}
