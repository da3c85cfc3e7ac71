// Accounts elsewhere that open this one.
import { api } from './api.js';
import { confirm, h, toast } from './dom.js';
import { day } from './format.js';
import { action, loaded, panel } from './section.js';
import { listProviders } from './signin.js';

export function linksPanel() {
  const body = loaded(async () => {
    const [{ items }, providers] = await Promise.all([api('GET', '/auth/oauth/links'), listProviders()]);
    return { items, providers };
  }, ({ items, providers }) => {
    const free = providers.filter((one) => !items.some((link) => link.provider === one.key));
    if (!items.length && !free.length) return h('p', { class: 'muted' }, 'This server offers none.');
    return [
      items.length > 0 && h('ul', { class: 'rows' }, ...items.map((link) => row(link, () => body.load({ quietly: true })))),
      ...free.map((provider) => {
        const link = action(`Link ${provider.title}`, async () => {
          try { sessionStorage.setItem('sf.after', '/account#security'); } catch { /* the landing page knows the way */ }
          const { url } = await api('POST', `/auth/oauth/${encodeURIComponent(provider.key)}/link`, { redirect: '/account#security' });
          location.assign(url);
        });
        return h('div', {}, link.button, link.trouble);
      }),
    ];
  });
  return panel('Linked sign-ins', 'Accounts elsewhere that open this one.', body.place);
}

function row(link, again) {
  const remove = action('Unlink', async () => {
    if (!await confirm(`Unlink ${link.title}?`, 'It opens this account no more, and the other sessions that it has opened end.', 'Unlink')) return;
    await api('DELETE', `/auth/oauth/${encodeURIComponent(link.provider)}`);
    toast(`${link.title} is unlinked.`);
    again();
  }, { kind: 'danger', label: `Unlink ${link.title}` });
  return h('li', {}, h('div', { class: 'row-line' },
    h('div', { class: 'row-text' }, h('strong', {}, link.title), h('small', { class: 'muted' }, [link.name, link.email].filter(Boolean).join(' · ')), h('small', { class: 'muted' }, `Linked ${day(link.created_at)}, last used ${day(link.last_used_at)}`)),
    remove.button), remove.trouble);
}
