// The page: a file and its options in; audio, pictures, times and the curl line out.

import { drawDifference, drawMel, range, visible } from "./draw.js";
import { readMel } from "./npy.js";
import { Bar, follow } from "./progress.js";

const $ = (id) => document.getElementById(id);
const NPY = "application/x-npy";
// What the steps weigh in the bar.
const ANALYSIS = 1;
const METHOD = 8;
const presets = new Map();
let control = null;
let urls = [];

// --- the service --------------------------------------------------------------------------------

class Refusal extends Error {
  constructor(problem) {
    super(problem.detail ?? "The service did not say why.");
    this.problem = problem;
  }
}

function headersOf(more = {}) {
  return $("key").value ? { ...more, Authorization: `Bearer ${$("key").value}` } : more;
}

const get = (path, signal) => fetch(path, { headers: headersOf(), signal }).then(accepted);

async function accepted(answer) {
  if (answer.ok) return answer;
  const text = await answer.text();
  let problem = { detail: text.slice(0, 200), status: answer.status };
  try {
    problem = JSON.parse(text);
  } catch { /* said in the detail as it is */ }
  if (answer.status === 401) $("key-field").hidden = false;
  throw new Refusal(problem);
}

/** A POST whose bytes are counted both ways, which fetch does not do. */
function send(path, body, headers, bar, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headersOf(headers))) request.setRequestHeader(name, value);
    request.responseType = "blob";
    request.upload.onprogress = ({ loaded, total }) => bar.sending(loaded, total);
    request.onprogress = ({ loaded, total }) => bar.fetching(loaded, total);
    request.onload = () => {
      const answered = request.getAllResponseHeaders().trim().split("\r\n").map((line) => line.split(/: (.*)/s, 2));
      resolve(new Response(request.response, { status: request.status, headers: answered }));
    };
    request.onerror = () => reject(new TypeError("The service cannot be reached."));
    request.onabort = () => reject(new DOMException("Stopped.", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

/** Post, with the bar told how far the request has come. */
async function post(path, body, type, bar) {
  const { signal } = control;
  signal.throwIfAborted();
  // crypto.randomUUID is missing where the page came over plain HTTP.
  const id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const over = new AbortController();
  const headers = { "Content-Type": type, "X-Request-ID": id };
  const answer = send(path, body, headers, bar, signal).finally(() => over.abort());
  if (path.startsWith("/reconstruct")) follow((until) => get(`/progress/${id}`, until), over.signal, bar);
  return accepted(await answer);
}

// --- the form -----------------------------------------------------------------------------------

function option(value, text = value) {
  return new Option(text, value);
}

function makeWay(field, table, chosen) {
  field.append($("way").content.cloneNode(true));
  const way = field.querySelector("[name=way]");
  const phase = field.querySelector("[name=phase]");
  const group = (label, entries) => {
    const made = document.createElement("optgroup");
    made.label = label;
    made.append(...entries);
    way.append(made);
  };
  const kind = (name) => table.methods.filter((method) => method.kind === name);
  const qualities = [...new Set(table.qualities.map((quality) => quality.name))];
  group("Quality", qualities.map((name) => option(`quality=${name}`, name)));
  group("Joint method", kind("joint").map(({ name }) => option(`method=${name}`, name)));
  group("Inversion, then phase", kind("inversion").map(({ name }) => option(`inversion=${name}`, name)));
  phase.append(...kind("phase").map(({ name }) => option(name)));
  way.value = chosen;
  const show = () => {
    phase.closest("p").hidden = !way.value.startsWith("inversion=");
  };
  way.addEventListener("change", show);
  show();
}

function wayOf(field) {
  const [name, value] = field.querySelector("[name=way]").value.split("=");
  const options = { [name]: value };
  if (name === "inversion") options.phase = field.querySelector("[name=phase]").value;
  const iterations = field.querySelector("[name=n_iter]").value;
  if (iterations) options.n_iter = iterations;
  return options;
}

async function fill() {
  const [listed, table] = await Promise.all(["/presets", "/methods"].map(async (path) => (await get(path)).json()));
  for (const row of listed) {
    presets.set(row.name, row.config);
    $("preset").append(option(row.name, `${row.name}: ${row.project}`));
  }
  $("preset").value = "hifigan-22k";
  makeWay($("way-a"), table, "quality=standard");
  makeWay($("way-b"), table, "inversion=pinv");
  const compare = () => {
    for (const each of $("way-b").querySelectorAll("p")) each.inert = !$("both").checked;
    $("way-b").classList.toggle("off", !$("both").checked);
  };
  $("both").addEventListener("change", compare);
  compare();
}

// --- what it says -------------------------------------------------------------------------------

function complain(error) {
  const box = $("error");
  box.replaceChildren();
  if (error.name === "AbortError") {
    $("status").textContent = "Stopped.";
    return;
  }
  $("status").textContent = "";
  const words = document.createElement("p");
  words.textContent = error.message;
  box.append(words);
  for (const name of error.problem?.fits ?? []) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Use ${name}`;
    button.addEventListener("click", () => {
      $("preset").value = name;
      $("form").requestSubmit();
    });
    box.append(button);
  }
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(file, isMel, preset, query) {
  const key = $("key").value ? ` -H 'Authorization: Bearer YOUR_KEY'` : "";
  const name = quoted(file.name);
  const mel = isMel ? name : "mel.npy";
  const analyse = `curl${key} -F ${quoted(`audio=@${file.name}`)} -F config=${preset} ${location.origin}/analyze -o mel.npy\n`;
  return `${isMel ? "" : analyse}curl${key} -H 'Content-Type: ${NPY}' --data-binary @${mel} '${location.origin}/reconstruct?${query}' -o out.wav`;
}

function times(table, header) {
  for (const part of (header ?? "").split(", ")) {
    const [name, ms] = part.split(";dur=");
    const row = table.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    row.insertCell().textContent = `${Number(ms).toFixed(1)} ms`;
  }
}

function caption(canvas, draw, ...what) {
  canvas.nextElementSibling.textContent = draw(canvas, ...what);
}

function local(blob) {
  const url = URL.createObjectURL(blob);
  urls.push(url);
  return url;
}

// --- the work -----------------------------------------------------------------------------------

async function reconstruct(letter, field, job) {
  const { file, isMel, preset, body, given, linear, scale, bar } = job;
  const way = wayOf(field);
  const query = new URLSearchParams({ config: preset, ...way });
  const name = Object.values(way).join(" + ");
  bar.step(`Method ${letter}, ${name}`);
  const answer = await post(`/reconstruct?${query}`, body, NPY, bar);
  const audio = await answer.blob();
  const part = $("answer").content.cloneNode(true);
  const article = part.querySelector("article");
  article.dataset.letter = letter;
  part.querySelector("h3").textContent = `${letter}: ${name}`;
  const player = part.querySelector("audio");
  player.setAttribute("aria-label", `Result ${letter}`);
  player.src = local(audio);
  const said = [`${Number(answer.headers.get("X-Audio-Seconds")).toFixed(2)} s at ${answer.headers.get("X-Sample-Rate")} Hz`];
  if (answer.headers.get("X-Gain")) said.push(`scaled by ${answer.headers.get("X-Gain")}`);
  if (answer.headers.get("X-Warning")) said.push(answer.headers.get("X-Warning"));
  part.querySelector(".said").textContent = said.join("; ");
  times(part.querySelector("tbody"), answer.headers.get("Server-Timing"));
  const line = curl(file, isMel, preset, query);
  part.querySelector("code").textContent = line;
  part.querySelector(".copy").addEventListener("click", async (event) => {
    await navigator.clipboard.writeText(line);
    event.target.textContent = "Copied";
  });
  $("answers").append(part);
  bar.step(`Analysing result ${letter}`);
  const again = await post(`/analyze?config=${preset}`, audio, "audio/wav", bar);
  const result = readMel(await again.arrayBuffer(), presets.get(preset).n_mels);
  if (!given || !result) return;
  const shown = visible(result, linear);
  caption(article.querySelector(".result"), drawMel, shown, scale, "Mel of the result");
  caption(article.querySelector(".difference"), drawDifference, given, shown, scale);
}

async function run(event) {
  event.preventDefault();
  const file = $("file").files[0];
  control?.abort();
  const mine = (control = new AbortController());
  $("error").replaceChildren();
  $("answers").replaceChildren();
  $("results").hidden = true;
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  $("work").hidden = $("stop").hidden = false;
  $("go").disabled = true;
  try {
    const preset = $("preset").value;
    const isMel = /\.npy$/i.test(file.name);
    const methods = $("both").checked ? 2 : 1;
    const bar = new Bar($("progress"), $("status"), [...(isMel ? [] : [ANALYSIS]), ...Array(methods).fill([METHOD, ANALYSIS]).flat()]);
    if (!isMel) bar.step("Analysing the audio");
    const body = await (isMel ? file : await post(`/analyze?config=${preset}`, file, "application/octet-stream", bar)).arrayBuffer();
    const linear = presets.get(preset).scale.kind === "linear";
    const read = readMel(body, presets.get(preset).n_mels);
    const given = read && visible(read, linear);
    const scale = given && range(given);
    const job = { file, isMel, preset, body, given, linear, scale, bar };
    await reconstruct("A", $("way-a"), job);
    $("original").hidden = isMel;
    if (!isMel) $("original").src = local(file);
    $("results").hidden = false;
    if (given) caption($("mel"), drawMel, given, scale, "Given mel");
    if (methods > 1) await reconstruct("B", $("way-b"), job);
    $("status").textContent = "Done.";
  } catch (error) {
    if (control === mine) complain(error);
  } finally {
    if (control === mine) {
      $("work").hidden = $("stop").hidden = true;
      $("go").disabled = false;
    }
  }
}

$("form").addEventListener("submit", run);
$("stop").addEventListener("click", () => control?.abort());
for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", over);
    if (kind === "drop" && event.dataTransfer.files.length) {
      $("file").files = event.dataTransfer.files;
      $("form").requestSubmit();
    }
  });
}
$("key").addEventListener("change", async () => {
  if (presets.size) return;
  $("error").replaceChildren();
  await fill().catch(complain);
});
fill().catch(complain);
