// Stores, finds and retrieves with dicomweb-client and dcmjs, as a viewer does:
//
//	node client.js http://127.0.0.1:8080/dicom-web file.dcm
//
// It ends with an error when anything is not as it should be.
import assert from "node:assert/strict";
import fs from "node:fs";
import dcmjs from "dcmjs";
import dicomweb from "dicomweb-client";
import XMLHttpRequest from "xhr2";

globalThis.XMLHttpRequest = XMLHttpRequest;
dcmjs.log.setLevel("error");
const [url, file] = process.argv.slice(2);
const client = new dicomweb.api.DICOMwebClient({ url, verbose: false });

// An instance that dcmjs makes.
const pixels = new Uint16Array(8 * 8).map((_, i) => i * 3);
const uids = { study: "2.25.100", series: "2.25.100.1", instance: "2.25.100.1.1" };
const image = {
  _meta: { TransferSyntaxUID: { Value: ["1.2.840.10008.1.2.1"], vr: "UI" } },
  SOPClassUID: "1.2.840.10008.5.1.4.1.1.2", SOPInstanceUID: uids.instance, StudyInstanceUID: uids.study, SeriesInstanceUID: uids.series,
  SpecificCharacterSet: "ISO_IR 192", PatientName: "Müller^Jörg", PatientID: "PHAN-9", StudyDate: "20240102", Modality: "CT", InstanceNumber: 1, SeriesNumber: 1,
  Rows: 8, Columns: 8, BitsAllocated: 16, BitsStored: 16, HighBit: 15, PixelRepresentation: 0, SamplesPerPixel: 1, PhotometricInterpretation: "MONOCHROME2",
  PixelData: pixels.buffer, _vrMap: { PixelData: "OW" },
};
const made = dcmjs.data.datasetToDict(image).write();
const real = fs.readFileSync(file);
const realBytes = real.buffer.slice(real.byteOffset, real.byteOffset + real.byteLength);

const answer = await client.storeInstances({ datasets: [made, realBytes] });
assert.ok(answer);

const { naturalizeDataset } = dcmjs.data.DicomMetaDictionary;
const studies = await client.searchForStudies({ queryParams: { PatientName: "*Mül*", limit: 101, offset: 0, fuzzymatching: true } });
assert.equal(studies.length, 1);
const study = naturalizeDataset(studies[0]);
assert.equal(study.StudyInstanceUID, uids.study);
assert.equal(study.PatientName[0].Alphabetic, "Müller^Jörg");
assert.equal(study.NumberOfStudyRelatedInstances, 1);
assert.deepEqual(await client.searchForStudies({ queryParams: { PatientID: "nobody" } }), []);
const series = await client.searchForSeries({ studyInstanceUID: uids.study });
assert.equal(naturalizeDataset(series[0]).Modality, "CT");
const instances = await client.searchForInstances({ studyInstanceUID: uids.study, seriesInstanceUID: uids.series });
assert.equal(naturalizeDataset(instances[0]).SOPInstanceUID, uids.instance);

const where = { studyInstanceUID: uids.study, seriesInstanceUID: uids.series, sopInstanceUID: uids.instance };
for (const metadata of [await client.retrieveStudyMetadata(where), await client.retrieveSeriesMetadata(where), await client.retrieveInstanceMetadata(where)]) {
  assert.equal(metadata.length, 1);
  const d = naturalizeDataset(metadata[0]);
  assert.equal(d.Rows, 8);
  assert.ok(metadata[0]["7FE00010"].BulkDataURI.startsWith(url));
}
const [metadata] = await client.retrieveInstanceMetadata(where);

const same = (got, want) => assert.ok(Buffer.from(got).equals(Buffer.from(want)), `${got.byteLength} bytes, not the ${want.byteLength} expected`);
same(await client.retrieveInstance(where), made);
const read = dcmjs.data.DicomMessage.readFile(await client.retrieveInstance(where));
assert.equal(naturalizeDataset(read.dict).PatientID, "PHAN-9");
const octets = [{ mediaType: "application/octet-stream", transferSyntaxUID: "*" }];
same((await client.retrieveInstanceFrames({ ...where, frameNumbers: [1] }))[0], pixels.buffer);
same((await client.retrieveInstanceFrames({ ...where, frameNumbers: [1], mediaTypes: octets }))[0], pixels.buffer);
same((await client.retrieveBulkData({ BulkDataURI: metadata["7FE00010"].BulkDataURI }))[0], pixels.buffer);
for (const list of [await client.retrieveSeries(where), await client.retrieveStudy(where)]) {
  assert.equal(list.length, 1);
  same(list[0], made);
}

// The real file comes back as it was, and dcmjs can read it.
const others = (await client.searchForInstances({})).filter((d) => naturalizeDataset(d).StudyInstanceUID !== uids.study);
assert.equal(others.length, 1);
const other = naturalizeDataset(others[0]);
const path = { studyInstanceUID: other.StudyInstanceUID, seriesInstanceUID: other.SeriesInstanceUID, sopInstanceUID: other.SOPInstanceUID };
const response = await fetch(`${url}/studies/${other.StudyInstanceUID}/series/${other.SeriesInstanceUID}/instances/${other.SOPInstanceUID}`,
  { headers: { Accept: "application/dicom; transfer-syntax=*" } });
const stored = await response.arrayBuffer();
same(stored, realBytes);
const syntax = dcmjs.data.DicomMessage.readFile(stored).meta["00020010"].Value[0];
const frames = await client.retrieveInstanceFrames({ ...path, frameNumbers: [1], mediaTypes: octets });
assert.ok(frames[0].byteLength > 0);
if (syntax.startsWith("1.2.840.10008.1.2.4.9")) {
  const jp2 = await client.retrieveInstanceFrames({ ...path, frameNumbers: [1], mediaTypes: [{ mediaType: "image/jp2", transferSyntaxUID: syntax }] });
  same(jp2[0], frames[0]);
}
// Without a transfer syntax it comes decoded, where the server has the codecs.
if (process.argv[4] !== "--no-codecs") {
  const decoded = dcmjs.data.DicomMessage.readFile(await client.retrieveInstance(path));
  assert.equal(decoded.meta["00020010"].Value[0], "1.2.840.10008.1.2.1");
}

// What a person sees.
const begins = (b, ...bytes) => assert.deepEqual([...new Uint8Array(Array.isArray(b) ? b[0] : b).slice(0, bytes.length)], bytes);
const isJPEG = (b) => begins(b, 0xff, 0xd8, 0xff);
const jpeg = [{ mediaType: "image/jpeg" }];
isJPEG(await client.retrieveInstanceRendered({ ...where, mediaTypes: jpeg }));
isJPEG(await client.retrieveInstanceRendered({ ...where, mediaTypes: jpeg, queryParams: { window: "40,400,linear", viewport: "16,16" } }));
isJPEG(await client.retrieveInstanceFramesRendered({ ...where, frameNumbers: [1], mediaTypes: jpeg }));
isJPEG(await client.retrieveInstanceThumbnail({ ...where, mediaTypes: jpeg }));
isJPEG(await client.retrieveInstanceFramesThumbnail({ ...where, frameNumbers: [1], mediaTypes: jpeg }));
begins(await client.retrieveInstanceRendered({ ...where, mediaTypes: [{ mediaType: "image/png" }] }), 0x89, 0x50, 0x4e, 0x47);

await assert.rejects(client.retrieveInstanceMetadata({ ...where, sopInstanceUID: "2.25.404" }), (err) => err.status === 404);
console.log("stored, found and retrieved");
