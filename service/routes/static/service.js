// Requests to the service: keys, refusals, and the progress of both bodies.

import { follow } from "./progress.js";

const $ = (id) => document.getElementById(id);

/** A refusal; `problem` is the service's problem+json. */
export class Refusal extends Error {
  constructor(problem) {
    super(problem.detail ?? "The service gave no reason.");
    this.problem = problem;
  }
}

function headersOf(more = {}) {
  return $("key").value ? { ...more, Authorization: `Bearer ${$("key").value}` } : more;
}

export const get = (path, signal) => fetch(path, { headers: headersOf(), signal }).then(accepted);

async function accepted(answer) {
  if (answer.ok) return answer;
  const text = await answer.text();
  let problem = { detail: text.slice(0, 200), status: answer.status };
  try {
    problem = JSON.parse(text);
  } catch { /* the detail is the text itself */ }
  if (answer.status === 401) {
    $("key-field").hidden = false;
    $("docs").hidden = true;  // a link brings no key, and would end at a refusal
  }
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

/** Post, and show the progress of the request in the bar, until the signal stops it. */
export async function post(path, body, type, bar, signal) {
  signal.throwIfAborted();
  // crypto.randomUUID is missing on pages loaded over plain HTTP.
  const id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const answered = new AbortController();
  const headers = { "Content-Type": type, "X-Request-ID": id };
  const answer = send(path, body, headers, bar, signal).finally(() => answered.abort());
  if (path.startsWith("/reconstruct")) follow((until) => get(`/progress/${id}`, until), answered.signal, bar);
  return accepted(await answer);
}
