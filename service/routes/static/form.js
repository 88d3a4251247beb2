// The form: choices as the service describes them, and its refusals beside the fields they name.

import { explain } from "./explain.js";
import { get } from "./service.js";

const $ = (id) => document.getElementById(id);
const PRESET = "hifigan-22k";
// Words for the options that have a field; their values are the service's.
const MAIN = { quality: "Quality", harmonics: "Harmonics", fit: "Fit" };
const MORE = { n_iter: "Iterations", seed: "Seed", peak: "Loud peaks", strict: "Strict" };
const TWO_STEPS = { phase: "Second step" };
// Fields of a refusal that concern the file.
const OF_FILE = ["mel", "audio", "body"];

export const presets = new Map();
let described = {};

const option = (value, text = value) => new Option(text, value);

function group(label, entries) {
  const made = document.createElement("optgroup");
  made.label = label;
  made.append(...entries);
  return made;
}

/** Values that an option's schema lists. */
function listed(schema) {
  return (schema.enum ?? schema.anyOf?.find((kind) => kind.enum)?.enum ?? []).filter((value) => value !== null);
}

/** A field for an option by its schema: a choice, a number or a check box. */
function fieldOf(name, words) {
  const label = document.createElement("label");
  const schema = described[name];
  const kind = schema.type ?? schema.anyOf?.find(({ type }) => type !== "null")?.type;
  let control;
  if (listed(schema).length) {
    control = document.createElement("select");
    if (schema.default == null) control.append(option("", "automatic"));
    control.append(...listed(schema).map((value) => option(value)));
    control.value = schema.default ?? "";
  } else {
    control = document.createElement("input");
    control.type = kind === "boolean" ? "checkbox" : "number";
    const numbers = schema.anyOf?.find(({ type }) => type === kind) ?? schema;
    if (numbers.minimum != null) control.min = numbers.minimum;
    if (kind !== "boolean") control.placeholder = schema.default ?? "automatic";
  }
  control.name = name;
  label.append(words, control);
  const line = document.createElement("p");
  line.append(label);
  return line;
}

function methodField(table) {
  const line = document.createElement("p");
  const label = document.createElement("label");
  const method = document.createElement("select");
  method.name = "method";
  const choices = (kind, name) => table.methods.filter((row) => row.kind === kind)
    .map((row) => option(row.default && kind === "joint" ? "" : `${name}=${row.name}`, row.name));
  method.append(group("One step", choices("joint", "method")), group("Two steps, the first", choices("inversion", "inversion")));
  label.append("Method", method);
  line.append(label);
  return line;
}

function fillResult(field, table, chosen) {
  const method = methodField(table);
  const phase = fieldOf("phase", TWO_STEPS.phase);
  phase.querySelector("select").value = table.methods.find((row) => row.kind === "phase" && row.default).name;
  phase.querySelector("option[value='']")?.remove();
  const more = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "More options";
  more.append(summary, ...Object.entries(MORE).map(([name, words]) => fieldOf(name, words)));
  const { quality, ...others } = MAIN;
  field.append(fieldOf("quality", quality), method, phase, ...Object.entries(others).map(([name, words]) => fieldOf(name, words)), more);
  const select = method.querySelector("select");
  select.value = chosen;
  const show = () => { phase.hidden = !select.value.startsWith("inversion="); };
  select.addEventListener("change", show);
  show();
}

/** Fill the form from the service. */
export async function fill() {
  const paths = ["/presets", "/methods", "/openapi.json"];
  const [rows, table, document_] = await Promise.all(paths.map(async (path) => (await get(path)).json()));
  // Those of the JSON body: in the query's, for clients' sake, the defaults are in words alone.
  described = document_.components.schemas.ReconstructJson.properties;
  for (const row of rows) {
    presets.set(row.name, row.config);
    $("preset").append(option(row.name, `${row.name}: ${row.project}`));
  }
  $("preset").value = PRESET;
  fillResult($("method-a"), table, "");
  fillResult($("method-b"), table, `inversion=${table.methods.find((row) => row.kind === "inversion" && row.default).name}`);
  explain($("explained"), table);
  const compare = () => {
    for (const each of $("method-b").querySelectorAll("p, details")) each.inert = !$("both").checked;
    $("method-b").classList.toggle("off", !$("both").checked);
  };
  $("both").addEventListener("change", compare);
  compare();
}

/** Options of a result: its quality, and what differs from the service's own choice. */
export function optionsOf(field) {
  const found = {};
  for (const control of field.querySelectorAll("[name]")) {
    const { name } = control;
    const value = control.type === "checkbox" ? String(control.checked) : control.value;
    if (name === "method") {
      if (value) Object.assign(found, Object.fromEntries([value.split("=")]));
    } else if (name === "phase") {
      if (found.inversion) found.phase = value;
    } else if (value !== "" && (name === "quality" || value !== String(described[name].default))) {
      found[name] = value;
    }
  }
  return found;
}

/** Options in words. */
export function words({ quality, method, inversion, phase, ...others }) {
  const how = method ?? (inversion && `${inversion} + ${phase}`);
  const rest = Object.entries(others).map(([name, value]) => `${{ ...MAIN, ...MORE }[name].toLowerCase()} ${value}`);
  return [quality, how, ...rest].filter(Boolean).join(", ");
}

// --- refusals -----------------------------------------------------------------------------------

function controlOf(name, field) {
  if (OF_FILE.includes(name)) return $("file");
  if (name.split(".")[0] === "config") return $("preset");
  return field?.querySelector(`[name="${name === "inversion" ? "method" : name}"]`) ?? null;
}

export function clearFaults() {
  for (const fault of document.querySelectorAll(".fault")) fault.remove();
  for (const control of document.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
    control.removeAttribute("aria-errormessage");
  }
}

/** A refusal's text, with fields' labels in place of their names. */
export function labelled(text) {
  const labels = { ...MAIN, ...TWO_STEPS, ...MORE };
  return text.replace(/(?<=^|; )\w+(?=: got )/g, (name) => labels[name] ?? name);
}

/** Say what a refusal expects beside each field that it names; `field` is the result it was for. */
export function showFaults(problem, field) {
  for (const { field: name, got, expected } of problem.errors ?? [problem]) {
    const control = name && controlOf(name, field);
    if (!control) continue;
    const fault = document.createElement("span");
    fault.className = "fault";
    fault.id = `fault-${document.querySelectorAll(".fault").length}`;
    fault.textContent = `got ${got}; expected ${expected}`;
    (control.closest("label") ?? control).after(fault);
    control.setAttribute("aria-invalid", "true");
    control.setAttribute("aria-errormessage", fault.id);
    const folded = control.closest("details");
    if (folded) folded.open = true;
    if (field?.contains(control)) control.focus();
  }
}
