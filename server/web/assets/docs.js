// The API page: Swagger UI over /openapi.json. Its bundle is a classic script and leaves SwaggerUIBundle on window.
import './header.js';
import { token } from './session.js';

const root = document.documentElement;
const dark = matchMedia('(prefers-color-scheme: dark)');
const dress = () => root.classList.toggle('dark-mode', root.dataset.theme ? root.dataset.theme === 'dark' : dark.matches);
new MutationObserver(dress).observe(root, { attributeFilter: ['data-theme'] });
dark.addEventListener('change', dress);
dress();

const place = document.getElementById('swagger');
if (window.SwaggerUIBundle) {
  window.SwaggerUIBundle({
    url: '/openapi.json',
    domNode: place,
    deepLinking: true,
    validatorUrl: null,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    requestInterceptor: async (request) => {
      const access = new URL(request.url, location.href).origin === location.origin ? await token() : null;
      if (access && !request.headers.Authorization) request.headers.Authorization = `Bearer ${access}`;
      return request;
    },
  });
} else {
  place.className = 'notice';
  place.textContent = 'The API page needs the npm package swagger-ui-dist: run “npm ci --ignore-scripts” in the project’s '
    + 'folder and start the server again. The description itself is at /openapi.json.';
}
