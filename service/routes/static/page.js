// The page: from a file and options to audio, pictures, times and a curl command.

import { drawDifference, drawMel, range, visible } from "./draw.js";
import { readMel } from "./npy.js";
import { Bar, follow } from "./progress.js";

const $ = (id) => document.getElementById(id);
const NPY = "application/x-npy";
// Weights of the steps in the progress bar.
const ANALYSIS = 1;
const METHOD = 8;
const presets = new Map();
let control = null;
let urls = [];

// --- the service --------------------------------------------------------------------------------

class Refusal extends Error {
  constructor(problem) {
    super(problem.detail ?? "The service gave no reason.");
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
  } catch { /* the detail is the text itself */ }
  if (answer.status === 401) $("key-field").hidden = false;
  throw new Refusal(problem);
}

/** A POST with progress of both bodies, which fetch does not report. */
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

/** Post, and show the progress of the request in the bar. */
async function post(path, body, type, bar) {
  const { signal } = control;
  signal.throwIfAborted();
  // crypto.randomUUID is missing on pages loaded over plain HTTP.
  const id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const answered = new AbortController();
  const headers = { "Content-Type": type, "X-Request-ID": id };
  const answer = send(path, body, headers, bar, signal).finally(() => answered.abort());
  if (path.startsWith("/reconstruct")) follow((until) => get(`/progress/${id}`, until), answered.signal, bar);
  return accepted(await answer);
}

// --- the form -----------------------------------------------------------------------------------

function option(value, text = value) {
  return new Option(text, value);
}

function fillMethod(field, table, chosen) {
  field.append($("method").content.cloneNode(true));
  const method = field.querySelector("[name=method]");
  const phase = field.querySelector("[name=phase]");
  const group = (label, entries) => {
    const made = document.createElement("optgroup");
    made.label = label;
    made.append(...entries);
    method.append(made);
  };
  const kind = (name) => table.methods.filter((row) => row.kind === name);
  const qualities = [...new Set(table.qualities.map((quality) => quality.name))];
  group("Quality", qualities.map((name) => option(`quality=${name}`, name)));
  group("Joint method", kind("joint").map(({ name }) => option(`method=${name}`, name)));
  group("Inversion, then phase", kind("inversion").map(({ name }) => option(`inversion=${name}`, name)));
  phase.append(...kind("phase").map(({ name }) => option(name)));
  method.value = chosen;
  const show = () => {
    phase.closest("p").hidden = !method.value.startsWith("inversion=");
  };
  method.addEventListener("change", show);
  show();
}

function methodOptions(field) {
  const [name, value] = field.querySelector("[name=method]").value.split("=");
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
  fillMethod($("method-a"), table, "quality=standard");
  fillMethod($("method-b"), table, "inversion=pinv");
  const compare = () => {
    for (const each of $("method-b").querySelectorAll("p")) each.inert = !$("both").checked;
    $("method-b").classList.toggle("off", !$("both").checked);
  };
  $("both").addEventListener("change", compare);
  compare();
}

// --- messages -----------------------------------------------------------------------------------

function showError(error) {
  const box = $("error");
  box.replaceChildren();
  if (error.name === "AbortError") {
    $("status").textContent = "Stopped.";
    return;
  }
  $("status").textContent = "";
  const message = document.createElement("p");
  message.textContent = error.message;
  box.append(message);
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

function caption(canvas, draw, ...data) {
  canvas.nextElementSibling.textContent = draw(canvas, ...data);
}

function objectUrl(blob) {
  const url = URL.createObjectURL(blob);
  urls.push(url);
  return url;
}

// --- the work -----------------------------------------------------------------------------------

async function reconstruct(letter, field, job) {
  const { file, isMel, preset, body, input, linear, scale, bar } = job;
  const options = methodOptions(field);
  const query = new URLSearchParams({ config: preset, ...options });
  const name = Object.values(options).join(" + ");
  bar.step(`Method ${letter}, ${name}`);
  const answer = await post(`/reconstruct?${query}`, body, NPY, bar);
  const audio = await answer.blob();
  const part = $("answer").content.cloneNode(true);
  const article = part.querySelector("article");
  article.dataset.letter = letter;
  part.querySelector("h3").textContent = `${letter}: ${name}`;
  const player = part.querySelector("audio");
  player.setAttribute("aria-label", `Result ${letter}`);
  player.src = objectUrl(audio);
  const details = [`${Number(answer.headers.get("X-Audio-Seconds")).toFixed(2)} s at ${answer.headers.get("X-Sample-Rate")} Hz`];
  if (answer.headers.get("X-Gain")) details.push(`scaled by ${answer.headers.get("X-Gain")}`);
  if (answer.headers.get("X-Warning")) details.push(answer.headers.get("X-Warning"));
  part.querySelector(".details").textContent = details.join("; ");
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
  if (!input || !result) return;
  const shown = visible(result, linear);
  caption(article.querySelector(".result"), drawMel, shown, scale, "Mel of the result");
  caption(article.querySelector(".difference"), drawDifference, input, shown, scale);
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
    const input = read && visible(read, linear);
    const scale = input && range(input);
    const job = { file, isMel, preset, body, input, linear, scale, bar };
    await reconstruct("A", $("method-a"), job);
    $("original").hidden = isMel;
    if (!isMel) $("original").src = objectUrl(file);
    $("results").hidden = false;
    if (input) caption($("mel"), drawMel, input, scale, "Mel of the input");
    if (methods > 1) await reconstruct("B", $("method-b"), job);
    $("status").textContent = "Done.";
  } catch (error) {
    if (control === mine) showError(error);
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
  await fill().catch(showError);
});
fill().catch(showError);
