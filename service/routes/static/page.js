// The page: from a file and choices to results that are heard, seen, compared and kept.

import { cardOf, curl } from "./card.js";
import { Comparison } from "./compare.js";
import { clearFaults, fill, labelled, optionsOf, presets, showFaults, words } from "./form.js";
import { Library, originalOf } from "./library.js";
import { Listening } from "./listen.js";
import { readMel } from "./npy.js";
import { Bar } from "./progress.js";
import { showRecent } from "./recent.js";
import { get, post } from "./service.js";
import { device } from "./sounds.js";

const $ = (id) => document.getElementById(id);
const NPY = "application/x-npy";
// Weights of the steps in the progress bar.
const ANALYSIS = 1;
const METHOD = 8;
const library = new Library();
const comparison = new Comparison($("pictures"));
const listening = new Listening(comparison, library, choose);
let control = null;

// --- results ------------------------------------------------------------------------------------

/** Show the cards of results in place of those before. */
function showCards(results) {
  for (const link of $("answers").querySelectorAll("a[download]")) URL.revokeObjectURL(link.href);
  $("answers").replaceChildren(...results.map(cardOf));
}

/** The frequencies that the pictures may end at: round ones, and half of a result's rate. */
function offerTops(rate) {
  const highest = rate / 2;
  const tops = [4000, 8000, highest, device().sampleRate / 2].filter((top, k, all) => all.indexOf(top) === k);
  $("top").replaceChildren(...tops.sort((a, b) => a - b).map((top) => new Option(`${top / 1000} kHz`, top, false, top === highest)));
  comparison.top = highest;
}

/** Compare entries; a sound that is chosen ends a blind test. */
async function compare(entries, results) {
  listening.end();
  $("error").replaceChildren();
  offerTops(Math.max(...entries.map(({ config }) => config?.sample_rate ?? 0)));
  $("results").hidden = false;
  showCards(results ?? entries.filter(({ number }) => number));
  await comparison.load(entries).catch((error) => {
    showError(error);
    // An original that only the service can read; a result always plays.
    return comparison.load(entries.filter(({ number }) => number));
  });
}

/** A result beside its original, or beside the newest other one where it has none. */
function bring(result) {
  const other = result.original ?? library.results.find((each) => each !== result);
  const entries = [other, result].filter(Boolean);
  return compare(entries).then(() => $(`hear-${comparison.entries.indexOf(result)}`)?.focus());
}

/** Another sound for a side. */
function choose(side, sound) {
  const entries = [...comparison.entries];
  if (entries.length < 2) entries.splice(1 - side, 1, entries[0]);
  entries[side] = sound;
  // The same sound twice leaves one of it.
  return compare(entries[0] === entries[1] ? [sound] : entries);
}

showRecent(library, bring, choose);

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
  message.textContent = labelled(error.message);
  box.append(message);
  if (error.problem) showFaults(error.problem, error.field);
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

// --- the work -----------------------------------------------------------------------------------

/** Ask for a result, let it be heard at once, then see its mel. */
async function reconstruct(field, job) {
  const { file, isMel, preset, body, input, bar, signal, made } = job;
  const options = optionsOf(field);
  const query = new URLSearchParams({ config: preset, ...options });
  const number = library.next;
  const title = `Result ${number}`;
  bar.step(`${title}, ${words(options)}`);
  const began = performance.now();
  const answer = await post(`/reconstruct?${query}`, body, NPY, bar, signal).catch((error) => {
    throw Object.assign(error, { field });
  });
  const blob = await answer.blob();
  const config = presets.get(preset);
  const original = isMel ? null : originalOf(file);
  const withKey = $("key").value !== "";
  const result = {
    id: `result-${number}`, number, title, blob, file: file.name, preset, config, original, input, mel: null,
    options: words(options), took: (performance.now() - began) / 1000, headers: answer.headers,
    curl: curl({ file: file.name, isMel, preset, query, withKey }),
  };
  made.push(result);
  library.keep(result, [...comparison.entries, ...made]);
  const pair = made.length > 1 && !original ? made : [original, result].filter(Boolean);
  await compare(pair, made);
  bar.step(`Analysing ${title.toLowerCase()}`);
  const again = await post(`/analyze?config=${preset}`, blob, "audio/wav", bar, signal);
  const mel = readMel(await again.arrayBuffer(), config.n_mels);
  result.mel = mel && { mel, config };
  library.trim([...comparison.entries, ...made]);
  await comparison.draw();
}

async function run(event) {
  event.preventDefault();
  const file = $("file").files[0];
  control?.abort();
  const mine = (control = new AbortController());
  const { signal } = mine;
  $("error").replaceChildren();
  clearFaults();
  $("work").hidden = $("stop").hidden = false;
  $("go").disabled = true;
  try {
    const preset = $("preset").value;
    const isMel = /\.npy$/i.test(file.name);
    const fields = $("both").checked ? [$("method-a"), $("method-b")] : [$("method-a")];
    const bar = new Bar($("progress"), $("status"), [...(isMel ? [] : [ANALYSIS]), ...fields.flatMap(() => [METHOD, ANALYSIS])]);
    if (!isMel) bar.step("Analysing the audio");
    const body = await (isMel ? file : await post(`/analyze?config=${preset}`, file, "application/octet-stream", bar, signal)).arrayBuffer();
    const config = presets.get(preset);
    const mel = readMel(body, config.n_mels);
    const job = { file, isMel, preset, body, input: mel && { mel, config }, bar, signal, made: [] };
    for (const field of fields) await reconstruct(field, job);
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

/** Take a file as if it had been chosen. */
function take(files) {
  $("file").files = files;
  $("form").requestSubmit();
}

$("form").addEventListener("submit", run);
$("stop").addEventListener("click", () => control?.abort());
for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", over);
    if (kind === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files);
  });
}
$("example").addEventListener("click", async () => {
  const transfer = new DataTransfer();
  const blob = await get("/static/example.flac").then((answer) => answer.blob()).catch(showError);
  if (!blob) return;
  transfer.items.add(new File([blob], "example.flac", { type: "audio/flac" }));
  take(transfer.files);
});
$("key").addEventListener("change", async () => {
  if (presets.size) return;
  $("error").replaceChildren();
  await fill().catch(showError);
});
// Pictures have the size and the colours of the screen.
let width = 0;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => comparison.draw());
new ResizeObserver(([{ contentRect }]) => {
  if (contentRect.width && contentRect.width !== width) comparison.draw();
  width = contentRect.width;
}).observe($("pictures"));
fill().catch(showError);
