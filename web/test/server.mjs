// A static server with a strict Content-Security-Policy. `serve({ "/path/": folder })` gives folders; `special` may
// answer instead, with a file's content or `{ status, headers, body }`.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { Readable } from "node:stream";

const TYPES = {
  ".css": "text/css",
  ".flac": "audio/flac",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".wav": "audio/wav",
};

const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; " +
  "style-src 'self'; img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'";

const BLANK = "<!doctype html><html lang=en><meta charset=utf-8><title>test</title><link rel=icon href=data:,><body>";

export async function serve(folders, special = async () => null) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    const path = decodeURIComponent(url.pathname);
    const reply = (status, type, body, headers = {}) => {
      response.writeHead(status, {
        "Content-Type": type,
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-store",
        ...headers,
      });
      if (body instanceof Readable) body.pipe(response);
      else response.end(body);
    };
    try {
      if (path === "/") return reply(200, TYPES[".html"], BLANK);
      const given = await special(path, url);
      if (given?.headers) return reply(given.status ?? 200, TYPES[extname(path)] ?? "text/plain", given.body, given.headers);
      if (given !== null) return reply(200, TYPES[extname(path)] ?? "application/octet-stream", given);
      const prefix = Object.keys(folders).find((folder) => path.startsWith(folder));
      const file = prefix && join(folders[prefix], normalize("/" + path.slice(prefix.length)));
      if (!file || !(await stat(file).catch(() => null))?.isFile()) return reply(404, "text/plain", "not found");
      reply(200, TYPES[extname(file)] ?? "application/octet-stream", createReadStream(file));
    } catch (error) {
      reply(500, "text/plain", error.stack);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://localhost:${server.address().port}`,
    close: () => new Promise((resolve) => (server.closeAllConnections(), server.close(resolve))),
  };
}
