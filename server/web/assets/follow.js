// Follow somebody, or no more: a button with how many do.
import { api } from './api.js';
import { h, setText } from './dom.js';
import { count as inWords } from './format.js';
import { onChange, user } from './session.js';
import { openSignIn } from './signin.js';

/** The button for this person, to be put into the page; `onFollow` is called when one follows, or no more. */
export function followButton(person, onFollow = () => {}) {
  const count = h('span', { class: 'follow-count' });
  const label = h('span');
  const button = h('button', { type: 'button', class: 'button small follow', hidden: true, onclick: press }, label, count);
  const problem = h('span', { class: 'fact', role: 'status' });
  let state = null;

  function paint() {
    const own = user()?.id === person.id;
    button.hidden = !state;
    button.disabled = own;
    button.classList.toggle('following', Boolean(state?.since));
    button.setAttribute('aria-pressed', String(Boolean(state?.since)));
    setText(label, own ? 'Followers' : state?.since ? 'Following' : 'Follow');
    setText(count, inWords(state?.followers ?? 0));
    button.setAttribute('aria-label', `${label.textContent}: ${state?.followers ?? 0} followers`);
  }

  async function look() {
    try {
      state = await api('GET', `/follows/${person.id}`);
    } catch {
      state = null; // the page is about the picture: no button, no word
    }
    paint();
  }

  async function press() {
    if (!user()) {
      openSignIn();
      return;
    }
    button.disabled = true;
    setText(problem, '');
    try {
      if (state.since) await api('DELETE', `/follows/unfollow?user_id=${encodeURIComponent(person.id)}`);
      else await api('POST', '/follows/follow', { user_id: person.id });
      onFollow();
    } catch (error) {
      setText(problem, error.message);
    }
    await look();
  }

  onChange(look);
  look();
  return h('span', { class: 'follow-box' }, button, problem);
}
