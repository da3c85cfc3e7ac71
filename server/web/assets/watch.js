// One broadcast: its picture, what it is, and the chat beside it; from before it starts until after it has ended.
import './header.js';
import { api } from './api.js';
import { Chat } from './chat.js';
import { $, setText } from './dom.js';
import { followButton } from './follow.js';
import { day, liveFor, viewers as viewersInWords } from './format.js';
import { Player } from './player.js';
import { onChange } from './session.js';
import { Socket } from './socket.js';

const LOOK_AGAIN = 10_000;
const VIDEO_WITHIN = 600_000;
const id = decodeURIComponent(location.pathname.split('/')[2] ?? '');
const player = new Player($('player'));
const socket = new Socket();
let broadcast = null;
let chat = null;
let replay = null;
let playing = ''; // '' | 'live' | 'recording'
let sawLive = false;
let saidEnded = false;
let looking = null;
let joined = null;

const INTERRUPTED = 'The stream was interrupted. It continues when the broadcaster is back.';
const STATES = { created: 'Not live yet', live: 'Live', interrupted: 'Back soon', ended: 'Recording' };

function paint() {
  const { title, description, owner, state, started_at: started } = broadcast;
  document.title = `${title || 'Untitled'} – Social Flow`;
  setText($('title'), title || 'Untitled');
  setText($('owner'), owner?.username ?? '');
  if (owner && !$('follow').firstChild) $('follow').append(followButton(owner));
  setText($('description'), description ?? '');
  $('description').hidden = !description;
  $('state').hidden = false;
  $('state').className = `badge ${state}`;
  setText($('state'), state === 'ended' && playing !== 'recording' ? 'Ended' : STATES[state]);
  const times = started && (state === 'ended' ? `Streamed ${day(started)}` : liveFor(started));
  $('since').hidden = !times;
  setText($('since'), times || '');
  $('as-video').hidden = !broadcast.video;
  if (broadcast.video) $('as-video').href = `/video/${broadcast.video}`;
  $('clip').hidden = !playing;
  paintViewers(broadcast.viewers ?? 0);
}

function paintViewers(number) {
  broadcast.viewers = number;
  $('viewers').hidden = broadcast.state === 'ended' || broadcast.state === 'created';
  setText($('viewers'), viewersInWords(number));
}

async function look() {
  clearTimeout(looking);
  try {
    broadcast = await api('GET', `/live/${id}`);
  } catch (error) {
    if (error.status === 404 || error.status === 400 || error.status === 422) return missing();
    if (!broadcast) player.say('This does not load', error.message, { text: 'Try again', act: look });
    else if (playing === 'live' && player.video.readyState < 3 && !(error.status >= 400 && error.status < 500)) {
      $('state').className = 'badge interrupted';
      setText($('state'), 'Connecting…');
    }
    looking = setTimeout(look, LOOK_AGAIN / 2);
    return undefined;
  }
  paint();
  await act();
  // the socket tells changes at once; this is for when it cannot
  const wait = socket.ready ? 3 * LOOK_AGAIN : LOOK_AGAIN / 2;
  // of one that has just ended a video is being made
  const more = !broadcast.video && Date.now() - Date.parse(broadcast.ended_at) < VIDEO_WITHIN;
  if (broadcast.state !== 'ended' || playing !== 'recording' || more) looking = setTimeout(look, wait);
  return undefined;
}

function missing() {
  document.title = 'Not found – Social Flow';
  setText($('title'), 'There is no such broadcast');
  $('owner').replaceChildren();
  player.stop();
  player.say('There is no such broadcast', 'It was deleted, or the address is not complete.', { text: 'See what is live', act: () => { location.href = '/'; } });
  $('main').classList.add('alone');
}

async function act() {
  if (playing !== 'recording' && (broadcast.state !== 'ended' || sawLive)) {
    // the socket only after the cookie of the answer: else a new visitor counts by the address too, as two
    await join();
    if (playing !== 'recording') talk();
  }
  const { state, recording } = broadcast;
  if (state === 'created') {
    player.say('Not live yet', 'The picture appears here by itself as soon as it starts.');
  } else if (state === 'live') {
    player.note('');
    if (playing !== 'live') await watchLive();
    else { player.say(''); player.engine?.expectSilence?.(false); player.engine?.nudge(); }
  } else if (state === 'interrupted') {
    if (playing !== 'live') await watchLive();
    interrupted();
  } else if (sawLive && playing !== 'recording') {
    ended(recording);
  } else if (!playing) {
    if (recording) await watchRecording();
    else player.say('This broadcast has ended', 'It was not recorded.', { text: 'See what is live', act: () => { location.href = '/'; } });
  }
}

