// A file of the API as a download: tokens travel in a header, so the browser cannot fetch it by itself.
import { fetched } from './api.js';
import { save } from './section.js';

const LARGE = 200 * 1024 * 1024;

/** onProgress: share of the file that has come, or null when its size is not known. Throws ApiError. */
export async function download(method, path, body, { anonymous = false, onProgress = () => {} } = {}) {
  const response = await fetched(method, path, body, { anonymous });
  const total = Number(response.headers.get('Content-Length')) || 0;
  const name = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') ?? '')?.[1] ?? 'archive.zip';
  let come = 0;
  const counted = response.body.pipeThrough(new TransformStream({
    transform(piece, next) {
      come += piece.byteLength;
      onProgress(total ? come / total : null);
      next.enqueue(piece);
    },
  }));
  const picked = total > LARGE && window.showSaveFilePicker ? await pick(name) : null;
  if (picked) await counted.pipeTo(await picked.createWritable()); // as large as it is, never in memory
  else save(await new Response(counted).blob(), name);
}

async function pick(name) {
  try { return await window.showSaveFilePicker({ suggestedName: name }); } catch { return null; }
}
