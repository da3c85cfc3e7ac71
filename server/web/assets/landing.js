// Where links of mails lead, and where a sign-in elsewhere comes back to. What opens something stands in the fragment:
// it is taken out of the address at once, so that no history, bookmark or shared screen keeps it.
const take = () => {
  const given = new URLSearchParams(location.hash.slice(1));
  history.replaceState(null, '', location.pathname);
  return given;
};
const first = take();

const { land } = await import('./landing-pages.js');
const page = location.pathname.split('/')[2];
land(page, first);
// another link for the same page, opened in the same window, does not load it again
addEventListener('hashchange', () => { if (location.hash.includes('=')) land(page, take()); });