/** Once for a page; the answer, or null where it failed this time: watching matters more than being counted. */
function join() {
  joined ??= api('POST', `/live/${id}/join`, {}).catch(() => { joined = null; return null; });
  return joined;
}

function talk() {
  if (chat || !broadcast.channel) return;
  chat = new Chat($('chat'), socket, broadcast.channel, {
    owner: broadcast.owner,
    mediaTime: () => (playing === 'live' ? player.mediaTime : null),
    onViewers: paintViewers,
    onState: (data) => heard(data?.state),
  });
}

/** What the socket says is shown at once; the details are asked for. */
function heard(state) {
  if (!state || state === broadcast.state) return;
  broadcast.state = state;
  paint();
  if (state === 'interrupted') interrupted();
  else if (state === 'ended' && playing === 'live') over();
  // everybody hears it in the same moment: do not all ask in the same moment
  clearTimeout(looking);
  looking = setTimeout(look, Math.random() * 400);
}

function interrupted() {
  player.note(INTERRUPTED);
  player.engine?.expectSilence?.(true);
}

/** It has ended: said at once, over the last second that is still on its way. */
function over() {
  player.note('The broadcast has ended.');
  player.still = true;
  chat?.finish();
}

async function watchLive() {
  playing = 'live';
  $('clip').hidden = false;
  sawLive = true;
  const first = await join();
  const playback = first?.playback ?? broadcast.playback;
  const renew = async () => {
    const again = await api('POST', `/live/${id}/join`, {});
    return { hls: again.playback.hls, renewIn: again.renew_in };
  };
  await player.open(playback.hls, {
    live: true, whep: playback.whep, gone: () => setTimeout(look, 1000), renew, renewIn: first?.renew_in,
  });
}

function ended(recording) {
  if (saidEnded) return;
  saidEnded = true;
  over();
  let offered = false;
  const offer = () => {
    if (offered || playing === 'recording') return;
    offered = true;
    player.note('');
    player.say('The broadcast has ended', recording ? 'Thank you for watching.' : 'It was not recorded.', recording
      ? { text: 'Watch the recording', act: watchRecording } : { text: 'See what is live', act: () => { location.href = '/'; } });
  };
  // let the last second, already here, be seen; a picture that stands is no longer worth waiting for
  const { video } = player;
  if (video.ended || video.paused || video.readyState < 3 || !player.engine) offer();
  else {
    for (const type of ['ended', 'waiting', 'stalled', 'pause']) video.addEventListener(type, offer, { once: true });
    setTimeout(offer, 3000);
  }
  playing = playing || 'over';
  if (!recording) return;
  clearTimeout(looking);
}

async function watchRecording() {
  const renew = async () => ({ hls: (await api('GET', `/live/${id}`)).recording?.hls });
  playing = 'recording';
  $('clip').hidden = false;
  player.note('');
  paint();
  await player.open(broadcast.recording.hls, { live: false, renew, gone: () => player.say('The recording is gone', 'It was deleted.') });
  chat?.close();
  chat = null;
  const { Replay } = await import('./replay.js'); // not with what is on air
  replay ??= new Replay($('chat'), socket, broadcast, () => player.mediaTime);
}

onChange(() => { if (broadcast) look(); });
let lost = false;
socket.addEventListener('status', ({ detail }) => {
  if (!broadcast || broadcast.state === 'ended' || (detail.connected && !lost)) return;
  lost = !detail.connected;
  // what the socket could not tell meanwhile; not everybody in the same moment
  clearTimeout(looking);
  looking = setTimeout(look, (lost ? 1500 : 0) + Math.random() * 1500);
});
setInterval(() => { if (broadcast && !document.hidden) paint(); }, 30_000);
addEventListener('pagehide', () => player.engine?.seats?.release());
addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
look();

$('clip').addEventListener('click', async () => {
  const { openClip } = await import('./clip.js');
  openClip({ kind: 'live', id, player, title: broadcast?.title });
});
