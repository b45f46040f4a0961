// Downloads of the worker: none waits for ever, and what is not the file that was asked for is refused by its name.

import { after } from "./errors.js";
import { HEAD, mistaken } from "./content.js";

/** What a status says, with the remedy. */
function refusal(status) {
  if (status === 401 || status === 403) return "check the permission, or the signature in the address";
  if (status === 404 || status === 410) return "it is not there; give the address of a folder that holds it";
  if (status === 408 || status === 429 || status >= 500) return "the server has trouble; try again later";
  return "check the address";
}

/**
 * Fetches `address` and hands its pieces to `take` as they come. `failed` makes an error of a sentence, `kind` is what
 * the content should be, and `opened` sees the response before it is read.
 */
export async function receive(address, { kind, stallMs, failed, take, opened }) {
  // A query may hold a secret, which is not for messages.
  const shown = address.href.replace(/[?#].*$/s, "");
  const name = address.pathname.split("/").pop();
  const stop = new AbortController();
  let timer;
  const progress = () => {
    clearTimeout(timer);
    timer = after(stallMs, () => stop.abort());
  };
  /** What the network's part of the work gives, or an error that names the file. */
  const coming = async (work) => {
    try {
      return await work();
    } catch (error) {
      const stalled = `no byte came for ${stallMs / 1000} s; check the network and the server, and try again`;
      const reason = stop.signal.aborted ? stalled : `${error.message}; check the address and the network`;
      throw failed(`${name}: the download from ${shown} broke off: ${reason}`);
    }
  };
  progress();
  try {
    const response = await coming(() => fetch(address, { signal: stop.signal }));
    if (!response.ok) {
      throw failed(`${name}: ${shown} answers ${response.status}: ${refusal(response.status)}`);
    }
    opened?.(response);
    const reader = response.body?.getReader();
    let head = new Uint8Array();
    let judged = false;
    for (;;) {
      const { done, value } = reader ? await coming(() => reader.read()) : { done: true };
      progress();
      if (value) head = judged ? value : joined([head, value]);
      if (!judged && (done || head.length >= HEAD)) {
        const wrong = mistaken(head, kind);
        if (wrong) throw failed(`${name}: ${shown} sends ${wrong}`);
        judged = true;
        if (head.length > 0) take(head);
      } else if (judged && value) {
        take(value);
      }
      if (done) return;
    }
  } catch (error) {
    // What is still coming is not wanted.
    stop.abort();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The pieces as one. */
export function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
