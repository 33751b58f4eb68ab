// Asks dicomweb-client for what lies in an archive, as a viewer does:
//
//	node archived.js http://127.0.0.1:8080/dicom-web study series instance file.dcm
//
// It says "archived" when all is as it should be until then, waits for a line that tells that
// the study was restored, and reads the file. It ends with an error when anything is otherwise.
import assert from "node:assert/strict";
import fs from "node:fs";
import { createInterface } from "node:readline/promises";
import dicomweb from "dicomweb-client";
import XMLHttpRequest from "xhr2";

let requests = 0;
globalThis.XMLHttpRequest = class extends XMLHttpRequest {
  send(...args) {
    requests++;
    super.send(...args);
  }
};
const [url, studyInstanceUID, seriesInstanceUID, sopInstanceUID, file] = process.argv.slice(2);
const where = { studyInstanceUID, seriesInstanceUID, sopInstanceUID };
const client = new dicomweb.api.DICOMwebClient({ url, verbose: false });
const jpeg = { mediaTypes: [{ mediaType: "image/jpeg" }] };
const octets = { mediaTypes: [{ mediaType: "application/octet-stream", transferSyntaxUID: "*" }] };

// What describes a study answers.
const available = async (want) => {
  for (const list of [await client.searchForStudies({ queryParams: { StudyInstanceUID: studyInstanceUID } }), await client.searchForSeries(where), await client.searchForInstances(where)]) {
    assert.ok(list.length > 0);
    for (const d of list) assert.deepEqual(d["00080056"].Value, [want]);
  }
};
await available("NEARLINE");
assert.equal((await client.retrieveInstanceMetadata(where)).length, 1);
const thumbnail = await client.retrieveInstanceThumbnail({ ...where, ...jpeg });
assert.deepEqual([...new Uint8Array(Array.isArray(thumbnail) ? thumbnail[0] : thumbnail).slice(0, 2)], [0xff, 0xd8]);

// Pixels are an error that tells what is the matter, at once and after one request.
const ways = {
  study: () => client.retrieveStudy(where),
  series: () => client.retrieveSeries(where),
  instance: () => client.retrieveInstance(where),
  frames: () => client.retrieveInstanceFrames({ ...where, frameNumbers: [1], ...octets }),
  rendered: () => client.retrieveInstanceRendered({ ...where, ...jpeg }),
};
let restore;
for (const [name, way] of Object.entries(ways)) {
  requests = 0;
  await assert.rejects(way(), (err) => {
    assert.equal(err.status, 503, name);
    const problem = JSON.parse(Buffer.from(err.response).toString());
    assert.equal(problem.type, "urn:strata:problem:archived", name);
    assert.ok(Number(err.request.getResponseHeader("Retry-After")) > 0, name);
    assert.equal(err.request.getResponseHeader("Link"), `<${problem.restore.href}>; rel="monitor"`, name);
    assert.equal(problem.restore.href, (restore ??= problem.restore.href), name);
    return true;
  });
  assert.equal(requests, 1, name);
}
console.log("archived");
const input = createInterface({ input: process.stdin });
await new Promise((resolve) => input.once("line", resolve));
input.close();

await available("ONLINE");
const got = Buffer.from(await client.retrieveInstance(where));
assert.ok(got.equals(fs.readFileSync(file)), `${got.length} other bytes`);
assert.ok((await client.retrieveInstanceFrames({ ...where, frameNumbers: [1], ...octets }))[0].byteLength > 0);
assert.equal((await (await fetch(restore)).json()).state, "done");
console.log("restored");
