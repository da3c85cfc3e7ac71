// Runs before the first paint, so that a chosen theme never flashes. Not a module: modules run too late for that.
(() => {
  try {
    const chosen = localStorage.getItem('sf.theme');
    if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
  } catch { /* storage may be forbidden; the system's choice holds */ }
})();
