// Opens a study that lies in an archive in OHIF, in a browser, as a radiologist does:
//
//	node ohif.js http://127.0.0.1:3000 study chromium folder-for-screenshots
//
// It says "archived" when OHIF has told that the images are not to be had and asks for nothing any
// more, waits for a line that tells that the study was restored, and opens it again. It ends with an
// error when anything is otherwise.
import assert from "node:assert/strict";
import { createInterface } from "node:readline/promises";
import { chromium } from "playwright-core";

const [url, study, executablePath, shots] = process.argv.slice(2);
const quiet = 5000; // ms without a request after which OHIF is taken to be done
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
page.setDefaultTimeout(30_000);
let answers = []; // of the server, as ["frames", 503]
let last = 0;
page.on("request", () => (last = Date.now()));
page.on("response", (r) => {
  const at = new URL(r.url()).pathname;
  if (at.startsWith("/dicom-web/")) answers.push([at.includes("/frames/") ? "frames" : at.endsWith("/thumbnail") ? "thumbnail" : "text", r.status()]);
});
const settled = async () => {
  while (Date.now() - last < quiet) await page.waitForTimeout(100);
};
const count = (what, status) => answers.filter(([w, s]) => w === what && s === status).length;
// How many pixels of the viewport are of an image: not black.
const lit = () => {
  const canvas = document.querySelector("canvas.cornerstone-canvas");
  if (!canvas?.width) return -1;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let n = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i] > 40) n++;
  return n;
};
const thumbnails = () => [...document.querySelectorAll('[data-cy="study-browser-thumbnail"] img')].filter((i) => i.naturalWidth > 0).length;

try {
  await page.goto(`${url}/viewer?StudyInstanceUIDs=${study}`);
  // What went wrong is told, with the server's status in its details.
  const notice = page.getByText(/^Something went wrong/);
  await notice.waitFor();
  await page.screenshot({ path: `${shots}/notice.png` });
  await settled();
  await page.screenshot({ path: `${shots}/archived.png` });
  assert.equal(await page.evaluate(thumbnails), 2);
  assert.equal(await page.evaluate(lit), 0);
  assert.equal(count("thumbnail", 200), 2);
  assert.equal(count("frames", 503), 3); // those of the series that is shown, each once
  assert.deepEqual(answers.filter(([w, s]) => s !== (w === "frames" ? 503 : 200)), []);

  console.log("archived");
  const input = createInterface({ input: process.stdin });
  await new Promise((resolve) => input.once("line", resolve));
  input.close();

  answers = [];
  await page.reload();
  await page.waitForFunction(`(${lit})() > 10000`);
  await settled();
  await page.screenshot({ path: `${shots}/restored.png` });
  assert.equal(await page.evaluate(thumbnails), 2);
  assert.equal(count("frames", 200), 3);
  assert.deepEqual(answers.filter(([, s]) => s !== 200), []);
  assert.equal(await notice.count(), 0);
  console.log("restored");
} catch (err) {
  await page.screenshot({ path: `${shots}/failed.png` });
  console.error(answers);
  throw err;
} finally {
  await browser.close();
}
