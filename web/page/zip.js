// Archives of a model's files: plain ones are made, and those that other programs pack are read too.

const [LOCAL, CENTRAL, END] = [0x04034b50, 0x02014b50, 0x06054b50];

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crcOf(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC[(crc ^ byte) & 255];
  return ~crc >>> 0;
}

/** Numbers of 2 and 4 bytes, one after another: `[[value, bytes], …]`. */
function fields(list) {
  const view = new DataView(new ArrayBuffer(list.reduce((sum, [, bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [value, bytes] of list) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

/** An archive of the files, as they are. */
export function packed(files) {
  const [parts, table] = [[], []];
  let [at, tableSize] = [0, 0];
  const entries = Object.entries(files);
  for (const [name, bytes] of entries) {
    const label = new TextEncoder().encode(name);
    // Version 2.0, names in UTF-8, not compressed, midnight of the first day that there is.
    const common = [[20, 2], [0x800, 2], [0, 2], [0, 2], [33, 2], [crcOf(bytes), 4], [bytes.length, 4], [bytes.length, 4], [label.length, 2], [0, 2]];
    const local = fields([[LOCAL, 4], ...common]);
    const central = fields([[CENTRAL, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]]);
    parts.push(local, label, bytes);
    table.push(central, label);
    at += local.length + label.length + bytes.length;
    tableSize += central.length + label.length;
  }
  const end = fields([[END, 4], [0, 2], [0, 2], [entries.length, 2], [entries.length, 2], [tableSize, 4], [at, 4], [0, 2]]);
  return new Blob([...parts, ...table, end], { type: "application/zip" });
}

/** The files of an archive, without the folders that they lie in; `name` is what messages call it. */
export async function unpacked(blob, name) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  try {
    return await filesOf(bytes);
  } catch (error) {
    throw new Error(`${name} cannot be read (${error.message}); choose the archive of a model that was exported`, { cause: error });
  }
}

async function filesOf(bytes) {
  const view = new DataView(bytes.buffer);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END) end--;
  if (end < 0) throw new Error("it is no zip archive");
  const files = {};
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    if (view.getUint32(at, true) !== CENTRAL) throw new Error("its table is damaged");
    const [method, size, labelSize] = [view.getUint16(at + 10, true), view.getUint32(at + 20, true), view.getUint16(at + 28, true)];
    const [crc, local] = [view.getUint32(at + 16, true), view.getUint32(at + 42, true)];
    const label = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + labelSize));
    at += 46 + labelSize + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    if (label.endsWith("/")) continue;
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const content = await expanded(bytes.slice(start, start + size), method);
    if (crcOf(content) !== crc) throw new Error(`${label} is damaged`);
    files[label.split("/").pop()] = content;
  }
  return files;
}

async function expanded(bytes, method) {
  if (method === 0) return bytes;
  if (method !== 8) throw new Error("it is packed in a way that browsers do not know");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
