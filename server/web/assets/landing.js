// Where links of mails lead, and where a sign-in elsewhere comes back to. What opens something stands in the fragment:
// it is taken out of the address at once, so that no history, bookmark or shared screen keeps it.
const given = new URLSearchParams(location.hash.slice(1));
history.replaceState(null, '', location.pathname);

const { land } = await import('./landing-pages.js');
land(location.pathname.split('/')[2], given);
