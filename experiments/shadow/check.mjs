// Answers the parity rows of a bundle in Node with onnxruntime-web, and says how many actions are equal.
//
//   npm install onnxruntime-web
//   node check.mjs ppo.zip
//
// It prints {"rows", "equal", "score_error"} as JSON; the exit code is 0 when all rows are equal, else 1.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import * as ort from 'onnxruntime-web';

ort.env.wasm.numThreads = 1;
const BATCH = 1000;

/** The files of a folder, or of a .zip that stores them as they are. */
function filesOf(bundle) {
  if (fs.statSync(bundle).isDirectory()) {
    return Object.fromEntries(fs.readdirSync(bundle).map((name) => [name, fs.readFileSync(path.join(bundle, name))]));
  }
  const bytes = fs.readFileSync(bundle);
  const files = {};
  for (let at = 0; bytes.readUInt32LE(at) === 0x04034b50; ) {
    if (bytes.readUInt16LE(at + 8) !== 0) throw new Error(`${bundle}: is deflated; unpack it and name the folder`);
    const size = bytes.readUInt32LE(at + 18);
    const nameEnd = at + 30 + bytes.readUInt16LE(at + 26);
    const start = nameEnd + bytes.readUInt16LE(at + 28);
    files[bytes.toString('utf8', at + 30, nameEnd)] = bytes.subarray(start, start + size);
    at = start + size;
  }
  return files;
}

/** The entries of a .npy file, version 1.0, little-endian, in C order. */
function entriesOf(npy) {
  const end = 10 + npy.readUInt16LE(8);
  const kind = { '<f4': Float32Array, '<i8': BigInt64Array, '|b1': Uint8Array }[/'descr': '([^']+)'/.exec(npy.toString('latin1', 10, end))[1]];
  const copy = Uint8Array.from(npy.subarray(end));
  return new kind(copy.buffer);
}

const bundle = process.argv[2];
const files = filesOf(bundle);
const manifest = JSON.parse(files['manifest.json']);
for (const [name, said] of Object.entries(manifest.files)) {
  const found = createHash('sha256').update(files[name]).digest('hex');
  if (found !== said.sha256) throw new Error(`${bundle}/${name}: expected sha256 ${said.sha256}, got ${found}`);
}
const session = await ort.InferenceSession.create(files['policy.onnx'], { executionProviders: ['wasm'] });
const rows = manifest.parity.rows;
const width = manifest.features.length;
const outputs = manifest.actions.length;
const features = entriesOf(files['parity_features.npy']);
const masks = manifest.masked ? entriesOf(files['parity_masks.npy']) : null;
const actions = entriesOf(files['parity_actions.npy']);
const scores = entriesOf(files['parity_scores.npy']);
const parts = actions.length / rows;
const near = (got, want) => (typeof want === 'bigint' ? got === want : Math.abs(got - want) <= 1e-5 + 1e-5 * Math.abs(want));

let equal = 0;
let scoreError = 0;
for (let from = 0; from < rows; from += BATCH) {
  const count = Math.min(BATCH, rows - from);
  const given = { features: new ort.Tensor('float32', features.slice(from * width, (from + count) * width), [count, width]) };
  if (masks) given.action_mask = new ort.Tensor('bool', masks.slice(from * outputs, (from + count) * outputs), [count, outputs]);
  const got = await session.run(given);
  for (let row = 0; row < count; row++) {
    let same = true;
    for (let part = 0; part < parts; part++) same &&= near(got.action.data[row * parts + part], actions[(from + row) * parts + part]);
    equal += same;
    for (let one = 0; one < outputs; one++) {
      const want = scores[(from + row) * outputs + one];
      scoreError = Math.max(scoreError, Math.abs(got.scores.data[row * outputs + one] - want) / Math.max(1, Math.abs(want)));
    }
  }
}
console.log(JSON.stringify({ rows, equal, score_error: scoreError }));
process.exitCode = equal === rows ? 0 : 1;
