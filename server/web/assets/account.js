// Register and sign in: one form, in a dialog or in the studio's page.
import { api, sentence } from './api.js';
import { h, setText } from './dom.js';
import { begin } from './session.js';

/** A form element; `done(user)` is called once somebody is signed in. */
export function signInForm({ mode = 'login', done }) {
  let current = mode;
  const heading = h('h2', { id: 'account-title' });
  const trouble = h('p', { class: 'notice bad', role: 'alert', hidden: true });
  const email = field('email', 'E-mail', { type: 'email', autocomplete: 'email', required: true, maxlength: 254 });
  const name = field('username', 'Username', {
    autocomplete: 'username', required: true, minlength: 3, maxlength: 30, pattern: '[A-Za-z0-9_.\\-]+', autocapitalize: 'none',
    spellcheck: 'false',
  }, 'Everybody sees it. Letters, digits, . _ and -');
  const password = field('password', 'Password', { type: 'password', required: true, maxlength: 200 });
  const submit = h('button', { class: 'button primary wide', type: 'submit' });
  const other = h('button', { class: 'link', type: 'button', onclick: () => switchTo(current === 'login' ? 'register' : 'login') });
  const form = h('form', { class: 'account-form', 'aria-labelledby': 'account-title', novalidate: true },
    heading, email.row, name.row, password.row, submit, trouble, h('p', { class: 'center muted' }, other));

  function switchTo(next) {
    current = next;
    const registering = next === 'register';
    setText(heading, registering ? 'Create your account' : 'Welcome back');
    setText(submit, registering ? 'Create account' : 'Sign in');
    setText(other, registering ? 'I have an account: sign in' : 'New here? Create an account');
    setText(email.label, registering ? 'E-mail' : 'E-mail or username');
    email.input.type = registering ? 'email' : 'text';
    email.input.autocomplete = registering ? 'email' : 'username';
    name.row.hidden = !registering;
    name.input.disabled = !registering;
    password.input.autocomplete = registering ? 'new-password' : 'current-password';
    setText(password.hint, registering ? 'At least 10 characters; a sentence is good.' : '');
    trouble.hidden = true;
    for (const one of [email, name, password]) one.say('');
  }

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const registering = current === 'register';
    trouble.hidden = true;
    const checks = [
      [email, !email.input.value.trim() ? 'Fill this in.' : registering && email.input.validity.typeMismatch ? 'An address looks like name@example.org.' : ''],
      [name, registering && !name.input.checkValidity() ? '3 to 30 letters, digits, . _ or -, please.' : ''],
      [password, !password.input.value ? 'Fill this in.' : registering && password.input.value.length < 10 ? 'Ten characters at least.' : ''],
    ];
    for (const [one, text] of checks) one.say(text);
    const wrong = checks.find(([, text]) => text);
    if (wrong) return wrong[0].input.focus();
    submit.disabled = true;
    submit.setAttribute('aria-busy', 'true');
    try {
      const answer = registering
        ? await api('POST', '/auth/register', {
          email: email.input.value.trim(), username: name.input.value.trim(), password: password.input.value,
        }, { anonymous: true })
        : await api('POST', '/auth/login', { email: email.input.value.trim(), password: password.input.value }, { anonymous: true });
      begin(answer);
      done?.(answer.user);
    } catch (error) {
      if (!atField(error, registering)) {
        setText(trouble, error.message);
        trouble.hidden = false;
      }
    } finally {
      submit.disabled = false;
      submit.removeAttribute('aria-busy');
    }
  });

  /** Say it at the field that it is about; false when it is about none. */
  function atField(error, registering) {
    const fields = { email, username: name, password };
    const found = [];
    if (!registering && error.status === 401) found.push([password, 'E-mail, username or password is wrong.']);
    else if (error.code === 'username_taken') found.push([name, 'This username is taken; choose another.']);
    else if (error.code === 'email_taken') found.push([email, error.message]);
    else {
      for (const { path, message } of error.problem?.errors ?? []) {
        const one = fields[String(path).replace(/^\$\./, '')];
        if (one) found.push([one, sentence(message)]);
      }
    }
    for (const [one, text] of found) one.say(text);
    found[0]?.[0].input.focus();
    return found.length > 0;
  }

  switchTo(mode);
  return form;
}

let fieldNumber = 0;

/** A labelled input with a hint and a place for what is wrong with it. */
export function field(name, text, attributes = {}, hintText = '', tag = 'input') {
  const id = `field-${name}-${++fieldNumber}`;
  const input = h(tag, { id, name, 'aria-describedby': `${id}-hint ${id}-wrong`, ...attributes });
  const label = h('label', { for: id }, text);
  const hint = h('span', { class: 'hint', id: `${id}-hint` }, hintText);
  const wrong = h('span', { class: 'wrong', id: `${id}-wrong` });
  const row = h('div', { class: 'field' }, label, input, h('div', { class: 'field-note' }, hint, wrong));
  const say = (message) => {
    setText(wrong, message);
    if (message) input.setAttribute('aria-invalid', 'true'); else input.removeAttribute('aria-invalid');
  };
  input.addEventListener('input', () => say(''));
  return { row, input, label, hint, say };
}

/** The form in a dialog, on top of whatever is playing. */
export function openSignIn(mode = 'login', done = null) {
  const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': 'account-title' });
  dialog.append(
    h('button', { class: 'dialog-close icon-button', type: 'button', 'aria-label': 'Close', onclick: () => dialog.close() }, '×'),
    signInForm({ mode, done: (me) => { dialog.close(); done?.(me); } }));
  dialog.addEventListener('close', () => dialog.remove());
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
}
