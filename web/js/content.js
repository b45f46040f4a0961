// What servers send in the place of the file that was asked for.

const TEXT = [
  [/^version https:\/\/git-lfs/, "a Git LFS pointer; serve the file that it stands for, as `git lfs pull` fetches it"],
  [/^<!doctype html|^<html/i, "a web page (HTML); check the address, and whether it asks to sign in"],
  [/^<\?xml|^<[a-z!]/i, "a document in XML or HTML; check the address, and whether it asks to sign in"],
];

/** How many bytes tell it. */
export const HEAD = 64;

/** What the first bytes are instead of a file of `kind` ("json", "binary", or "lm", which may be packed), with the remedy; or nothing. */
export function mistaken(bytes, kind) {
  if (bytes.length === 0) return "nothing (0 bytes); upload the file again";
  if (kind !== "lm" && bytes[0] === 0x1f && bytes[1] === 0x8b) return "a gzip archive; unpack it, or serve it as Content-Encoding: gzip";
  if (bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3) return "a zip archive; unpack it";
  const text = new TextDecoder().decode(bytes.subarray(0, HEAD)).replace(/^\uFEFF/, "").trimStart();
  const found = TEXT.find(([pattern]) => pattern.test(text));
  if (found) return found[1];
  if (kind !== "json" && /^\{\s*"/.test(text)) return "a JSON document; check the address";
  return undefined;
}
